// A clock that moves only when a test says so, one event at a time.

import type { Cancel, Clock } from '../../src/raft/index.ts';

interface Scheduled {
  readonly atMs: number;
  readonly seq: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #nowMs = 0;
  #seq = 0;
  #queue: Scheduled[] = [];
  wallOffsetMs = 1_700_000_000_000;

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.wallOffsetMs + this.#nowMs;
  }

  after(delayMs: number, run: () => void): Cancel {
    const scheduled = { atMs: this.#nowMs + Math.max(0, delayMs), seq: this.#seq++, run };
    const position = this.#queue.findIndex((other) => other.atMs > scheduled.atMs);
    this.#queue.splice(position === -1 ? this.#queue.length : position, 0, scheduled);
    return () => {
      this.#queue = this.#queue.filter((other) => other !== scheduled);
    };
  }

  defer(run: () => void): void {
    this.after(0, run);
  }

  /** Time passes without anything being served, as in a stall of the event loop. */
  stall(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  /** Runs everything due within `durationMs`, promises included, in order. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#queue.shift();
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Advances in steps until `condition` holds; fails after `limitMs`. */
  async until(condition: () => boolean, limitMs = 20_000): Promise<void> {
    const untilMs = this.#nowMs + limitMs;
    while (!condition()) {
      if (this.#nowMs >= untilMs) throw new Error(`the condition did not hold in ${limitMs} ms`);
      await this.advance(1);
    }
  }
}

/** Lets every settled promise run its continuations. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
