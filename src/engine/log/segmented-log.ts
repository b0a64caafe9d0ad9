// The durable Raft log, live.
//
// Owns: the order of everything that is written (one batch in flight), the idle mark, admission, and
// the end of the process when a write fails. Does not own: bytes (log-writer.ts), opening
// (opening.ts), what entries mean (engine), when to compact (the node).
//
// Invariants
//   L1. `done` runs after the batch and its HardState, in stream and slot, are on stable storage
//       (docs/architecture.md §3 P1; raft paper §5.1).
//   L2. The first failed write or flush ends the process; it is never retried, because a page cache
//       may call data clean that never reached the disk.
//   L3. Nothing is compacted above a durable flush mark or an installed snapshot.
//   L4. After a failure nothing completes: promises stay pending, as those of a dead process do.

import type {
  Cancel,
  Clock,
  Entry,
  Fatal,
  LogBatch,
  LogIndex,
  LogStorage,
  NodeLog,
  OpenedLog,
  SnapshotMeta,
  Term,
} from '../../raft/index.ts';
import type { LogConfig } from './config.ts';
import { asError, errorCode, LogError } from './errors.ts';
import { readEntries } from './log-reader.ts';
import type { LogWriter } from './log-writer.ts';
import { entryRecord, type FlushMark, type Installed, type LogRecord } from './records.ts';
import type { SegmentSupply } from './segment-supply.ts';
import type { SlotFile } from './slots.ts';
import type { SpaceWatch } from './space.ts';

/** Deliberate bugs, for proving that the tests find them. Never set in production. */
export type LogBug = 'doneBeforeSync' | 'skipSlots' | 'treatDamageAsTorn' | 'compactWithoutMark';

/** Exit code of a process that ends for want of space (EX_TEMPFAIL): the launcher tries again. */
export const EXIT_NO_SPACE = 75;

/** What the log proves of the state. */
export interface LogMarks {
  readonly flushMark: FlushMark | undefined;
  readonly installed: Installed | undefined;
  /** The generation of the state in effect. */
  readonly generation: number;
}

export interface LogStats {
  readonly segments: number;
  readonly segmentsAhead: number;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly liveBytes: number;
  readonly belowFloor: boolean;
}

export interface SegmentedLogParts {
  readonly writer: LogWriter;
  readonly slots: SlotFile;
  readonly supply: SegmentSupply;
  readonly space: SpaceWatch;
  readonly config: LogConfig;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly logger: NodeLog;
  readonly bugs: ReadonlySet<string>;
  readonly nodeId: number;
  /** The newest entries found at open. */
  readonly tail: readonly Entry[];
}

/** Jobs waiting to be written: one append, one flush mark, one mark, compactions. */
const JOBS_MAX = 1_000;

export class SegmentedLog implements LogStorage {
  readonly #parts: SegmentedLogParts;
  readonly #jobs: (() => Promise<void>)[] = [];
  #draining: Promise<void> | undefined;
  #status: 'open' | 'closed' | 'failed' = 'open';
  #tail: readonly Entry[];
  /** Something was written since the last mark. */
  #tailOpen = true;
  #lastWriteMs: number;
  #cancelMark: Cancel | undefined;

  constructor(parts: SegmentedLogParts) {
    this.#parts = parts;
    this.#tail = parts.tail;
    this.#lastWriteMs = parts.clock.monotonicMs();
    this.#armMark();
  }

  /** What a core starts from. Meant for the time before the first append. */
  opened(): OpenedLog {
    const { writer, slots, nodeId } = this.#parts;
    const { state } = writer;
    const { bootId } = slots.fields;
    const tail = this.#tail.filter((entry) => entry.index > state.base.index);
    const contiguous = tail.at(-1)?.index === state.lastIndex;
    return {
      recovered: {
        nodeId,
        bootId,
        hardState: state.hardState,
        base: state.base,
        termRuns: state.termRuns,
        lastIndex: state.lastIndex,
        lastTimeMs: state.lastTimeMs,
        tail: contiguous ? tail : [],
        configurations: state.configurations,
        recovering: state.recovering !== undefined,
      },
      recovering: state.recovering,
      bootId,
    };
  }

