// One segment file in use.
//
// Owns: the open file, where its batches end, how many reads are under way, and whether the log may
// begin here. Does not own: which segments make up the log (log-writer.ts).

import type { SnapshotMeta } from '../../raft/index.ts';
import { alignUp, SECTOR_BYTES } from './layout.ts';
import type { FileHandle } from './ports.ts';
import type { ParsedSegmentHeader, SegmentHeader } from './segment-header.ts';

const CHUNK_BYTES = 1024 * 1024;

export class Segment {
  readonly handle: FileHandle;
  readonly header: SegmentHeader;
  readonly headerBytes: number;
  /** The chain that the first batch continues. */
  readonly headerChain: number;
  /** Where the next batch goes. */
  endOffset: number;
  /**
   * Whether the log may begin with this segment: false once a truncation or an installed snapshot
   * has gone below its base, which makes the header describe an entry that is void.
   */
  baseIsLive = true;
  #readers = 0;
  #closing = false;

  constructor(handle: FileHandle, parsed: ParsedSegmentHeader) {
    this.handle = handle;
    this.header = parsed.header;
    this.headerBytes = parsed.extentBytes;
    this.headerChain = parsed.chain;
    this.endOffset = parsed.extentBytes;
  }

  get sequence(): number {
    return this.header.sequence;
  }

  get base(): SnapshotMeta {
    return this.header.base;
  }

  async readAt(offset: number, length: number): Promise<Uint8Array> {
    this.#readers += 1;
    try {
      return await this.handle.readAt(offset, length);
    } finally {
      this.#readers -= 1;
      if (this.#closing && this.#readers === 0) await this.handle.close();
    }
  }

  /** Closes the file once the reads under way have ended. */
  async retire(): Promise<void> {
    this.#closing = true;
    if (this.#readers === 0) await this.handle.close();
  }
}

/** Reads a file forward in large pieces; what lies beyond its end reads as zeroes. */
export class SectorReader {
  readonly #handle: FileHandle;
  /** Rounded up to whole sectors. */
  readonly sizeBytes: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkOffset = 0;

  private constructor(handle: FileHandle, sizeBytes: number) {
    this.#handle = handle;
    this.sizeBytes = sizeBytes;
  }

  static async open(handle: FileHandle): Promise<SectorReader> {
    return new SectorReader(handle, alignUp(await handle.size(), SECTOR_BYTES));
  }

  /** A view that stays valid until the next call. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const end = offset + length;
    if (offset < this.#chunkOffset || end > this.#chunkOffset + this.#chunk.length) {
      const ahead = Math.min(CHUNK_BYTES, this.sizeBytes - offset);
      await this.#load(offset, Math.max(length, ahead));
    }
    const at = offset - this.#chunkOffset;
    return this.#chunk.subarray(at, at + length);
  }

  async #load(offset: number, length: number): Promise<void> {
    const bytes = await this.#handle.readAt(offset, length);
    if (bytes.length === length) {
      this.#chunk = bytes;
    } else {
      this.#chunk = new Uint8Array(length);
      this.#chunk.set(bytes);
    }
    this.#chunkOffset = offset;
  }
}
