// Bytes and sectors: what every format of the log shares.
//
// Owns: sector arithmetic, blank and thin sectors, numbers in eight bytes, file names.
//
// Why sectors: a disk writes 512 bytes wholly or not at all, and a segment is zero-filled and never
// reused. So what a crash left out of a batch is whole sectors of zeroes, and that is how a torn
// batch is told from a damaged one (docs/architecture.md §4 "Opening").

import { Buffer } from 'node:buffer';

export const SECTOR_BYTES = 512;
export const FORMAT_VERSION = 1;

/** Fills what lies between records and the end of their sector: never zero, so never "missing". */
export const PAD_BYTE = 0x5a;

const TWO_TO_32 = 0x1_0000_0000;

export function alignUp(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}

/** Writes a non-negative safe integer into eight bytes, big-endian. */
export function writeUint(bytes: Buffer, value: number, offset: number): void {
  const high = Math.floor(value / TWO_TO_32);
  bytes.writeUInt32BE(high, offset);
  bytes.writeUInt32BE(value - high * TWO_TO_32, offset + 4);
}

export function readUint(bytes: Buffer, offset: number): number {
  return bytes.readUInt32BE(offset) * TWO_TO_32 + bytes.readUInt32BE(offset + 4);
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function nonZeroBytes(bytes: Uint8Array, from: number, to: number, enough: number): number {
  let found = 0;
  for (let at = from; at < to && found < enough; at += 1) if (bytes[at] !== 0) found += 1;
  return found;
}

/**
 * Whether the sector at `offset` is empty but for at most one byte. One flipped bit can turn a blank
 * sector into a thin one and back, so both count as blank; no header is ever thin.
 */
export function isThinSector(bytes: Uint8Array, offset: number): boolean {
  return nonZeroBytes(bytes, offset, Math.min(offset + SECTOR_BYTES, bytes.length), 2) < 2;
}

/** Sectors that are thin by their own content, announced in the batch header. */
export function countThinSectors(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) if (isThinSector(bytes, at)) count += 1;
  return count;
}

export function countZeroSectors(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    if (nonZeroBytes(bytes, at, Math.min(at + SECTOR_BYTES, bytes.length), 1) === 0) count += 1;
  }
  return count;
}

const SEGMENT_NAME = /^segment-(\d{12})\.log$/;

export function segmentName(sequence: number): string {
  return `segment-${String(sequence).padStart(12, '0')}.log`;
}

/** The sequence number in a segment's name; undefined for other files. */
export function segmentSequence(name: string): number | undefined {
  const digits = SEGMENT_NAME.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

export const DAMAGED_SUFFIX = '.damaged';
export const IDENTITY_NAME = 'identity';
export const SLOTS_NAME = 'slots';
export const BALLAST_NAME = 'ballast';
export const FORMATTING_NAME = 'formatting';
