// The format of a snapshot stream: checksummed chunks, one header, data, one end.
//
//   chunk  = magic u32 · format u16 · kind u8 · 0 u8 · sequence u32 · length u32 · payload · crc u32
//   header = JSON: index, term, timeMs, digest, configuration
//   data   = a stretch of the stream of records, cut anywhere:
//            keyLength u16 · valueLength u32 · key · value with its own checksum
//   end    = keys u64 · bytes of records u64 · crc u32 over all records
//
// Each chunk's checksum continues the one before, so chunks that are missing, repeated or swapped
// are found where they happen (bugs F10, F11), and the end proves that nothing was cut.

import { crc32 } from 'node:zlib';
import type { SnapshotMeta } from '../../raft/index.ts';
import { configurationFromJson } from './configuration-codec.ts';
import { StoreError } from './errors.ts';

const MAGIC = 0x4153534e;
export const SNAPSHOT_FORMAT = 1;
const CHUNK_HEAD_BYTES = 16;
const CRC_BYTES = 4;
const KINDS = ['header', 'data', 'end'] as const;
type ChunkKind = (typeof KINDS)[number];

export interface SnapshotHeader {
  readonly meta: SnapshotMeta;
  readonly digest: bigint;
}

export interface SnapshotTotals {
  readonly keyCount: number;
  readonly byteCount: number;
  readonly crc: number;
}

export interface Chunk {
  readonly kind: ChunkKind;
  readonly payload: Uint8Array;
}

/** Numbers and chains the chunks of one stream. */
export class ChunkWriter {
  #sequence = 0;
  #crc = 0;

