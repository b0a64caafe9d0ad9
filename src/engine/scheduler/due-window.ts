// The near future: when to look at which transaction.
//
// Owns: the entries of the next minute or so (bounded), their refill from the due index, one timer.
// Does not own: what happens when a time comes.
//
// Invariants
//   W1. Every unfinished transaction that is not in memory otherwise is found again: by an entry
//       here, or by the refill, which reads the due index from `horizon` on. So an entry may be left
//       out only if its committed due time is at or beyond the horizon (and beyond what a read under
//       way will cover) and not after the time to look.
//   W2. At the bound the latest entries are dropped, and the horizon falls to what W1 then needs.

import type { Cancel, Clock } from '../../raft/index.ts';
import type { SchedulerConfig } from './config.ts';
import { DueHeap, type HeapEntry } from './due-heap.ts';
import type { DueEntry, Page } from './ports.ts';

/** Cluster time may be slewed against the local clock, so a sleep is never longer than this. */
const SLEEP_MS_MAX = 1000;
/** After a drop at the bound, the index is not read again sooner: what was dropped waits anyway. */
const REREAD_MS_MIN = 5000;

export interface DueWindowPorts {
  readonly clock: Clock;
  readonly nowMs: () => number;
  readonly readDue: (
    range: { readonly fromMs: number; readonly toMs: number },
    after: string | undefined,
    limit: number,
  ) => Promise<Page<DueEntry>>;
  /** It is known otherwise (running, queued): a refill leaves it alone. */
  readonly isKnown: (gid: string) => boolean;
  readonly onDue: (gid: string) => void;
  /** Called after a batch of `onDue`. */
  readonly onDueEnd: () => void;
  readonly onError: (error: unknown) => void;
}

