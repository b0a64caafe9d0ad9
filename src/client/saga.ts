// Saga: steps with compensations, sent in one request.
//
// Source: dtm reference §10.4, §5.7; `orders` and `concurrent` travel in custom_data (§1.3).

import { type Context, type Started, type StartOptions, started } from './context.ts';
import type { CallOptions } from './coordinator/coordinator.ts';
import { UsageError } from './errors.ts';
import { checkStep, checkUrl } from './given.ts';
import { type Payload, payloadBytes, type Step, type TransactionRequest } from './transaction.ts';

export interface SagaStep {
  readonly action: string;
  /** Empty or absent: nothing to undo. */
  readonly compensate?: string;
  readonly payload?: Payload;
}

export interface SagaOptions extends StartOptions {
  /** Steps start as soon as those they come after have succeeded. */
  readonly concurrent?: boolean;
}

export class Saga {
  readonly #context: Context;
  readonly #transaction: Started;
  readonly #concurrent: boolean;
  readonly #steps: Step[] = [];
  readonly #payloads: Uint8Array[] = [];
  readonly #orders = new Map<number, readonly number[]>();

  constructor(context: Context, options: SagaOptions) {
    this.#context = context;
    this.#transaction = started('saga', options);
    this.#concurrent = options.concurrent ?? false;
  }

  get gid(): string {
    return this.#transaction.gid;
  }

  add(step: SagaStep): this {
    checkStep(step, 'a step of a saga');
    const { action, compensate = '', payload } = step;
    checkUrl(action, 'action');
    checkUrl(compensate, 'compensate');
    this.#steps.push({ action, compensate });
    this.#payloads.push(payloadBytes(payload));
    return this;
  }

  /** Steps are numbered from 0, in the order in which they were added. */
  runAfter(step: number, predecessors: readonly number[]): this {
    this.#orders.set(step, predecessors);
    return this;
  }

  async submit(options: CallOptions = {}): Promise<void> {
    await this.#context.coordinator.submit(this.#request(), options);
  }

  #request(): TransactionRequest {
    if (this.#steps.length === 0) throw new UsageError('a saga needs at least one step');
    const ordered = this.#concurrent || this.#orders.size > 0;
    const orders = Object.fromEntries(this.#orders);
    return {
      ...this.#transaction,
      steps: this.#steps,
      payloads: this.#payloads,
      concurrent: this.#concurrent,
      ...(ordered ? { customData: JSON.stringify({ concurrent: this.#concurrent, orders }) } : {}),
    };
  }
}
