// Reading the log from its first batch to the place where it ends.
//
// Owns: following the segments, the chain across them, and the newest payloads. Does not own: linking
// the files (survey.ts), judging the end (tail.ts).
//
// Invariants: the state that comes out is a prefix of what was written, batch by batch; where a batch
// or a link does not hold, reading stops there and says where.

import { decodeEntry, type Entry } from '../../raft/index.ts';
import type { BatchHeader } from './batch.ts';
import { LogState } from './log-state.ts';
import { voidBases } from './log-writer.ts';
import type { Installed, LogRecord } from './records.ts';
import { SectorReader, type Segment } from './segment.ts';
import type { SegmentHeader } from './segment-header.ts';
import { readBatch } from './tail.ts';

/** The newest payloads of the log, up to a bound in bytes. */
export class TailWindow {
  readonly #bytesMax: number;
  #entries: { readonly index: number; readonly payload: Uint8Array }[] = [];
  #head = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  apply(record: LogRecord): void {
    if (record.kind === 'truncate') {
      while (this.#entries.length > this.#head && (this.#last?.index ?? 0) >= record.from) {
        this.#bytes -= this.#entries.pop()?.payload.length ?? 0;
      }
    } else if (record.kind === 'entry') {
      // A copy: the payload is a view of a buffer many times its size.
      this.#entries.push({ index: record.index, payload: record.payload.slice() });
      this.#bytes += record.payload.length;
      while (this.#bytes > this.#bytesMax) this.#dropOldest();
    }
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  /** Entries above `baseIndex`, contiguous up to the last one. */
  take(baseIndex: number): readonly Entry[] {
    return this.#entries
      .slice(this.#head)
      .filter((entry) => entry.index > baseIndex)
      .map((entry) => decodeEntry(entry.payload));
  }

  get #last(): { readonly index: number } | undefined {
    return this.#entries.at(-1);
  }

  #dropOldest(): void {
    this.#bytes -= this.#entries[this.#head]?.payload.length ?? 0;
    this.#head += 1;
    if (this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** Where reading stopped before the end that the next segment announces, or at the very end. */
export interface Stop {
  readonly segment: Segment;
  readonly reader: SectorReader;
  readonly offset: number;
  /** The header of the batch there, when that much is valid. */
  readonly header: BatchHeader | undefined;
  /** Whole by itself, yet it does not continue what stands before it. */
  readonly chainBroken: boolean;
}

export interface Replay {
  readonly state: LogState;
  readonly chain: number;
  /** The segments read, the last one perhaps in part. */
  readonly segments: readonly Segment[];
  readonly stop: Stop;
  /** Reading stopped short of the last segment of the path. */
  readonly beforeEnd: boolean;
  /** The last extent that was read: header or batch. Written again at open. */
  readonly lastExtent: { readonly offset: number; readonly bytes: number };
}

export class Replayer {
  readonly state: LogState;
  readonly #seed: number;
  readonly #tail: TailWindow;
  readonly #segments: Segment[] = [];
  #chain: number;
  #lastExtent = { offset: 0, bytes: 0 };

  constructor(first: Segment, seed: number, tail: TailWindow) {
    this.state = new LogState(first.header);
    this.#chain = first.headerChain;
    this.#seed = seed;
    this.#tail = tail;
  }

  /** @throws {UNKNOWN_FORMAT} or {LOG_INVARIANT} */
  async run(path: readonly Segment[]): Promise<Replay> {
    let stop: Stop | undefined;
    let beforeEnd = false;
    for (const [position, segment] of path.entries()) {
      const next = path[position + 1];
      if (position > 0) this.#enter(segment.header, segment.headerChain);
      this.#segments.push(segment);
      this.#lastExtent = { offset: 0, bytes: segment.headerBytes };
      stop = await this.#readSegment(segment, next?.header.previous?.endOffset);
      beforeEnd = next !== undefined;
      if (next !== undefined && !this.#continues(stop, next.header)) break;
    }
    if (stop === undefined) throw new Error('a log without segments is not replayed');
    const { state } = this;
    const lastExtent = this.#lastExtent;
    return { state, chain: this.#chain, segments: this.#segments, stop, beforeEnd, lastExtent };
  }

  /** Whether reading stopped just where `next` says that it takes over. */
  #continues(stop: Stop, next: SegmentHeader): boolean {
    const { previous, installed, base } = next;
    if (stop.offset !== previous?.endOffset || previous.chain !== this.#chain) return false;
    const { state } = this;
    if (base.index === state.lastIndex && base.term === state.lastTerm) return true;
    // A segment that was begun after damage may start from a snapshot whose record is void.
    return installed?.meta.index === base.index && installed.generation > state.generation;
  }

  #enter(header: SegmentHeader, chain: number): void {
    const { state } = this;
    const { installed } = header;
    if (installed !== undefined && installed.generation > state.generation) {
      this.#beforeInstall(installed);
      state.install(installed);
    }
    state.adoptHardState(header.hardState);
    state.generation = header.generation;
    state.flushMark = header.flushMark;
    state.recovering = header.recovering;
    this.#chain = chain;
  }

  /** Payloads of a log that the snapshot replaces are void. */
  #beforeInstall({ meta }: Installed): void {
    if (!this.state.keepsBehind(meta)) this.#tail.clear();
  }

  /** Applies batches until `limit`, or until there is none. */
  async #readSegment(segment: Segment, limit: number | undefined): Promise<Stop> {
    const reader = await SectorReader.open(segment.handle);
    const context = { reader, sequence: segment.sequence, seed: this.#seed };
    let offset = segment.headerBytes;
    const stopAt = (header: BatchHeader | undefined, chainBroken: boolean): Stop => {
      segment.endOffset = offset;
      return { segment, reader, offset, header, chainBroken };
    };
    while (limit === undefined || offset < limit) {
      const reading = await readBatch(context, offset);
      if (reading.kind === 'none') return stopAt(reading.header, false);
      const { header, records } = reading;
      if (header.previousChain !== this.#chain) return stopAt(header, true);
      for (const placed of records) {
        voidBases(this.#segments, placed.record, this.state);
        if (placed.record.kind === 'installed') this.#beforeInstall(placed.record);
        this.state.apply(placed.record, segment.sequence, placed.offset);
        this.#tail.apply(placed.record);
      }
      this.#chain = header.endChain;
      this.#lastExtent = { offset, bytes: header.extentBytes };
      offset += header.extentBytes;
    }
    return stopAt(undefined, false);
  }
}
