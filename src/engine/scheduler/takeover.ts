// What a new leader resumes, and how fast: every unfinished transaction, earliest due first, so that
// what is overdue and what an earlier leader was working on comes before what waits for long.
//
// Resumed transactions ramp up, so that services that just survived a failure are not met by all of
// them at once.

import type { SchedulerConfig } from './config.ts';
import type { TransactionSource } from './ports.ts';

export class Takeover {
  readonly #source: TransactionSource;
  readonly #config: SchedulerConfig;
  readonly #startedMs: number;
  #cursor: string | undefined;
  #reading = false;
  #done = false;

  /** `startedMs` is monotonic time. */
  constructor(source: TransactionSource, config: SchedulerConfig, startedMs: number) {
    this.#source = source;
    this.#config = config;
    this.#startedMs = startedMs;
  }

  get isDone(): boolean {
    return this.#done;
  }

  get isReading(): boolean {
    return this.#reading;
  }

  /** How many resumed transactions may be under way now. */
  allowance(monotonicMs: number): number {
    const { rampInitial, rampMs, transactionsInFlightMax } = this.#config;
    const share = rampMs <= 0 ? 1 : Math.min(1, (monotonicMs - this.#startedMs) / rampMs);
    return Math.floor(rampInitial + share * Math.max(0, transactionsInFlightMax - rampInitial));
  }

  /** The next gids to resume. One read at a time. */
  async read(): Promise<readonly string[]> {
    this.#reading = true;
    const page = await this.#source.active(this.#cursor, this.#config.pageSize);
    this.#reading = false;
    this.#cursor = page.next;
    this.#done = page.next === undefined;
    return page.items;
  }
}
