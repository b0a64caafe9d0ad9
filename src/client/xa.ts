// XA: branches prepare in their databases; the coordinator commits or rolls back all.
//
// Source: dtm reference §10.4, §10.1 (the service registers its branch itself).

import type { BranchReply } from './branch-caller.ts';
import { abortAfter, type Context, type Started, type StartOptions, started } from './context.ts';
import type { CallOptions } from './coordinator/coordinator.ts';
import { messageOf } from './errors.ts';
import { BranchIds } from './gid.ts';
import { checkStep, checkUrl } from './given.ts';
import { type Payload, payloadBytes } from './transaction.ts';

export interface XaBranch extends CallOptions {
  /** Called with op `action`, and by the coordinator with `commit` or `rollback`. */
  readonly url: string;
  readonly payload?: Payload;
}

export class Xa {
  readonly #context: Context;
  readonly #transaction: Started;
  readonly #ids: BranchIds;
  readonly #signal: AbortSignal | undefined;

  constructor(context: Context, transaction: Started, parent: string, signal?: AbortSignal) {
    this.#context = context;
    this.#transaction = transaction;
    this.#ids = new BranchIds(parent);
    this.#signal = signal;
  }

  get gid(): string {
    return this.#transaction.gid;
  }

  async callBranch(branch: XaBranch): Promise<BranchReply> {
    checkStep(branch, 'a branch of an XA transaction');
    checkUrl(branch.url, 'url');
    const { coordinator, caller } = this.#context;
    const { gid, transactionType, options } = this.#transaction;
    return await caller.call({
      url: branch.url,
      gid,
      transactionType,
      branchId: this.#ids.next(),
      op: 'action',
      dtm: coordinator.address,
      phase2Url: branch.url,
      payload: payloadBytes(branch.payload),
      headers: options.branchHeaders,
      signal: branch.signal ?? this.#signal,
    });
  }
}

/** As runTcc: an error of `execute` aborts and is thrown; one of the submit aborts nothing. */
export async function runXa<T>(
  context: Context,
  execute: (xa: Xa) => Promise<T>,
  options: StartOptions,
): Promise<T> {
  const transaction = started('xa', options);
  await context.coordinator.prepare(transaction, options);
  let value: T;
  try {
    value = await execute(new Xa(context, transaction, '', options.signal));
  } catch (error) {
    await abortAfter(context, transaction, messageOf(error));
    throw error;
  }
  await context.coordinator.submit(transaction, options);
  return value;
}
