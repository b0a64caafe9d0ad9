// Two-phase message: a local transaction and the calls that must follow if, and only if, it committed.
//
// Source: dtm reference §10.4, §5.8.

import { Branch } from './branch.ts';
import { abortAfter, type Context, type Started, type StartOptions, started } from './context.ts';
import type { CallOptions } from './coordinator/coordinator.ts';
import { FailureError, messageOf, UsageError } from './errors.ts';
import { checkStep, checkText, checkUrl } from './given.ts';
import { type Payload, payloadBytes, type Step, type TransactionRequest } from './transaction.ts';

const LOCAL_BRANCH = { branchId: '00', op: 'msg' } as const;

export interface MsgStep {
  readonly action: string;
  readonly payload?: Payload;
}

export interface MsgOptions extends StartOptions {
  /** All steps at once. gRPC has no field for it. */
  readonly concurrent?: boolean;
  readonly delaySeconds?: number;
}

export class Msg {
  readonly #context: Context;
  readonly #transaction: Started;
  readonly #concurrent: boolean;
  readonly #delaySeconds: number | undefined;
  readonly #steps: Step[] = [];
  readonly #payloads: Uint8Array[] = [];

  constructor(context: Context, options: MsgOptions) {
    this.#context = context;
    this.#transaction = started('msg', options);
    this.#concurrent = options.concurrent ?? false;
    this.#delaySeconds = options.delaySeconds;
    if (this.#concurrent && context.coordinator.protocol === 'grpc') {
      throw new UsageError('a concurrent message cannot be expressed over gRPC: use HTTP');
    }
  }

  get gid(): string {
    return this.#transaction.gid;
  }

  add(step: MsgStep): this {
    checkStep(step, 'a step of a message');
    const { action, payload } = step;
    checkUrl(action, 'action');
    this.#steps.push({ action });
    this.#payloads.push(payloadBytes(payload));
    return this;
  }

  /** To every subscriber that the topic has when the message is prepared or submitted. */
  addTopic(topic: string, payload?: Payload): this {
    checkText(topic, 'topic');
    return this.add({ action: `topic://${topic}`, payload });
  }

  async prepare(queryPrepared: string, options: CallOptions = {}): Promise<void> {
    checkUrl(queryPrepared, 'queryPrepared');
    await this.#context.coordinator.prepare(this.#request(queryPrepared), options);
  }

  async submit(options: CallOptions = {}): Promise<void> {
    await this.#context.coordinator.submit(this.#request(), options);
  }

  /**
   * Prepares, runs `business`, which commits under the barrier of the branch it is given, and submits.
   * A FailureError of `business` aborts; any other error asks `queryPrepared` whether it committed,
   * and leaves the message to the coordinator when that is not known. The error is thrown in any case.
   * An error of the submit that follows a success undoes nothing: the coordinator checks back, and sends.
   */
  async doAndSubmit<T>(
    queryPrepared: string,
    business: (branch: Branch) => Promise<T>,
    options: CallOptions = {},
  ): Promise<T> {
    const { gid, transactionType } = this.#transaction;
    const branch = new Branch({ gid, transactionType, ...LOCAL_BRANCH });
    await this.prepare(queryPrepared, options);
    let value: T;
    try {
      value = await business(branch);
    } catch (error) {
      await this.#endAfter(error, queryPrepared);
      throw error;
    }
    await this.#context.coordinator.submit(this.#request(queryPrepared), options);
    return value;
  }

  /** The caller's signal no longer counts: what the local transaction did is to be followed. */
  async #endAfter(error: unknown, queryPrepared: string): Promise<void> {
    const failed = error instanceof FailureError || (await this.#checkBack(queryPrepared));
    if (failed === undefined) return;
    if (failed) return abortAfter(this.#context, this.#transaction, messageOf(error));
    try {
      await this.#context.coordinator.submit(this.#request(queryPrepared));
    } catch (submitError) {
      this.#context.onHiddenError(submitError, `submit of ${this.gid}`);
    }
  }

  /** Whether the local transaction was rolled back; undefined: not known. */
  async #checkBack(queryPrepared: string): Promise<boolean | undefined> {
    const { coordinator, caller, onHiddenError } = this.#context;
    const { gid, transactionType, options } = this.#transaction;
    try {
      await caller.call({
        url: queryPrepared,
        gid,
        transactionType,
        ...LOCAL_BRANCH,
        dtm: coordinator.address,
        method: 'GET',
        headers: options.branchHeaders,
      });
      // Without an address nobody was asked.
      return queryPrepared === '' ? undefined : false;
    } catch (error) {
      if (error instanceof FailureError) return true;
      onHiddenError(error, `check-back of ${gid}`);
      return undefined;
    }
  }

  #request(queryPrepared?: string): TransactionRequest {
    if (this.#steps.length === 0) throw new UsageError('a message needs at least one step');
    const delay = this.#delaySeconds;
    return {
      ...this.#transaction,
      steps: this.#steps,
      payloads: this.#payloads,
      concurrent: this.#concurrent,
      ...(queryPrepared === undefined ? {} : { queryPrepared }),
      ...(delay === undefined ? {} : { customData: JSON.stringify({ delay }) }),
    };
  }
}
