// One timer for the core's next deadline.
//
// Owns: arming, and what is done when the timer is late. After a stall of the event loop a due timer
// fires before data that already lies in the socket buffers is read, so an election could start
// although the heartbeat has arrived; a late timer therefore first lets I/O be served and looks
// again (measured on Node 20, libuv 1.46).
//
// Invariant: `due` runs only when the deadline that is current at that moment has passed.

import type { MonotonicMs } from '../core/index.ts';
import type { RaftObserver } from './observer.ts';
import type { Cancel, Clock } from './ports.ts';

/** Timers of Node round up to a millisecond or two; more than this is a stall. */
const LATE_MS = 4;

export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #observer: RaftObserver;
  readonly #due: () => void;
  #deadlineMs: MonotonicMs | undefined;
  #armedForMs: MonotonicMs | undefined;
  #cancel: Cancel | undefined;
  #stopped = false;

  constructor(clock: Clock, observer: RaftObserver, due: () => void) {
    this.#clock = clock;
    this.#observer = observer;
    this.#due = due;
  }

  /** A later deadline than the armed one costs nothing: the timer looks again when it fires. */
  arm(deadlineMs: MonotonicMs | undefined): void {
    if (this.#stopped) return;
    this.#deadlineMs = deadlineMs;
    if (deadlineMs === undefined) return;
    if (this.#armedForMs !== undefined && this.#armedForMs <= deadlineMs) return;
    this.#cancel?.();
    this.#armedForMs = deadlineMs;
    const delayMs = Math.max(0, deadlineMs - this.#clock.monotonicMs());
    this.#cancel = this.#clock.after(delayMs, () => this.#fired(deadlineMs));
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #fired(armedForMs: MonotonicMs): void {
    if (this.#stopped) return;
    this.#cancel = undefined;
    const latenessMs = this.#clock.monotonicMs() - armedForMs;
    if (latenessMs <= LATE_MS) {
      this.#look();
      return;
    }
    this.#observer.timerLate(latenessMs);
    // Still counted as armed, so that events served meanwhile do not arm a second timer.
    this.#clock.defer(() => this.#look());
  }

  #look(): void {
    if (this.#stopped) return;
    this.#armedForMs = undefined;
    const deadlineMs = this.#deadlineMs;
    if (deadlineMs === undefined) return;
    if (deadlineMs > this.#clock.monotonicMs()) this.arm(deadlineMs);
    else this.#due();
  }
}
