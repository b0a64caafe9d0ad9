// Deadlines of calls: a hashed wheel with one timer for all of them.
//
// A timer or an AbortSignal per call doubles the cost of a call (measured: docs/architecture.md
// §Performance); nearly all deadlines are removed before they pass. A deadline is never early, and
// late by at most one slot.

import type { Cancel, Clock } from '../../raft/index.ts';

const SLOT_MS = 10;
const SLOT_COUNT = 1024;

export interface Deadline {
  readonly atMs: number;
  readonly slot: number;
  readonly run: () => void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #slots: Set<Deadline>[] = Array.from({ length: SLOT_COUNT }, () => new Set<Deadline>());
  #size = 0;
  /** Slots before this tick have been looked at. */
  #tick: number;
  #armedForTick = Infinity;
  #cancelTimer: Cancel | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tick = tickOf(clock.monotonicMs());
  }

  get size(): number {
    return this.#size;
  }

  add(delayMs: number, run: () => void): Deadline {
    const nowMs = this.#clock.monotonicMs();
    if (this.#size === 0) {
      this.#tick = tickOf(nowMs);
    }
    const atMs = nowMs + Math.max(0, delayMs);
    // Rounded up: a slot is looked at when its time has begun, and no deadline may be early.
    const tick = Math.max(this.#tick, tickOf(atMs) + 1);
    const deadline: Deadline = { atMs, slot: tick % SLOT_COUNT, run };
    this.#slotAt(tick).add(deadline);
    this.#size += 1;
    // A deadline beyond one turn of the wheel is passed over until its turn comes.
    this.#arm(Math.min(tick, this.#tick + SLOT_COUNT));
    return deadline;
  }

  remove(deadline: Deadline): void {
    if (this.#slotAt(deadline.slot).delete(deadline)) {
      this.#size -= 1;
      if (this.#size === 0) {
        this.#disarm();
      }
    }
  }

  close(): void {
    this.#disarm();
    for (const slot of this.#slots) {
      slot.clear();
    }
    this.#size = 0;
  }

  #slotAt(tick: number): Set<Deadline> {
    const slot = this.#slots[tick % SLOT_COUNT];
    if (slot === undefined) {
      throw new Error(`deadline wheel has no slot for tick ${tick}`);
    }
    return slot;
  }

  #arm(tick: number): void {
    if (tick >= this.#armedForTick) {
      return;
    }
    this.#cancelTimer?.();
    this.#armedForTick = tick;
    const delayMs = Math.max(0, tick * SLOT_MS - this.#clock.monotonicMs());
    this.#cancelTimer = this.#clock.after(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#armedForTick = Infinity;
      this.#turn();
    });
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#armedForTick = Infinity;
  }

  #turn(): void {
    const nowMs = this.#clock.monotonicMs();
    const last = tickOf(nowMs);
    const passed: Deadline[] = [];
    const first = Math.max(this.#tick, last - SLOT_COUNT + 1);
    for (let tick = first; tick <= last; tick += 1) {
      const slot = this.#slotAt(tick);
      for (const deadline of slot) {
        if (deadline.atMs <= nowMs) {
          slot.delete(deadline);
          this.#size -= 1;
          passed.push(deadline);
        }
      }
    }
    this.#tick = last + 1;
    this.#armNext();
    for (const deadline of passed) {
      deadline.run();
    }
  }

  #armNext(): void {
    if (this.#size === 0) {
      return;
    }
    for (let tick = this.#tick; tick < this.#tick + SLOT_COUNT; tick += 1) {
      if (this.#slotAt(tick).size > 0) {
        this.#arm(tick);
        return;
      }
    }
  }
}

function tickOf(atMs: number): number {
  return Math.floor(atMs / SLOT_MS);
}
