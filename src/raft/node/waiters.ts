// Callers that wait for an index to be applied on this node.
//
// Invariants: every wait ends exactly once: when the index is applied, at its timeout, or when the
// node stops (bug H9); the number of open waits is bounded.

import type { LogIndex } from '../core/index.ts';
import { RaftNodeError } from './errors.ts';
import type { Cancel, Clock } from './ports.ts';

interface Waiter {
  readonly index: LogIndex;
  readonly resolve: () => void;
  readonly reject: (error: RaftNodeError) => void;
  readonly cancel: Cancel;
}

export class AppliedWaiters {
  readonly #clock: Clock;
  readonly #countMax: number;
  readonly #waiters = new Set<Waiter>();
  #stopped = false;

  constructor(clock: Clock, countMax: number) {
    this.#clock = clock;
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#waiters.size;
  }

  wait(index: LogIndex, appliedIndex: LogIndex, timeoutMs: number): Promise<void> {
    if (this.#stopped) return Promise.reject(new RaftNodeError('stopped', 'the node stops'));
    if (index <= appliedIndex) return Promise.resolve();
    if (this.#waiters.size >= this.#countMax) {
      return Promise.reject(
        new RaftNodeError('overloaded', 'too many waits for an index are open'),
      );
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        index,
        resolve,
        reject,
        cancel: this.#clock.after(timeoutMs, () => {
          this.#waiters.delete(waiter);
          reject(new RaftNodeError('timeout', `index ${index} was not applied in ${timeoutMs} ms`));
        }),
      };
      this.#waiters.add(waiter);
    });
  }

  applied(appliedIndex: LogIndex): void {
    for (const waiter of this.#waiters) {
      if (waiter.index > appliedIndex) continue;
      this.#waiters.delete(waiter);
      waiter.cancel();
      waiter.resolve();
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const waiter of this.#waiters) {
      waiter.cancel();
      waiter.reject(new RaftNodeError('stopped', 'the node stops'));
    }
    this.#waiters.clear();
  }
}
