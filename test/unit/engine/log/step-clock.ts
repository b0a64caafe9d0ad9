// A clock that moves only when told, and lets real turns of the event loop serve deferred work.

import type { Cancel, Clock } from '../../../../src/raft/index.ts';

export class StepClock implements Clock {
  #nowMs = 0;
  #sequence = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly run: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  after(delayMs: number, run: () => void): Cancel {
    this.#sequence += 1;
    const id = this.#sequence;
    this.#timers.set(id, { atMs: this.#nowMs + delayMs, run });
    return () => {
      this.#timers.delete(id);
    };
  }

  defer(run: () => void): void {
    setImmediate(run);
  }

  /** Runs the timers due within the next `ms` milliseconds, in order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers.entries()]
        .filter(([, timer]) => timer.atMs <= untilMs)
        .sort(([a, x], [b, y]) => x.atMs - y.atMs || a - b)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#nowMs = Math.max(this.#nowMs, due[1].atMs);
      due[1].run();
    }
    this.#nowMs = untilMs;
  }
}
