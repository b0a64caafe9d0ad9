// Whether the dispatch lease may be trusted: the clocks it stands on.
//
// Owns: the comparison of wall and monotonic clock. The monotonic clock does not count the time
// during which a virtual machine was suspended, so a lease that is still valid by it alone may have
// ended long ago for everyone else (raft literature: F7, E7). Does not own: how long the lease is.
//
// Invariant: a divergence voids every round sent before it was seen, not only the current reading:
// the lease returns with the acknowledgement of a round that was sent afterwards.

import type { MonotonicMs, WallMs } from '../core/index.ts';

export interface ClockReading {
  readonly monotonicMs: MonotonicMs;
  readonly wallMs: WallMs;
}

export class DispatchLease {
  readonly #divergenceMsMax: number;
  /** Longest lease that a round can give, counted from its send time. */
  readonly #leaseMsMax: number;
  #anchor: ClockReading;
  #voidUntilMs: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(start: ClockReading, limits: { divergenceMsMax: number; leaseMsMax: number }) {
    this.#anchor = start;
    this.#divergenceMsMax = limits.divergenceMsMax;
    this.#leaseMsMax = limits.leaseMsMax;
  }

  /** A heartbeat round leaves: later readings are compared with this one. */
  roundSent(now: ClockReading): void {
    this.#check(now);
    this.#anchor = now;
  }

  valid(now: ClockReading, leaseUntilMs: MonotonicMs): boolean {
    this.#check(now);
    return now.monotonicMs < leaseUntilMs && leaseUntilMs > this.#voidUntilMs;
  }

  #check(now: ClockReading): void {
    const wallAdvanceMs = now.wallMs - this.#anchor.wallMs;
    const advanceMs = now.monotonicMs - this.#anchor.monotonicMs;
    if (Math.abs(wallAdvanceMs - advanceMs) <= this.#divergenceMsMax) return;
    this.#voidUntilMs = now.monotonicMs + this.#leaseMsMax;
    this.#anchor = now;
  }
}
