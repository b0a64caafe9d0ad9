// The store's own keys, under the prefix byte 0x00, and what their values hold.
//
// Owns: the format version of a generation, `meta` (what the last flush contained), the ledger (one
// entry per flush), the configuration as of the applied index, and where the scrub stands.
// Does not own: keys of the machine, which start with a byte from 0x01 to 0xfe.
//
// Every value here is sealed like any other (sealed-value.ts).

import { crc32 } from 'node:zlib';
import type { Key } from '../machine/index.ts';
import type { KvOperation } from './ports.ts';
import { seal, unseal } from './sealed-value.ts';

export const STATE_FORMAT = 1;

/** Bounds of the machine's keys: `KEYS_FROM ≤ key < KEYS_TO`. */
export const KEYS_FROM: Key = '\x01';
export const KEYS_TO: Key = '\xff';

/** Snapshot records hold a key's length in 16 bits. */
export const KEY_BYTES_MAX = 0xffff;

export const META_KEY = toBytes('\x00meta');
export const CONFIGURATION_KEY = toBytes('\x00configuration');
export const SCRUB_KEY = toBytes('\x00scrub');
const LEDGER_PREFIX = '\x00ledger/';
/** Bounds of all ledger keys; '0' is the byte after '/'. */
export const LEDGER_FROM = toBytes(LEDGER_PREFIX);
export const LEDGER_TO = toBytes('\x00ledger0');

/** How far the state has been applied. */
export interface Applied {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  readonly digest: bigint;
}

/** Written by every flush, in the same batch as the mutations (bug G1). */
export interface StateMeta extends Applied {
  /** Number of the last flush; 0 = none yet. */
  readonly ledger: number;
  /** The oldest entry that the ledger still holds; `ledger + 1` when it is empty. */
  readonly ledgerFirst: number;
  /** Bytes of all batches ever written to this generation. */
  readonly bytesTotal: number;
}

export interface LedgerEntry {
  readonly ledger: number;
  readonly appliedIndex: number;
  readonly digest: bigint;
  /** CRC-32 of the keys of the batch, in order. */
  readonly keysCrc: number;
  /** `bytesTotal` after the batch. */
  readonly bytesTotal: number;
}

export function toBytes(key: Key): Uint8Array {
  return Buffer.from(key, 'latin1');
}

export function toKey(bytes: Uint8Array): Key {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

export function ledgerKey(ledger: number): Uint8Array {
  const key = Buffer.alloc(LEDGER_PREFIX.length + 8);
  key.write(LEDGER_PREFIX, 'latin1');
  key.writeBigUInt64BE(BigInt(ledger), LEDGER_PREFIX.length);
  return key;
}

export function sealedPut(key: Uint8Array, value: Uint8Array): KvOperation {
  return { type: 'put', key, value: seal(key, value) };
}

const META_BYTES = 2 + 7 * 8;

export function encodeMeta(meta: StateMeta): Uint8Array {
  const bytes = Buffer.alloc(META_BYTES);
  bytes.writeUInt16BE(STATE_FORMAT, 0);
  bytes.writeBigUInt64BE(BigInt(meta.index), 2);
  bytes.writeBigUInt64BE(BigInt(meta.term), 10);
  bytes.writeDoubleBE(meta.timeMs, 18);
  bytes.writeBigUInt64BE(meta.digest, 26);
  bytes.writeBigUInt64BE(BigInt(meta.ledger), 34);
  bytes.writeBigUInt64BE(BigInt(meta.ledgerFirst), 42);
  bytes.writeBigUInt64BE(BigInt(meta.bytesTotal), 50);
  return bytes;
}

export type DecodedMeta =
  | { readonly kind: 'meta'; readonly meta: StateMeta }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'unknownFormat'; readonly format: number };

export function decodeMeta(sealed: Uint8Array): DecodedMeta {
  const value = unseal(META_KEY, sealed);
  if (value === undefined || value.length < 2) return { kind: 'damaged' };
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const format = bytes.readUInt16BE(0);
  if (format !== STATE_FORMAT) return { kind: 'unknownFormat', format };
  if (bytes.length !== META_BYTES) return { kind: 'damaged' };
  return {
    kind: 'meta',
    meta: {
      index: Number(bytes.readBigUInt64BE(2)),
      term: Number(bytes.readBigUInt64BE(10)),
      timeMs: bytes.readDoubleBE(18),
      digest: bytes.readBigUInt64BE(26),
      ledger: Number(bytes.readBigUInt64BE(34)),
      ledgerFirst: Number(bytes.readBigUInt64BE(42)),
      bytesTotal: Number(bytes.readBigUInt64BE(50)),
    },
  };
}

const LEDGER_BYTES = 8 + 8 + 4 + 8;

export function encodeLedger(entry: LedgerEntry): Uint8Array {
  const bytes = Buffer.alloc(LEDGER_BYTES);
  bytes.writeBigUInt64BE(BigInt(entry.appliedIndex), 0);
  bytes.writeBigUInt64BE(entry.digest, 8);
  bytes.writeUInt32BE(entry.keysCrc, 16);
  bytes.writeBigUInt64BE(BigInt(entry.bytesTotal), 20);
  return bytes;
}

/** Undefined: damaged. */
export function decodeLedger(key: Uint8Array, sealed: Uint8Array): LedgerEntry | undefined {
  const value = unseal(key, sealed);
  if (value?.length !== LEDGER_BYTES || key.length !== LEDGER_PREFIX.length + 8) return undefined;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const name = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  return {
    ledger: Number(name.readBigUInt64BE(LEDGER_PREFIX.length)),
    appliedIndex: Number(bytes.readBigUInt64BE(0)),
    digest: bytes.readBigUInt64BE(8),
    keysCrc: bytes.readUInt32BE(16),
    bytesTotal: Number(bytes.readBigUInt64BE(20)),
  };
}

/** What a batch costs LevelDB's log and table, about; and the checksum of its keys. */
export function measureBatch(operations: readonly KvOperation[]): {
  readonly bytes: number;
  readonly keysCrc: number;
} {
  let bytes = 0;
  let keysCrc = 0;
  for (const operation of operations) {
    bytes += operation.key.length + (operation.type === 'put' ? operation.value.length : 0);
    keysCrc = crc32(operation.key, keysCrc);
  }
  return { bytes, keysCrc };
}