  write(kind: ChunkKind, payload: Uint8Array): Uint8Array {
    const chunk = Buffer.allocUnsafe(CHUNK_HEAD_BYTES + payload.length + CRC_BYTES);
    chunk.writeUInt32BE(MAGIC, 0);
    chunk.writeUInt16BE(SNAPSHOT_FORMAT, 4);
    chunk.writeUInt8(KINDS.indexOf(kind), 6);
    chunk.writeUInt8(0, 7);
    chunk.writeUInt32BE(this.#sequence, 8);
    chunk.writeUInt32BE(payload.length, 12);
    chunk.set(payload, CHUNK_HEAD_BYTES);
    this.#crc = crc32(chunk.subarray(0, CHUNK_HEAD_BYTES + payload.length), this.#crc);
    chunk.writeUInt32BE(this.#crc, CHUNK_HEAD_BYTES + payload.length);
    this.#sequence += 1;
    return chunk;
  }
}

/** Checks the chunks of one stream. @throws {SNAPSHOT_DAMAGED, STATE_FORMAT_UNKNOWN} */
export class ChunkReader {
  #sequence = 0;
  #crc = 0;

  read(bytes: Uint8Array): Chunk {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const bodyLength = chunk.length - CRC_BYTES;
    if (bodyLength < CHUNK_HEAD_BYTES || chunk.readUInt32BE(0) !== MAGIC) {
      throw damagedSnapshot(`chunk ${this.#sequence} is not a snapshot chunk`);
    }
    const format = chunk.readUInt16BE(4);
    if (format !== SNAPSHOT_FORMAT) {
      throw new StoreError('STATE_FORMAT_UNKNOWN', `snapshot format ${format} is not known`);
    }
    this.#crc = crc32(chunk.subarray(0, bodyLength), this.#crc);
    const kind = KINDS[chunk.readUInt8(6)];
    if (
      chunk.readUInt32BE(bodyLength) !== this.#crc ||
      chunk.readUInt32BE(8) !== this.#sequence ||
      chunk.readUInt32BE(12) !== bodyLength - CHUNK_HEAD_BYTES ||
      kind === undefined
    ) {
      throw damagedSnapshot(`chunk ${this.#sequence} is damaged or out of order`);
    }
    this.#sequence += 1;
    return { kind, payload: chunk.subarray(CHUNK_HEAD_BYTES, bodyLength) };
  }
}

export function encodeHeader(header: SnapshotHeader): Uint8Array {
  return Buffer.from(JSON.stringify({ ...header.meta, digest: header.digest.toString(16) }));
}

/** @throws {SNAPSHOT_DAMAGED} */
export function decodeHeader(payload: Uint8Array): SnapshotHeader {
  try {
    const fields = JSON.parse(Buffer.from(payload).toString('utf8')) as Record<string, unknown>;
    return {
      meta: {
        index: Number(fields['index']),
        term: Number(fields['term']),
        timeMs: Number(fields['timeMs']),
        configuration: configurationFromJson(fields['configuration']),
      },
      digest: BigInt(`0x${String(fields['digest'])}`),
    };
  } catch (error) {
    throw damagedSnapshot('the header cannot be read', error);
  }
}

const TOTALS_BYTES = 20;

export function encodeTotals(totals: SnapshotTotals): Uint8Array {
  const bytes = Buffer.alloc(TOTALS_BYTES);
  bytes.writeBigUInt64BE(BigInt(totals.keyCount), 0);
  bytes.writeBigUInt64BE(BigInt(totals.byteCount), 8);
  bytes.writeUInt32BE(totals.crc, 16);
  return bytes;
}

/** @throws {SNAPSHOT_DAMAGED} */
export function decodeTotals(payload: Uint8Array): SnapshotTotals {
  if (payload.length !== TOTALS_BYTES) throw damagedSnapshot('the end cannot be read');
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  return {
    keyCount: Number(bytes.readBigUInt64BE(0)),
    byteCount: Number(bytes.readBigUInt64BE(8)),
    crc: bytes.readUInt32BE(16),
  };
}

/** Counts and checksums records as they pass; sender and receiver compare. */
export class RecordTally {
  #totals: SnapshotTotals = { keyCount: 0, byteCount: 0, crc: 0 };

  add(record: Uint8Array): void {
    this.#totals = {
      keyCount: this.#totals.keyCount + 1,
      byteCount: this.#totals.byteCount + record.length,
      crc: crc32(record, this.#totals.crc),
    };
  }

  get totals(): SnapshotTotals {
    return this.#totals;
  }

  equals(other: SnapshotTotals): boolean {
    const { keyCount, byteCount, crc } = this.#totals;
    return keyCount === other.keyCount && byteCount === other.byteCount && crc === other.crc;
  }
}

const RECORD_HEAD_BYTES = 6;

export function encodeRecord(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  const record = Buffer.allocUnsafe(RECORD_HEAD_BYTES + key.length + sealed.length);
  record.writeUInt16BE(key.length, 0);
  record.writeUInt32BE(sealed.length, 2);
  record.set(key, RECORD_HEAD_BYTES);
  record.set(sealed, RECORD_HEAD_BYTES + key.length);
  return record;
}

export interface SnapshotRecord {
  readonly key: Uint8Array;
  readonly sealed: Uint8Array;
  readonly record: Uint8Array;
}

/** Puts records together from stretches that were cut anywhere. */
export class RecordParser {
  readonly #recordBytesMax: number;
  #pieces: Uint8Array[] = [];
  #gathered = 0;
  /** Bytes needed before the next record, or its length, can be read. */
  #needed = RECORD_HEAD_BYTES;

  constructor(recordBytesMax: number) {
    this.#recordBytesMax = recordBytesMax;
  }

  /** True between records. */
  get isAtBorder(): boolean {
    return this.#gathered === 0;
  }

  /** @throws {SNAPSHOT_DAMAGED} */
  *push(stretch: Uint8Array): Generator<SnapshotRecord, void> {
    this.#pieces.push(stretch);
    this.#gathered += stretch.length;
    if (this.#gathered < this.#needed) return;
    const bytes = Buffer.concat(this.#pieces);
    let position = 0;
    this.#needed = RECORD_HEAD_BYTES;
    while (bytes.length - position >= RECORD_HEAD_BYTES) {
      const keyLength = bytes.readUInt16BE(position);
      const length = RECORD_HEAD_BYTES + keyLength + bytes.readUInt32BE(position + 2);
      if (length > this.#recordBytesMax) throw damagedSnapshot(`a record of ${length} bytes`);
      this.#needed = length;
      if (bytes.length - position < length) break;
      const record = bytes.subarray(position, position + length);
      yield {
        key: record.subarray(RECORD_HEAD_BYTES, RECORD_HEAD_BYTES + keyLength),
        sealed: record.subarray(RECORD_HEAD_BYTES + keyLength),
        record,
      };
      position += length;
      this.#needed = RECORD_HEAD_BYTES;
    }
    this.#pieces = position < bytes.length ? [bytes.subarray(position)] : [];
    this.#gathered = bytes.length - position;
  }
}

export function damagedSnapshot(message: string, cause?: unknown): StoreError {
  return new StoreError('SNAPSHOT_DAMAGED', `snapshot: ${message}`, { cause });
}
