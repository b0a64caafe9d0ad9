// One target (an origin): its queue, its circuit and its connections.
//
// Invariant: `inflightCount` ≤ the number of connections, so a request that is handed to the pool
// is written at once or as soon as its own connection stands; none waits inside undici behind
// another. That is why the dispatch lease can be asked when a request is really written
// (docs/architecture.md §Consensus). A target shares nothing with other targets but the bound on
// the sum of all queues.

import { Pool } from 'undici';
import { Circuit } from './circuit.ts';
import type { ParticipantsConfig } from './config.ts';
import type { HttpCall } from './http-call.ts';
import type { TargetStatus } from './types.ts';

export class Target {
  readonly origin: string;
  readonly circuit: Circuit;
  inflightCount = 0;
  /** Grows with every call over all targets: the smallest is the least recently used. */
  lastUse = 0;
  #queue: HttpCall[] = [];
  #head = 0;
  readonly #pool: Pool;

  constructor(origin: string, config: ParticipantsConfig) {
    this.origin = origin;
    this.circuit = new Circuit(config);
    this.#pool = new Pool(origin, {
      connections: config.connectionsPerTargetMax,
      pipelining: 1,
      connectTimeout: config.connectTimeoutMs,
      keepAliveTimeout: config.keepAliveMs,
      // One deadline for the whole call is kept elsewhere; undici would arm timers per request.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  get queuedCount(): number {
    return this.#queue.length - this.#head;
  }

  get isIdle(): boolean {
    return this.inflightCount === 0 && this.queuedCount === 0;
  }

  enqueue(call: HttpCall): void {
    this.#queue.push(call);
  }

  dequeue(): HttpCall | undefined {
    const call = this.#queue[this.#head];
    if (call === undefined) {
      return undefined;
    }
    this.#head += 1;
    if (this.#head === this.#queue.length || this.#head === 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return call;
  }

  /** Hands the call to a connection; from now on undici reports to the call. */
  dispatch(call: HttpCall): void {
    this.inflightCount += 1;
    this.#pool.dispatch(
      {
        path: call.path,
        method: call.method,
        headers: call.headers,
        body: call.body,
      },
      call,
    );
  }

  status(): TargetStatus {
    return {
      target: this.origin,
      inflight: this.inflightCount,
      queued: this.queuedCount,
      circuit: this.circuit.kind,
      retryAtMs: this.circuit.retryAtMs,
    };
  }

  /** Closes idle connections at once and breaks busy ones. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
