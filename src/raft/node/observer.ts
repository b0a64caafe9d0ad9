// What the driver measures: the four figures that explain a slow run, and the lateness of timers.
//
// Called on the hot path: an implementation only counts.

export interface RaftObserver {
  /** One write of the log is durable. */
  persisted(write: {
    readonly effects: number;
    readonly entries: number;
    readonly bytes: number;
    readonly durationMs: number;
  }): void;
  /** Commands gathered into one entry. */
  gathered(commands: number): void;
  /** From append on this leader to commit. */
  committed(durationMs: number): void;
  applied(entries: number, durationMs: number): void;
  /** How late the deadline timer fired: what stalls of the event loop cost. */
  timerLate(latenessMs: number): void;
}

export const NO_OBSERVER: RaftObserver = {
  persisted: () => undefined,
  gathered: () => undefined,
  committed: () => undefined,
  applied: () => undefined,
  timerLate: () => undefined,
};
