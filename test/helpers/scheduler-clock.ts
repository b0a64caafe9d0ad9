// Clocks and randomness for tests of the scheduler and of participants.

import type { Cancel, Clock, Random } from '../../src/raft/index.ts';

interface Timer {
  readonly atMs: number;
  readonly seq: number;
  readonly run: () => void;
}

/** Time stands still until `advance`; timers run in order of their time, then of their making. */
export class ManualClock implements Clock {
  nowMs: number;
  #seq = 0;
  readonly #timers = new Set<Timer>();

  constructor(startMs = 1_000_000) {
    this.nowMs = startMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, run: () => void): Cancel {
    this.#seq += 1;
    const timer: Timer = { atMs: this.nowMs + Math.max(0, delayMs), seq: this.#seq, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  defer(run: () => void): void {
    this.after(0, run);
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Runs what is due within the next `durationMs`, letting promises settle around each timer. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.nowMs + durationMs;
    await settlePromises();
    for (;;) {
      const next = this.#earliest();
      if (next === undefined || next.atMs > untilMs) {
        break;
      }
      this.#timers.delete(next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
      await settlePromises();
    }
    this.nowMs = untilMs;
  }

  #earliest(): Timer | undefined {
    let earliest: Timer | undefined;
    for (const timer of this.#timers) {
      if (
        earliest === undefined ||
        timer.atMs < earliest.atMs ||
        (timer.atMs === earliest.atMs && timer.seq < earliest.seq)
      ) {
        earliest = timer;
      }
    }
    return earliest;
  }
}

/** Enough turns for chains of promises that depend on nothing outside. */
export async function settlePromises(): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    await Promise.resolve();
  }
}

/** The real thing, for tests with real sockets. */
export const realClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
  defer: (run) => {
    setImmediate(run);
  },
};

/** A small seeded generator (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next: () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}
