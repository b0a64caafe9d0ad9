// The only writer of the state machine: committed entries in order, one batch at a time.
//
// Owns: the applied cursor, and the moment at which a received snapshot replaces the state.
// Does not own: the commit index (the core's), the state (the machine's).
//
// Invariants: applied ≤ committed, two cursors that are never mixed (bug C22); batches are
// contiguous; an install is an item of this queue, so it never races with an apply (bug F6); after a
// slice of work the event loop is given back, so that heartbeats are served (bug A15).

import type { Entry, LogIndex, MonotonicMs } from '../core/index.ts';
import { encodeEntry } from './entry-codec.ts';
import { asError } from './errors.ts';
import type { RaftObserver } from './observer.ts';
import type { Clock, Fatal, LogStorage, StateMachine } from './ports.ts';

interface Install {
  readonly index: LogIndex;
  readonly run: () => Promise<void>;
  readonly done: () => void;
}

export interface ApplierDeps {
  readonly log: LogStorage;
  readonly machine: StateMachine;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly observer: RaftObserver;
  /** Up to here the log on disk is this node's log. */
  readonly durableIndex: () => LogIndex;
  /** Entries `[from, to)` if the core still holds them. */
  readonly window: (from: LogIndex, to: LogIndex) => readonly Entry[] | undefined;
  readonly applied: (index: LogIndex) => void;
  readonly bytesMax: number;
  readonly entriesMax: number;
  readonly sliceMsMax: number;
}

export class Applier {
  readonly #deps: ApplierDeps;
  #appliedIndex: LogIndex;
  #commitIndex: LogIndex;
  #busy = false;
  #stopped = false;
  #install: Install | undefined;
  #sliceStartMs: MonotonicMs | undefined;
  #onIdle: (() => void) | undefined;

  constructor(deps: ApplierDeps, appliedIndex: LogIndex) {
    this.#deps = deps;
    this.#appliedIndex = appliedIndex;
    this.#commitIndex = appliedIndex;
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  get commitIndex(): LogIndex {
    return this.#commitIndex;
  }

  commit(index: LogIndex): void {
    if (index > this.#commitIndex) this.#commitIndex = index;
    this.#pump();
  }

  /** Runs when no apply is under way; the state is then at `index`. One at a time. */
  install(index: LogIndex, run: () => Promise<void>, done: () => void): void {
    if (this.#install !== undefined) {
      this.#fail(new Error('a second install while one waits'), { index });
      return;
    }
    this.#install = { index, run, done };
    this.#pump();
  }

  /** Starts nothing more; `idle` runs once nothing is under way, perhaps at once. */
  stop(idle: () => void): void {
    this.#stopped = true;
    if (this.#busy) this.#onIdle = idle;
    else idle();
  }

  #pump(): void {
    if (this.#busy || this.#stopped) return;
    if (this.#install !== undefined) {
      this.#busy = true;
      this.#runInstall(this.#install);
    } else if (this.#appliedIndex < this.#commitIndex) {
      this.#busy = true;
      this.#fetch();
    } else {
      this.#sliceStartMs = undefined;
    }
  }

  #fetch(): void {
    const from = this.#appliedIndex + 1;
    const to = Math.min(this.#commitIndex + 1, from + this.#deps.entriesMax);
    const held = this.#deps.window(from, to);
    if (held !== undefined && held.length > 0) {
      this.#apply(this.#cut(held));
      return;
    }
    // What is not durable yet may stand for other entries on the disk, which a truncation that is
    // still queued makes void. All of it is in the window; the disk is read for what is older.
    const readTo = Math.min(to, this.#deps.durableIndex() + 1);
    this.#deps.log.read(from, readTo, this.#deps.bytesMax).then(
      (entries) => this.#apply(entries),
      (cause: unknown) => this.#fail(asError(cause), { during: 'reading committed entries', from }),
    );
  }

  #cut(entries: readonly Entry[]): readonly Entry[] {
    let bytes = 0;
    let count = 0;
    for (const entry of entries) {
      bytes += encodeEntry(entry).length;
      if (count > 0 && bytes > this.#deps.bytesMax) break;
      count += 1;
    }
    return count === entries.length ? entries : entries.slice(0, count);
  }

  #apply(entries: readonly Entry[]): void {
    if (this.#stopped) {
      this.#idle();
      return;
    }
    let index = this.#appliedIndex;
    for (const entry of entries) {
      if (entry.index !== index + 1 || entry.index > this.#commitIndex) {
        this.#fail(new Error(`entry ${entry.index} was to be applied after ${index}`), {
          commitIndex: this.#commitIndex,
        });
        return;
      }
      index = entry.index;
    }
    if (entries.length === 0) {
      this.#fail(new Error(`committed entry ${index + 1} is in neither window nor log`), {
        commitIndex: this.#commitIndex,
      });
      return;
    }
    const startedAtMs = this.#deps.clock.monotonicMs();
    this.#sliceStartMs ??= startedAtMs;
    this.#deps.machine.apply(entries, () => {
      this.#deps.observer.applied(entries.length, this.#deps.clock.monotonicMs() - startedAtMs);
      this.#finish(index, () => this.#deps.applied(index));
    });
  }

  #runInstall(install: Install): void {
    install.run().then(
      () => {
        this.#install = undefined;
        this.#commitIndex = Math.max(this.#commitIndex, install.index);
        this.#finish(install.index, install.done);
      },
      (cause: unknown) =>
        this.#fail(asError(cause), { during: 'installing a snapshot', index: install.index }),
    );
  }

  #finish(index: LogIndex, report: () => void): void {
    this.#appliedIndex = index;
    if (this.#stopped) {
      this.#idle();
      return;
    }
    report();
    const now = this.#deps.clock.monotonicMs();
    if (now - (this.#sliceStartMs ?? now) < this.#deps.sliceMsMax) {
      this.#busy = false;
      this.#pump();
      return;
    }
    this.#deps.clock.defer(() => {
      this.#sliceStartMs = undefined;
      this.#busy = false;
      if (this.#stopped) this.#idle();
      else this.#pump();
    });
  }

  #idle(): void {
    this.#busy = false;
    this.#onIdle?.();
  }

  #fail(error: Error, context: Readonly<Record<string, unknown>>): void {
    this.#stopped = true;
    this.#deps.fatal(error, { appliedIndex: this.#appliedIndex, ...context });
  }
}
