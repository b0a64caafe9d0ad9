// One simulated process and its clocks: everything that calls into a node goes through here.
//
// Owns: alive or dead, paused or running, and the two clocks of the machine. A dead process runs
// nothing that was scheduled for it; a paused one (SIGSTOP, VM suspend, a long stall of the event
// loop) runs it all late, timers before sockets or the other way round, as libuv does (a timer that
// is due may fire before data that has already arrived is read).
//
// Clocks: monotonic runs at a constant rate within ±5 % of true time; wall time is true time plus an
// offset that faults change. Neither is ever compared between nodes by correct code.

import type { Clock } from '../../src/raft/index.ts';
import type { Prng } from './prng.ts';
import type { VirtualTime } from './virtual-time.ts';

export const EPOCH_MS = 1_800_000_000_000;

interface Held {
  readonly timer: boolean;
  readonly run: () => void;
}

export class SimProcess {
  readonly nodeId: number;
  /** Rises with every start: what was scheduled for an earlier life is dropped. */
  life = 0;
  alive = false;
  paused = false;
  /** True monotonic milliseconds per true millisecond. */
  readonly rate: number;
  wallOffsetMs = 0;
  readonly #time: VirtualTime;
  readonly #random: Prng;
  readonly #monotonicBaseMs: number;
  #held: Held[] = [];

  constructor(nodeId: number, time: VirtualTime, random: Prng, skewMax: number) {
    this.nodeId = nodeId;
    this.#time = time;
    this.#random = random;
    this.rate = 1 + random.between(-skewMax, skewMax);
    this.#monotonicBaseMs = Math.floor(random.between(1_000, 1_000_000));
  }

  get monotonicMs(): number {
    return this.#monotonicBaseMs + this.#time.nowMs * this.rate;
  }

  get wallMs(): number {
    return Math.floor(EPOCH_MS + this.#time.nowMs + this.wallOffsetMs);
  }

  start(): void {
    this.life++;
    this.alive = true;
    this.paused = false;
    this.#held = [];
  }

  kill(): void {
    this.alive = false;
    this.paused = false;
    this.#held = [];
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) {
      return;
    }
    this.paused = false;
    const timersFirst = this.#random.chance(0.5);
    const held = this.#held;
    this.#held = [];
    const life = this.life;
    for (const timers of [timersFirst, !timersFirst]) {
      for (const item of held) {
        if (item.timer === timers) {
          this.#time.after(0, () => this.enter(life, item.run, item.timer));
        }
      }
    }
  }

  /** Runs `run` inside the process of that life: now, at resume, or never. */
  enter(life: number, run: () => void, timer = false): void {
    if (!this.alive || life !== this.life) {
      return;
    }
    if (this.paused) {
      this.#held.push({ timer, run });
      return;
    }
    run();
  }

  /** True milliseconds from now; the callback belongs to the current life. */
  afterTrue(delayMs: number, run: () => void): () => void {
    const life = this.life;
    return this.#time.after(delayMs, () => this.enter(life, run));
  }

  /** The `Clock` port for the current life. */
  clock(): Clock {
    const life = this.life;
    return {
      monotonicMs: () => this.monotonicMs,
      wallMs: () => this.wallMs,
      after: (delayMs, run) => {
        let cancelled = false;
        const cancel = this.#time.after(delayMs / this.rate, () =>
          this.enter(
            life,
            () => {
              if (!cancelled) {
                run();
              }
            },
            true,
          ),
        );
        return () => {
          cancelled = true;
          cancel();
        };
      },
      defer: (run) => {
        this.#time.after(0, () => this.enter(life, run));
      },
    };
  }
}
