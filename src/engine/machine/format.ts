// Bytes of replicated values: a version byte, then msgpack arrays whose meaning is the position.
//
// No map, no record and no structure is written, so a value can be read without any other and equal
// values give equal bytes on every node (P3). Bytes that this version cannot read stop the node:
// guessing would let replicas differ.

import { Packr, RESET_BUFFER_MODE } from 'msgpackr';

const packr = new Packr({
  useRecords: false,
  moreTypes: false,
  encodeUndefinedAsNil: true,
  int64AsType: 'number',
});

/** An unknown version or kind, or bytes that are no value. The node must stop. */
export class FormatError extends Error {
  readonly code: 'UNKNOWN_FORMAT' | 'DAMAGED_VALUE';
  readonly outcome = 'none';

  constructor(code: 'UNKNOWN_FORMAT' | 'DAMAGED_VALUE', message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'FormatError';
    this.code = code;
  }
}

// Small values are cut from shared blocks: an allocation of its own costs a value more than its
// encoding. A block lives as long as one of its values, and values of one time die together, when
// they are flushed. Larger values, and the packer's own buffer, are never shared.
const BLOCK_BYTES = 16_384;
const SHARED_BYTES_MAX = 1024;
let block = new Uint8Array(BLOCK_BYTES);
let blockUsed = 0;

/** `length` zeroed bytes that nothing else uses. */
export function allocateBytes(length: number): Uint8Array {
  if (length > SHARED_BYTES_MAX) return new Uint8Array(length);
  if (blockUsed + length > BLOCK_BYTES) {
    block = new Uint8Array(BLOCK_BYTES);
    blockUsed = 0;
  }
  const bytes = block.subarray(blockUsed, blockUsed + length);
  blockUsed += length;
  return bytes;
}

export function packVersioned(version: number, fields: readonly unknown[]): Uint8Array {
  const packed = packr.pack(fields, RESET_BUFFER_MODE);
  const bytes = allocateBytes(packed.length + 1);
  bytes[0] = version;
  bytes.set(packed, 1);
  return bytes;
}

/** @throws {FormatError} when the version is another one or the rest is no array. */
export function unpackVersioned(
  what: string,
  version: number,
  bytes: Uint8Array,
): readonly unknown[] {
  if (bytes[0] !== version) {
    throw new FormatError('UNKNOWN_FORMAT', `${what} of unknown format version ${bytes[0]}`);
  }
  let fields: unknown;
  try {
    fields = packr.unpack(bytes.subarray(1));
  } catch (error) {
    throw new FormatError('DAMAGED_VALUE', `${what} cannot be read`, error);
  }
  if (!Array.isArray(fields)) throw new FormatError('DAMAGED_VALUE', `${what} is no array`);
  return fields;
}

/** The number that stands for a word in a closed list. Lists only ever grow at their end. */
export function codeOf<T extends string>(words: readonly T[], word: T): number {
  const code = words.indexOf(word);
  if (code < 0) throw new FormatError('UNKNOWN_FORMAT', `no code for ${word}`);
  return code;
}

export function wordOf<T extends string>(words: readonly T[], code: unknown): T {
  const word = typeof code === 'number' ? words[code] : undefined;
  if (word === undefined) {
    throw new FormatError('UNKNOWN_FORMAT', `unknown code ${String(code)}; known: ${words.join()}`);
  }
  return word;
}

/** Nil is how an absent field is written. */
export function absent<T>(field: T | null): T | undefined {
  return field ?? undefined;
}

export function flattenRecord(record: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(record).flat();
}

/** Own keys only, whatever they are called. */
export function unflattenRecord(flat: readonly string[]): Readonly<Record<string, string>> {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at] ?? '', flat[at + 1] ?? '']);
  return Object.fromEntries(pairs);
}
