// What the records of the log add up to.
//
// Owns: base, last entry, term runs, configurations, HardState, flush mark, generation, recovering
// state and the place of every entry; the one function that applies a record, used by opening and by
// the live log alike, so that both always agree. Does not own: files, batches.
//
// Invariants
//   Entries are contiguous and their terms never decrease (raft paper Fig. 3, Log Matching).
//   Term and vote never go backwards (raft paper §5.1).
//   Installing keeps the suffix when (index, term) is in the log, else drops the whole log
//   (raft paper §7; the only two ways that are safe).

import {
  type Configuration,
  decodeEntry,
  type HardState,
  type LogIndex,
  type LogTimeMs,
  type RecoveringInfo,
  type SnapshotMeta,
  type Term,
  type TermRun,
} from '../../raft/index.ts';
import { EntryIndex } from './entry-index.ts';
import { LogError } from './errors.ts';
import type { EntryRecord, FlushMark, Installed, LogRecord } from './records.ts';
import type { SegmentHeader } from './segment-header.ts';
import { newerHardState } from './slots.ts';

interface PlacedConfiguration {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

export class LogState {
  readonly entries = new EntryIndex();
  base: SnapshotMeta;
  lastIndex: LogIndex;
  lastTerm: Term;
  lastTimeMs: LogTimeMs;
  hardState: HardState;
  flushMark: FlushMark | undefined;
  installed: Installed | undefined;
  generation: number;
  recovering: RecoveringInfo | undefined;
  #termRuns: TermRun[] = [];
  #configurations: PlacedConfiguration[] = [];

  constructor(header: Omit<SegmentHeader, 'sequence' | 'previous'>) {
    this.base = header.base;
    this.lastIndex = header.base.index;
    this.lastTerm = header.base.term;
    this.lastTimeMs = header.base.timeMs;
    this.hardState = header.hardState;
    this.flushMark = header.flushMark;
    this.installed = header.installed;
    this.generation = header.generation;
    this.recovering = header.recovering;
  }

  get termRuns(): readonly TermRun[] {
    return this.#termRuns;
  }

  get configurations(): readonly PlacedConfiguration[] {
    return this.#configurations;
  }

  /** The end of the log as the base of a segment that starts here. */
  get end(): SnapshotMeta {
    const configuration = this.#configurations.at(-1)?.configuration ?? this.base.configuration;
    return { index: this.lastIndex, term: this.lastTerm, timeMs: this.lastTimeMs, configuration };
  }

  /** The term at `index`; undefined outside `[base, last]`. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.base.index) return this.base.term;
    if (index < this.base.index || index > this.lastIndex) return undefined;
    return this.#termRuns.findLast((run) => run.first <= index)?.term;
  }

  /** @throws {LOG_INVARIANT} when the record contradicts what came before. */
  apply(record: LogRecord, segment: number, offset: number): void {
    switch (record.kind) {
      case 'entry':
        this.#entry(record, segment, offset);
        return;
      case 'hardState':
        this.adoptHardState(record.hardState);
        return;
      case 'truncate':
        this.#truncate(record.from);
        return;
      case 'mark':
        return;
      case 'flushMark':
        this.flushMark = record.mark;
        return;
      case 'installed':
        this.install({ meta: record.meta, generation: record.generation });
        return;
      case 'recovering':
        this.recovering = record.info;
        return;
      case 'recovered':
        this.recovering = undefined;
        return;
    }
  }

  adoptHardState(hardState: HardState): void {
    this.hardState = newerHardState(this.hardState, hardState);
  }

  /**
   * Whether the log goes on behind the snapshot. One below the base is met when reading begins at a
   * segment whose base was already above it: it was kept when it was installed, or that base is void.
   */
  keepsBehind(meta: SnapshotMeta): boolean {
    return meta.index < this.base.index || this.termAt(meta.index) === meta.term;
  }

  install(installed: Installed): void {
    const { meta } = installed;
    if (this.keepsBehind(meta)) {
      if (meta.index >= this.base.index) this.compactTo(meta);
    } else {
      this.entries.truncateFrom(0);
      this.#termRuns = [];
      this.#configurations = [];
      this.base = meta;
      this.lastIndex = meta.index;
      this.lastTerm = meta.term;
      this.lastTimeMs = meta.timeMs;
    }
    this.installed = installed;
    this.generation = installed.generation;
  }

  /** Moves the base up; entries at and below it are no longer part of the log. */
  compactTo(base: SnapshotMeta): void {
    this.entries.dropThrough(base.index);
    this.#configurations = this.#configurations.filter((placed) => placed.index > base.index);
    this.#termRuns = this.#termRuns
      .filter((_, at) => (this.#termRuns[at + 1]?.first ?? this.lastIndex + 1) > base.index + 1)
      .map((run) => ({ first: Math.max(run.first, base.index + 1), term: run.term }));
    this.base = base;
  }

  #entry(record: EntryRecord, segment: number, offset: number): void {
    const { index, term, timeMs } = record;
    if (index !== this.lastIndex + 1 || term < this.lastTerm) {
      throw new LogError(
        'LOG_INVARIANT',
        `entry ${index} of term ${term} after ${this.lastIndex} of term ${this.lastTerm}`,
      );
    }
    const payloadBytes = record.payload.length;
    this.entries.push(index, { segment, offset, payloadBytes, timeMs });
    if (this.#termRuns.at(-1)?.term !== term) this.#termRuns.push({ first: index, term });
    if (record.configuration) {
      const entry = decodeEntry(record.payload);
      if (entry.kind !== 'configuration') {
        throw new LogError('LOG_INVARIANT', `entry ${index} is not the configuration it claims`);
      }
      this.#configurations.push({ index, configuration: entry.configuration });
    }
    this.lastIndex = index;
    this.lastTerm = term;
    this.lastTimeMs = timeMs;
  }

  #truncate(from: LogIndex): void {
    if (from <= this.base.index || from > this.lastIndex + 1) {
      throw new LogError(
        'LOG_INVARIANT',
        `truncation from ${from} in a log of (${this.base.index}, ${this.lastIndex}]`,
      );
    }
    this.entries.truncateFrom(from);
    this.#termRuns = this.#termRuns.filter((run) => run.first < from);
    this.#configurations = this.#configurations.filter((placed) => placed.index < from);
    this.lastIndex = from - 1;
    this.lastTerm = this.termAt(from - 1) ?? this.base.term;
    this.lastTimeMs = this.entries.find(from - 1)?.timeMs ?? this.base.timeMs;
  }
}
