// One target (an origin, or a gRPC address): its queue, its circuit and its connections.
//
// Does not own: what travels over the connections, or when a call is taken from the queue
// (target-table.ts). A target shares nothing with other targets but the bound on the sum of all
// queues.

import { Circuit, type CircuitLimits } from './circuit.ts';
import type { CallOutcome, TargetStatus } from './types.ts';

/** A call as its target sees it. */
export interface QueuedCall {
  readonly isSettled: boolean;
  /** True for the one call that a half-open circuit lets through. */
  probe: boolean;
  mayWrite(): boolean;
  /** Takes a connection; later exactly one `slotFreed` follows. */
  dispatch(): void;
  /** `mayWrite` said no. */
  refuseWrite(): void;
  /** The call left the queue without being dispatched. */
  refuse(outcome: Extract<CallOutcome, { kind: 'notSent' }>): void;
}

export interface Connections {
  /** Closes idle connections at once and breaks busy ones. */
  close(): Promise<void>;
}

export class Target<T extends Connections, C extends QueuedCall> {
  readonly name: string;
  readonly circuit: Circuit;
  readonly connections: T;
  inflightCount = 0;
  /** Grows with every call over all targets: the smallest is the least recently used. */
  lastUse = 0;
  #queue: C[] = [];
  #head = 0;

  constructor(name: string, limits: CircuitLimits, connections: T) {
    this.name = name;
    this.circuit = new Circuit(limits);
    this.connections = connections;
  }

  get queuedCount(): number {
    return this.#queue.length - this.#head;
  }

  get isIdle(): boolean {
    return this.inflightCount === 0 && this.queuedCount === 0;
  }

  enqueue(call: C): void {
    this.#queue.push(call);
  }

  dequeue(): C | undefined {
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

  status(): TargetStatus {
    return {
      target: this.name,
      inflight: this.inflightCount,
      queued: this.queuedCount,
      circuit: this.circuit.kind,
      retryAtMs: this.circuit.retryAtMs,
    };
  }
}