export class DueWindow {
  readonly #ports: DueWindowPorts;
  readonly #config: SchedulerConfig;
  readonly #heap = new DueHeap();
  #open = false;
  /** Committed due times below this are in the heap (or known otherwise). */
  #horizonMs = 0;
  #cursor: string | undefined;
  /** The upper end of the read under way. */
  #readingToMs = Number.NEGATIVE_INFINITY;
  #rereadNotBeforeMs = Number.NEGATIVE_INFINITY;
  /** Tells a read that a drop or another leadership has overtaken. */
  #readId = 0;
  #cancelTimer: Cancel | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(ports: DueWindowPorts, config: SchedulerConfig) {
    this.#ports = ports;
    this.#config = config;
  }

  get size(): number {
    return this.#heap.size;
  }

  /** As full as it is after a drop at the bound. */
  get isCrowded(): boolean {
    return this.#heap.size >= this.#keptAtBound;
  }

  get #keptAtBound(): number {
    return Math.ceil(this.#config.dueEntriesMax * 0.9);
  }

  get horizonMs(): number {
    return this.#horizonMs;
  }

  /** When the transaction is looked at, if it is here. */
  lookAtMs(gid: string): number | undefined {
    return this.#heap.get(gid)?.atMs;
  }

  /** Starts with nothing behind the horizon: the caller goes through all of that itself. */
  open(horizonMs: number): void {
    this.close();
    this.#open = true;
    this.#horizonMs = horizonMs;
    this.#arm();
  }

  close(): void {
    this.#open = false;
    this.#readId += 1;
    this.#heap.clear();
    this.#cursor = undefined;
    this.#readingToMs = Number.NEGATIVE_INFINITY;
    this.#rereadNotBeforeMs = Number.NEGATIVE_INFINITY;
    this.#disarm();
  }

  /** A transaction in memory wants to be looked at; nothing else would wake it. */
  wake(gid: string, atMs: number, dueMs: number | undefined): void {
    const before = this.#heap.get(gid);
    if (before === undefined || before.atMs !== atMs || before.dueMs !== dueMs) {
      this.#heap.set({ gid, atMs, dueMs });
      this.#dropAtBound();
      this.#arm();
    }
  }

  /** A transaction leaves memory. `atMs` undefined: nothing to wait for but a command. */
  rest(gid: string, atMs: number | undefined, dueMs: number | undefined): void {
    if (atMs === undefined || (dueMs !== undefined && atMs >= dueMs && this.#isAhead(dueMs))) {
      this.#heap.delete(gid);
      return;
    }
    this.wake(gid, atMs, dueMs);
  }

  forget(gid: string): void {
    this.#heap.delete(gid);
  }

  /** Whether a refill to come will find an entry of this due time. */
  #isAhead(dueMs: number): boolean {
    // Of the horizon's own millisecond, a part may have been read.
    const passedMs = this.#cursor === undefined ? this.#horizonMs - 1 : this.#horizonMs;
    return dueMs > passedMs && dueMs >= this.#readingToMs;
  }

  #dropAtBound(): void {
    if (this.#heap.size <= this.#config.dueEntriesMax) {
      return;
    }
    const dropped = this.#heap.keepEarliest(this.#keptAtBound);
    let lowestMs = this.#horizonMs;
    let firstAtMs = Number.POSITIVE_INFINITY;
    const kept: HeapEntry[] = [];
    for (const entry of dropped) {
      if (entry.dueMs === undefined || this.#ports.isKnown(entry.gid)) {
        // Nothing but this entry would wake it.
        kept.push(entry);
      } else {
        lowestMs = Math.min(lowestMs, entry.dueMs);
        firstAtMs = Math.min(firstAtMs, entry.atMs);
      }
    }
    for (const entry of kept) {
      this.#heap.set(entry);
    }
    if (firstAtMs !== Number.POSITIVE_INFINITY) {
      this.#horizonMs = lowestMs;
      this.#cursor = undefined;
      this.#readId += 1;
      this.#readingToMs = Number.NEGATIVE_INFINITY;
      const nowMs = this.#ports.nowMs();
      this.#rereadNotBeforeMs = Math.max(nowMs + REREAD_MS_MIN, firstAtMs);
    }
  }

  #arm(): void {
    if (!this.#open) {
      return;
    }
    const nowMs = this.#ports.nowMs();
    const firstMs = this.#heap.first()?.atMs ?? Number.POSITIVE_INFINITY;
    const atMs = Math.min(firstMs, nowMs + SLEEP_MS_MAX);
    if (this.#cancelTimer !== undefined && this.#armedForMs <= atMs) {
      return;
    }
    this.#disarm();
    this.#armedForMs = atMs;
    this.#cancelTimer = this.#ports.clock.after(Math.max(0, atMs - nowMs), () => {
      this.#cancelTimer = undefined;
      this.#turn();
    });
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#armedForMs = Number.POSITIVE_INFINITY;
  }

  #turn(): void {
    const nowMs = this.#ports.nowMs();
    for (let count = 0; count < this.#config.pageSize; count += 1) {
      const first = this.#heap.first();
      if (first === undefined || first.atMs > nowMs) {
        break;
      }
      this.#heap.delete(first.gid);
      this.#ports.onDue(first.gid);
    }
    this.#ports.onDueEnd();
    this.#refill();
    this.#arm();
  }

  #refill(): void {
    const nowMs = this.#ports.nowMs();
    const behind = this.#horizonMs < nowMs + this.#config.dueWindowMs / 2;
    const room = this.#config.dueEntriesMax - this.#heap.size;
    const reading = this.#readingToMs !== Number.NEGATIVE_INFINITY;
    if (!this.#open || !behind || room <= 0 || reading || nowMs < this.#rereadNotBeforeMs) {
      return;
    }
    const toMs = nowMs + this.#config.dueWindowMs;
    const readId = this.#readId;
    this.#readingToMs = toMs;
    const range = { fromMs: this.#horizonMs, toMs };
    const limit = Math.min(room, this.#config.pageSize);
    this.#ports.readDue(range, this.#cursor, limit).then(
      (page) => {
        if (readId === this.#readId) {
          this.#refilled(page, toMs);
        }
      },
      (error: unknown) => this.#ports.onError(error),
    );
  }

  #refilled(page: Page<DueEntry>, toMs: number): void {
    this.#readingToMs = Number.NEGATIVE_INFINITY;
    for (const { gid, dueMs } of page.items) {
      if (this.#heap.get(gid) === undefined && !this.#ports.isKnown(gid)) {
        this.#heap.set({ gid, atMs: dueMs, dueMs });
      }
    }
    const last = page.items.at(-1);
    const ended = page.next === undefined || last === undefined;
    this.#cursor = ended ? undefined : page.next;
    this.#horizonMs = ended ? toMs : last.dueMs;
    this.#dropAtBound();
    this.#refill();
    this.#arm();
  }
}
