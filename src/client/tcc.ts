// Try, confirm, cancel: the initiator calls try; the coordinator confirms or cancels all.
//
// Source: dtm reference §10.4, §5.2 (nested branches register under their parent's id).

import type { BranchReply } from './branch-caller.ts';
import { abortAfter, type Context, type Started, type StartOptions, started } from './context.ts';
import type { CallOptions } from './coordinator/coordinator.ts';
import { messageOf } from './errors.ts';
import { BranchIds } from './gid.ts';
import { checkStep, checkUrl } from './given.ts';
import { type Payload, payloadBytes } from './transaction.ts';

export interface TccBranch extends CallOptions {
  readonly try: string;
  readonly confirm: string;
  readonly cancel: string;
  readonly payload?: Payload;
}

export class Tcc {
  readonly #context: Context;
  readonly #transaction: Started;
  readonly #ids: BranchIds;
  readonly #signal: AbortSignal | undefined;

  /** `parent`: the branch within which these branches are nested; empty: none. */
  constructor(context: Context, transaction: Started, parent: string, signal?: AbortSignal) {
    this.#context = context;
    this.#transaction = transaction;
    this.#ids = new BranchIds(parent);
    this.#signal = signal;
  }

  get gid(): string {
    return this.#transaction.gid;
  }

  /** Registers the branch, then tries it: a try is never made that nobody would cancel. */
  async callBranch(branch: TccBranch): Promise<BranchReply> {
    checkStep(branch, 'a branch of a TCC');
    for (const op of ['try', 'confirm', 'cancel'] as const) checkUrl(branch[op], op);
    const { coordinator, caller } = this.#context;
    const { gid, transactionType, options } = this.#transaction;
    const branchId = this.#ids.next();
    const payload = payloadBytes(branch.payload);
    const signal = branch.signal ?? this.#signal;
    const fields = { confirm: branch.confirm, cancel: branch.cancel };
    const registration = { gid, transactionType, branchId, payload, fields };
    await coordinator.registerBranch(registration, { signal });
    return await caller.call({
      url: branch.try,
      gid,
      transactionType,
      branchId,
      op: 'try',
      dtm: coordinator.address,
      payload,
      headers: options.branchHeaders,
      signal,
    });
  }
}

/**
 * Runs `execute`, then submits; an error of it aborts and is thrown. When the submit itself has an
 * unknown outcome nothing is aborted: repeat with the same gid, or query it.
 */
export async function runTcc<T>(
  context: Context,
  execute: (tcc: Tcc) => Promise<T>,
  options: StartOptions,
): Promise<T> {
  const transaction = started('tcc', options);
  await context.coordinator.prepare(transaction, options);
  let value: T;
  try {
    value = await execute(new Tcc(context, transaction, '', options.signal));
  } catch (error) {
    await abortAfter(context, transaction, messageOf(error));
    throw error;
  }
  await context.coordinator.submit(transaction, options);
  return value;
}