  marks(): LogMarks {
    const { state } = this.#parts.writer;
    const { flushMark, installed } = state;
    const generation = Math.max(state.generation, this.#parts.slots.fields.generation);
    return { flushMark, installed, generation };
  }

  stats(): LogStats {
    const { writer, supply, space } = this.#parts;
    return {
      segments: writer.segments.length,
      segmentsAhead: supply.ahead,
      firstIndex: writer.state.base.index + 1,
      lastIndex: writer.state.lastIndex,
      liveBytes: writer.segments.reduce((bytes, segment) => bytes + segment.endOffset, 0),
      belowFloor: space.belowFloor,
    };
  }

  append(batch: LogBatch, done: () => void): void {
    this.#tail = [];
    this.#enqueue(() => this.#append(batch, done));
  }

  async read(from: LogIndex, to: LogIndex, bytesMax: number): Promise<readonly Entry[]> {
    if (this.#status !== 'open') return this.#refused();
    try {
      return await readEntries(this.#parts.writer, from, to, bytesMax);
    } catch (error) {
      this.#fail(asError(error));
      return this.#refused();
    }
  }

  compact(index: LogIndex): Promise<{ readonly index: LogIndex; readonly term: Term }> {
    return this.#job(async () => {
      const { writer, bugs } = this.#parts;
      const { state } = writer;
      const proven = Math.max(state.flushMark?.appliedIndex ?? 0, state.installed?.meta.index ?? 0);
      if (index > proven && !bugs.has('compactWithoutMark')) {
        throw new LogError('LOG_INVARIANT', `compaction to ${index}, state proven to ${proven}`);
      }
      const first = writer.segments.findLast(
        (segment) => segment.baseIsLive && segment.base.index <= index,
      );
      if (first !== undefined && first !== writer.segments[0]) await writer.dropBefore(first);
      return { index: state.base.index, term: state.base.term };
    });
  }

  installed(meta: SnapshotMeta, generation: number): Promise<void> {
    return this.#job(async () => {
      const { base } = this.#parts.writer.state;
      if (meta.index < base.index) {
        throw new LogError('LOG_INVARIANT', `snapshot at ${meta.index} below base ${base.index}`);
      }
      await this.#write([{ kind: 'installed', meta, generation }]);
      await this.#parts.slots.write({ generation });
    });
  }

  /** Records, synced, that the state durably holds everything up to `mark.appliedIndex`. */
  flushMark(mark: FlushMark): Promise<void> {
    return this.#job(async () => {
      const { lastIndex } = this.#parts.writer.state;
      if (mark.appliedIndex > lastIndex) {
        throw new LogError(
          'LOG_INVARIANT',
          `the state is flushed to ${mark.appliedIndex}, beyond the durable log at ${lastIndex}`,
        );
      }
      await this.#write([{ kind: 'flushMark', mark }]);
    });
  }

  admissionOpen(): boolean {
    const { supply, space } = this.#parts;
    return this.#status === 'open' && supply.available && !space.belowFloor;
  }

  /** Gives the held-back space free, to compact on a full disk. */
  releaseBallast(): Promise<void> {
    return this.#parts.space.releaseBallast();
  }

  /** Ends after what was asked for is durable and the tail is marked. Calls afterwards are refused. */
  async close(): Promise<void> {
    if (this.#status === 'closed') return;
    if (this.#status === 'open') this.#enqueue(() => this.#mark());
    const failed = this.#status === 'failed';
    this.#status = 'closed';
    this.#cancelMark?.();
    if (!failed) await this.#draining;
    const { writer, slots, supply, space } = this.#parts;
    await space.close();
    await supply.close();
    await writer.close();
    await slots.close();
  }

  async #append(batch: LogBatch, done: () => void): Promise<void> {
    const { hardState, truncateFrom } = batch;
    const { slots, bugs } = this.#parts;
    this.#check(batch);
    const records: LogRecord[] = [];
    if (hardState !== undefined) records.push({ kind: 'hardState', hardState });
    if (truncateFrom !== undefined) records.push({ kind: 'truncate', from: truncateFrom });
    for (const entry of batch.entries) records.push(entryRecord(entry));
    if (batch.recovered) records.push({ kind: 'recovered' });
    const early = bugs.has('doneBeforeSync');
    const write = this.#write(records, early ? done : undefined);
    if (hardState !== undefined && !bugs.has('skipSlots')) {
      await Promise.all([write, slots.write({ hardState })]);
    } else {
      await write;
    }
    if (!early && !this.#hasFailed()) done();
  }

  /** A read may have failed while a write was in flight. */
  #hasFailed(): boolean {
    return this.#status === 'failed';
  }

  /** @throws {LOG_INVARIANT} when the batch does not continue the log. */
  #check({ hardState, truncateFrom, entries }: LogBatch): void {
    const { state } = this.#parts.writer;
    const { base, lastIndex } = state;
    const refuse = (what: string): never => {
      throw new LogError('LOG_INVARIANT', `${what}; the log is (${base.index}, ${lastIndex}]`);
    };
    if (hardState !== undefined) {
      const { term, vote } = state.hardState;
      const backwards =
        hardState.term < term ||
        (hardState.term === term && vote !== undefined && vote !== hardState.vote);
      if (backwards) refuse(`HardState goes back from (${term}, ${String(vote)})`);
    }
    if (
      truncateFrom !== undefined &&
      (truncateFrom <= base.index || truncateFrom > lastIndex + 1)
    ) {
      refuse(`truncation from ${truncateFrom}`);
    }
    let next = truncateFrom ?? lastIndex + 1;
    let term = state.termAt(next - 1) ?? base.term;
    for (const entry of entries) {
      if (entry.index !== next || entry.term < term) {
        refuse(`entry ${entry.index} of term ${entry.term} does not follow`);
      }
      next += 1;
      term = entry.term;
    }
  }

  async #write(records: readonly LogRecord[], written?: () => void): Promise<void> {
    if (records.length === 0) return;
    await this.#parts.writer.write(records, written);
    this.#lastWriteMs = this.#parts.clock.monotonicMs();
    this.#tailOpen = true;
    this.#armMark();
  }

  async #mark(): Promise<void> {
    const { writer } = this.#parts;
    if (!this.#tailOpen || !writer.hasRoom) return;
    await writer.write([{ kind: 'mark' }]);
    this.#tailOpen = false;
  }

  /** One timer for many writes: it looks at its end whether the log was idle long enough. */
  #armMark(): void {
    if (this.#cancelMark !== undefined || this.#status !== 'open') return;
    const { clock, config } = this.#parts;
    const idleMs = clock.monotonicMs() - this.#lastWriteMs;
    this.#cancelMark = clock.after(Math.max(1, config.markIdleMs - idleMs), () => {
      this.#cancelMark = undefined;
      if (!this.#tailOpen) return;
      if (clock.monotonicMs() - this.#lastWriteMs < config.markIdleMs) this.#armMark();
      else this.#enqueue(() => this.#mark());
    });
  }

  #job<Result>(run: () => Promise<Result>): Promise<Result> {
    if (this.#status === 'closed') return this.#refused();
    return new Promise((resolve) => {
      this.#enqueue(async () => {
        resolve(await run());
      });
    });
  }

  #enqueue(job: () => Promise<void>): void {
    if (this.#status !== 'open') return;
    if (this.#jobs.length >= JOBS_MAX) {
      this.#fail(new LogError('LOG_INVARIANT', `${this.#jobs.length} writes are waiting`));
      return;
    }
    this.#jobs.push(job);
    this.#draining ??= this.#drain();
  }

  async #drain(): Promise<void> {
    // Never inside the call that enqueued: a port does not call back synchronously.
    await Promise.resolve();
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
      try {
        await job();
      } catch (error) {
        this.#fail(asError(error));
        return;
      }
    }
    this.#draining = undefined;
  }

  /** Rejects when closed; never settles after a failure (L4). */
  #refused(): Promise<never> {
    if (this.#status === 'closed') {
      return Promise.reject(new LogError('LOG_CLOSED', 'the log is closed'));
    }
    return new Promise<never>(() => undefined);
  }

  #fail(error: Error): void {
    if (this.#status === 'failed') return;
    this.#status = 'failed';
    this.#jobs.length = 0;
    this.#cancelMark?.();
    const { writer, fatal } = this.#parts;
    const context = {
      component: 'log',
      code: errorCode(error),
      segment: writer.segments.at(-1)?.sequence,
      offset: writer.segments.at(-1)?.endOffset,
      lastIndex: writer.state.lastIndex,
    };
    const noSpace = errorCode(error) === 'ENOSPC';
    fatal(error, noSpace ? { ...context, exitCode: EXIT_NO_SPACE } : context);
  }
}
