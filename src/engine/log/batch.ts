// The batch: what one write and one flush make durable together.
//
// Owns: the layout of batch and record headers, their checksums and the chain. Does not own: what
// the records mean (records.ts), where batches go (log-writer.ts).
//
// A batch starts on a sector and fills whole sectors: header, records (each padded to 8 bytes),
// padding. All integers are big-endian.
//   header  crc u32 · magic u32 · format u16 · zero u16 · sector u32 · segment u64 · sectors u32 ·
//           records u32 · bytes of records u32 · thin sectors u32 · previous chain u32 ·
//           end of chain u32 · lowest index touched u64 · zero u64
//   record  crc u32 · previous crc u32 · payload bytes u32 · kind u8 · format u8 · flags u8 · zero u8 ·
//           index u64 · term u64 · time u64 · payload
//
// Invariants
//   C1. Every byte of a batch is under a checksum: the header under its own (seeded with the identity
//       of the directory, so that a payload cannot forge one), each record under its own, the padding
//       under the end of the chain.
//   C2. Each record holds the checksum of the one before it; the first one of a batch holds the end of
//       the chain of the batch before. So a batch is valid in one place only.
//   C3. The header announces the extent and how many sectors are thin by content; a sector lost in a
//       crash is one zero sector more than that.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import type { LogIndex } from '../../raft/index.ts';
import { LogError } from './errors.ts';
import {
  alignUp,
  asBuffer,
  countThinSectors,
  FORMAT_VERSION,
  PAD_BYTE,
  readUint,
  SECTOR_BYTES,
  writeUint,
} from './layout.ts';
import {
  type LogRecord,
  lowestIndexTouched,
  type RecordFields,
  recordFields,
  recordOf,
} from './records.ts';

const MAGIC = 0x41534254;
const HEADER_BYTES = 64;
const RECORD_FORMAT = 1;
export const RECORD_HEADER_BYTES = 40;
const RECORD_ALIGNMENT = 8;
const ARENA_BYTES_MIN = 4 * 1024;

/** Where a batch lies; part of what its header checksum covers. */
export interface BatchPlace {
  readonly segment: number;
  readonly offset: number;
}

export interface BatchHeader {
  readonly extentBytes: number;
  readonly recordCount: number;
  readonly recordsBytes: number;
  readonly thinSectors: number;
  readonly previousChain: number;
  readonly endChain: number;
  readonly touchesFrom: LogIndex;
}

export interface PlacedRecord {
  readonly record: LogRecord;
  /** Offset of the record header in the segment file. */
  readonly offset: number;
}

export interface EncodedBatch {
  /** A view of the arena: valid until the next `encode`. */
  readonly bytes: Uint8Array;
  readonly endChain: number;
  readonly placed: readonly PlacedRecord[];
}

export interface Sized {
  readonly fields: readonly RecordFields[];
  readonly recordsBytes: number;
  readonly extentBytes: number;
}

/** What the records will take; to decide on a segment before encoding. */
export function sizeBatch(records: readonly LogRecord[]): Sized {
  const fields = records.map(recordFields);
  let recordsBytes = 0;
  for (const { payload } of fields) {
    recordsBytes += RECORD_HEADER_BYTES + alignUp(payload.length, RECORD_ALIGNMENT);
  }
  return { fields, recordsBytes, extentBytes: alignUp(HEADER_BYTES + recordsBytes, SECTOR_BYTES) };
}

export class BatchEncoder {
  readonly #seed: number;
  readonly #arenaBytesMax: number;
  #arena = Buffer.alloc(ARENA_BYTES_MIN);

  constructor(seed: number, arenaBytesMax: number) {
    this.#seed = seed;
    this.#arenaBytesMax = arenaBytesMax;
  }

  encode(
    records: readonly LogRecord[],
    sized: Sized,
    place: BatchPlace,
    previousChain: number,
  ): EncodedBatch {
    const bytes = this.#buffer(sized.extentBytes);
    const placed: PlacedRecord[] = [];
    let at = HEADER_BYTES;
    let chain = previousChain;
    for (const [position, fields] of sized.fields.entries()) {
      const record = records[position];
      if (record !== undefined) placed.push({ record, offset: place.offset + at });
      const end = writeRecord(bytes, at, fields, chain);
      chain = bytes.readUInt32BE(at);
      at = end;
    }
    bytes.fill(PAD_BYTE, at);
    const endChain = crc32(bytes.subarray(at), chain);
    this.#writeHeader(bytes, place, {
      extentBytes: sized.extentBytes,
      recordCount: records.length,
      recordsBytes: sized.recordsBytes,
      // The header's own sector is never thin, so it may still be unwritten here.
      thinSectors: countThinSectors(bytes.subarray(SECTOR_BYTES)),
      previousChain,
      endChain,
      touchesFrom: lowestIndexTouched(records),
    });
    return { bytes, endChain, placed };
  }

  #writeHeader(bytes: Buffer, place: BatchPlace, header: BatchHeader): void {
    bytes.fill(0, 0, HEADER_BYTES);
    bytes.writeUInt32BE(MAGIC, 4);
    bytes.writeUInt16BE(FORMAT_VERSION, 8);
    bytes.writeUInt32BE(place.offset / SECTOR_BYTES, 12);
    writeUint(bytes, place.segment, 16);
    bytes.writeUInt32BE(header.extentBytes / SECTOR_BYTES, 24);
    bytes.writeUInt32BE(header.recordCount, 28);
    bytes.writeUInt32BE(header.recordsBytes, 32);
    bytes.writeUInt32BE(header.thinSectors, 36);
    bytes.writeUInt32BE(header.previousChain, 40);
    bytes.writeUInt32BE(header.endChain, 44);
    writeUint(bytes, header.touchesFrom, 48);
    bytes.writeUInt32BE(crc32(bytes.subarray(4, HEADER_BYTES), this.#seed), 0);
  }

  #buffer(size: number): Buffer {
    if (size > this.#arenaBytesMax) return Buffer.alloc(size);
    if (size > this.#arena.length) {
      let grown = this.#arena.length;
      while (grown < size) grown *= 2;
      this.#arena = Buffer.alloc(grown);
    }
    return this.#arena.subarray(0, size);
  }
}

