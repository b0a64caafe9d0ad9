// Putting records on the disk: one write and one flush a batch, rolling to the next segment.
//
// Owns: the segments of the log, the chain, and the order write → sync → count. Does not own: the
// queue of what is to be written (segmented-log.ts), what opening found (opening.ts).
//
// Invariants
//   W1. Nothing is counted in the state before it is durable.
//   W2. A segment's header is durable, and the slots name it, before a batch is written behind it.
//   W3. Calls do not overlap; the caller sees to it.

import type { NodeLog } from '../../raft/index.ts';
import { BatchEncoder, sizeBatch } from './batch.ts';
import type { LogConfig } from './config.ts';
import { errorCode, LogError } from './errors.ts';
import { type Identity, identitySeed } from './identity.ts';
import { SECTOR_BYTES } from './layout.ts';
import type { LogState } from './log-state.ts';
import type { Files } from './ports.ts';
import type { LogRecord } from './records.ts';
import { Segment } from './segment.ts';
import {
  encodeSegmentHeader,
  type PreviousSegment,
  parseSegmentHeader,
  type SegmentHeader,
} from './segment-header.ts';
import type { BlankSegment, SegmentSupply } from './segment-supply.ts';
import type { SlotFields, SlotFile } from './slots.ts';

export interface WriterContext {
  readonly files: Files;
  readonly directory: string;
  readonly identity: Identity;
  readonly config: LogConfig;
  readonly slots: SlotFile;
  readonly logger: NodeLog;
}

/** Marks the segments whose base the record is about to make void. Call before applying it. */
export function voidBases(segments: readonly Segment[], record: LogRecord, state: LogState): void {
  let from: number;
  if (record.kind === 'truncate') from = record.from;
  else if (record.kind !== 'installed') return;
  else if (state.keepsBehind(record.meta)) return;
  else from = record.meta.index + 1;
  for (const segment of segments) if (segment.base.index >= from) segment.baseIsLive = false;
}

export class LogWriter {
  readonly state: LogState;
  readonly #context: WriterContext;
  readonly #encoder: BatchEncoder;
  readonly #segments: Segment[];
  #chain: number;
  #supply: SegmentSupply | undefined;

  constructor(
    context: WriterContext,
    state: LogState,
    segments: readonly Segment[],
    chain: number,
  ) {
    this.#context = context;
    this.state = state;
    this.#segments = [...segments];
    this.#chain = chain;
    this.#encoder = new BatchEncoder(identitySeed(context.identity), context.config.arenaBytesMax);
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  segment(sequence: number): Segment | undefined {
    return this.#segments.find((segment) => segment.sequence === sequence);
  }

  useSupply(supply: SegmentSupply): void {
    this.#supply = supply;
  }

  /** Resolves when the records are durable and counted. `written` runs before the flush. */
  async write(records: readonly LogRecord[], written: () => void = () => undefined): Promise<void> {
    const sized = sizeBatch(records);
    const active = await this.#segmentFor(sized.extentBytes);
    const place = { segment: active.sequence, offset: active.endOffset };
    const batch = this.#encoder.encode(records, sized, place, this.#chain);
    await active.handle.writeAt(place.offset, batch.bytes);
    written();
    await active.handle.datasync();
    active.endOffset += sized.extentBytes;
    this.#chain = batch.endChain;
    for (const { record, offset } of batch.placed) {
      voidBases(this.#segments, record, this.state);
      this.state.apply(record, active.sequence, offset);
    }
  }

  /** Continues the log in `blank`: its header, synced, and then its place in the slots. */
  async startSegment(
    blank: BlankSegment,
    previous: PreviousSegment | undefined,
    facts: Partial<SlotFields> = {},
  ): Promise<void> {
    const { state } = this;
    const header: SegmentHeader = {
      sequence: blank.sequence,
      hardState: state.hardState,
      base: state.end,
      generation: state.generation,
      flushMark: state.flushMark,
      installed: state.installed,
      recovering: state.recovering,
      previous,
    };
    const bytes = encodeSegmentHeader(header, this.#context.identity);
    await blank.handle.writeAt(0, bytes);
    await blank.handle.datasync();
    await this.#context.slots.write({ ...facts, activeSegment: blank.sequence });
    const parsed = parseSegmentHeader(bytes, blank.sequence, this.#context.identity);
    if (parsed === undefined) throw new LogError('LOG_INVARIANT', 'unreadable segment header');
    this.#segments.push(new Segment(blank.handle, parsed));
    this.#chain = parsed.chain;
  }

  /** Gives up the segments before `first`: in the slots, synced, and only then their files. */
  async dropBefore(first: Segment): Promise<void> {
    const { files, directory, slots, logger } = this.#context;
    await slots.writeBoth({ firstSegment: first.sequence });
    if (first.base.index > this.state.base.index) this.state.compactTo(first.base);
    const dropped = this.#segments.splice(0, this.#segments.indexOf(first));
    try {
      for (const segment of dropped) {
        await segment.retire();
        await files.remove(segment.handle.path);
      }
      await files.syncDirectory(directory);
    } catch (error) {
      // The slots say that they are garbage; the next opening removes them.
      logger.warn({ code: errorCode(error), err: error }, 'cannot remove old segments');
    }
  }

  /** Whether a small batch can be written without a segment that is yet to be created. */
  get hasRoom(): boolean {
    const active = this.#segments.at(-1);
    if (active === undefined) return false;
    return this.#fits(active, SECTOR_BYTES) || this.#supply?.available === true;
  }

  async close(): Promise<void> {
    for (const segment of this.#segments) await segment.retire();
  }

  #fits(segment: Segment, bytes: number): boolean {
    return (
      segment.endOffset + bytes <= this.#context.config.segmentBytes ||
      segment.endOffset === segment.headerBytes
    );
  }

  /** The active segment, or the next one when `bytes` do not fit; an empty one takes any size. */
  async #segmentFor(bytes: number): Promise<Segment> {
    const active = this.#segments.at(-1);
    if (active !== undefined && this.#fits(active, bytes)) return active;
    if (this.#supply === undefined) throw new LogError('LOG_INVARIANT', 'no segment to write to');
    const previous =
      active === undefined
        ? undefined
        : { sequence: active.sequence, endOffset: active.endOffset, chain: this.#chain };
    await this.startSegment(await this.#supply.take(), previous);
    const started = this.#segments.at(-1);
    if (started === undefined) throw new LogError('LOG_INVARIANT', 'no active segment');
    return started;
  }
}