/** Writes one record at `at`; returns where the next one begins. */
function writeRecord(bytes: Buffer, at: number, fields: RecordFields, chain: number): number {
  const { payload } = fields;
  const payloadAt = at + RECORD_HEADER_BYTES;
  const end = payloadAt + alignUp(payload.length, RECORD_ALIGNMENT);
  bytes.writeUInt32BE(chain, at + 4);
  bytes.writeUInt32BE(payload.length, at + 8);
  bytes[at + 12] = fields.kindCode;
  bytes[at + 13] = RECORD_FORMAT;
  bytes[at + 14] = fields.flags;
  bytes[at + 15] = 0;
  writeUint(bytes, fields.index, at + 16);
  writeUint(bytes, fields.term, at + 24);
  writeUint(bytes, fields.timeMs, at + 32);
  bytes.set(payload, payloadAt);
  bytes.fill(PAD_BYTE, payloadAt + payload.length, end);
  bytes.writeUInt32BE(crc32(bytes.subarray(at + 4, end)), at);
  return end;
}

/**
 * The batch header at the start of `bytes`, or undefined when there is none that is valid here.
 * @throws {UNKNOWN_FORMAT} when it is valid and of a version that is not known.
 */
export function parseBatchHeader(
  bytes: Uint8Array,
  place: BatchPlace,
  seed: number,
): BatchHeader | undefined {
  const buffer = asBuffer(bytes);
  if (buffer.length < HEADER_BYTES || buffer.readUInt32BE(4) !== MAGIC) return undefined;
  if (crc32(buffer.subarray(4, HEADER_BYTES), seed) !== buffer.readUInt32BE(0)) return undefined;
  const format = buffer.readUInt16BE(8);
  if (format !== FORMAT_VERSION) throw new LogError('UNKNOWN_FORMAT', `batch of format ${format}`);
  if (buffer.readUInt32BE(12) * SECTOR_BYTES !== place.offset) return undefined;
  if (readUint(buffer, 16) !== place.segment) return undefined;
  return {
    extentBytes: buffer.readUInt32BE(24) * SECTOR_BYTES,
    recordCount: buffer.readUInt32BE(28),
    recordsBytes: buffer.readUInt32BE(32),
    thinSectors: buffer.readUInt32BE(36),
    previousChain: buffer.readUInt32BE(40),
    endChain: buffer.readUInt32BE(44),
    touchesFrom: readUint(buffer, 48),
  };
}

interface CheckedRecord {
  readonly record: LogRecord;
  readonly crc: number;
  readonly previousCrc: number;
  readonly end: number;
}

/**
 * The record at `at`, its own checksum verified; undefined when it is damaged or cut.
 * @throws {UNKNOWN_FORMAT}
 */
export function parseRecord(bytes: Uint8Array, at: number): CheckedRecord | undefined {
  const buffer = asBuffer(bytes);
  const payloadAt = at + RECORD_HEADER_BYTES;
  if (payloadAt > buffer.length) return undefined;
  const payloadBytes = buffer.readUInt32BE(at + 8);
  const end = payloadAt + alignUp(payloadBytes, RECORD_ALIGNMENT);
  if (end > buffer.length) return undefined;
  const crc = buffer.readUInt32BE(at);
  if (crc32(buffer.subarray(at + 4, end)) !== crc) return undefined;
  const format = buffer.readUInt8(at + 13);
  if (format !== RECORD_FORMAT) throw new LogError('UNKNOWN_FORMAT', `record of format ${format}`);
  const record = recordOf({
    kindCode: buffer.readUInt8(at + 12),
    flags: buffer.readUInt8(at + 14),
    index: readUint(buffer, at + 16),
    term: readUint(buffer, at + 24),
    timeMs: readUint(buffer, at + 32),
    payload: buffer.subarray(payloadAt, payloadAt + payloadBytes),
  });
  return { record, crc, previousCrc: buffer.readUInt32BE(at + 4), end };
}

/** All records of a whole batch; undefined unless every checksum and the chain hold. */
export function parseRecords(
  bytes: Uint8Array,
  header: BatchHeader,
  offset: number,
): readonly PlacedRecord[] | undefined {
  if (bytes.length < header.extentBytes) return undefined;
  const placed: PlacedRecord[] = [];
  let at = HEADER_BYTES;
  let chain = header.previousChain;
  for (let count = 0; count < header.recordCount; count += 1) {
    const parsed = parseRecord(bytes.subarray(0, header.extentBytes), at);
    if (parsed?.previousCrc !== chain) return undefined;
    placed.push({ record: parsed.record, offset: offset + at });
    chain = parsed.crc;
    at = parsed.end;
  }
  if (at !== HEADER_BYTES + header.recordsBytes) return undefined;
  const endChain = crc32(bytes.subarray(at, header.extentBytes), chain);
  return endChain === header.endChain ? placed : undefined;
}
