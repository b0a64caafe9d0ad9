// What the log is made of: the kinds of records and the bytes inside them.
//
// Owns: record kinds and their payloads. Does not own: how records are packed and checksummed
// (batch.ts), what they do to the log (log-state.ts).
//
// Invariants: a kind or a format that is not known stops the node; it is never skipped.

import { Buffer } from 'node:buffer';
import {
  decodeSnapshotMeta,
  type Entry,
  encodeEntry,
  encodeSnapshotMeta,
  type HardState,
  type LogIndex,
  type LogTimeMs,
  type RecoveringInfo,
  type SnapshotMeta,
  type Term,
} from '../../raft/index.ts';
import { LogError } from './errors.ts';
import { asBuffer, readUint, writeUint } from './layout.ts';

/** Proof that the state holds everything up to `appliedIndex` durably. */
export interface FlushMark {
  readonly appliedIndex: LogIndex;
  /** Number of the newest flush: the state's ledger is gapless up to it. */
  readonly ledger: number;
  /** 64-bit digest of the state at `appliedIndex`. */
  readonly digest: bigint;
}

export interface Installed {
  readonly meta: SnapshotMeta;
  readonly generation: number;
}

export interface EntryRecord {
  readonly kind: 'entry';
  readonly index: LogIndex;
  readonly term: Term;
  readonly timeMs: LogTimeMs;
  /** The payload is a configuration entry: opening decodes these. */
  readonly configuration: boolean;
  /** The entry as consensus encodes it. */
  readonly payload: Uint8Array;
}

export type LogRecord =
  | EntryRecord
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  /** Entries at and above `from` are void. Nothing is overwritten. */
  | { readonly kind: 'truncate'; readonly from: LogIndex }
  /** Closes the tail: what stands before it was complete. */
  | { readonly kind: 'mark' }
  | { readonly kind: 'flushMark'; readonly mark: FlushMark }
  | ({ readonly kind: 'installed' } & Installed)
  | { readonly kind: 'recovering'; readonly info: RecoveringInfo }
  | { readonly kind: 'recovered' };

const KIND_CODES = {
  entry: 1,
  hardState: 2,
  truncate: 3,
  mark: 4,
  flushMark: 5,
  installed: 6,
  recovering: 7,
  recovered: 8,
} as const satisfies Record<LogRecord['kind'], number>;

/** Set beside the kind of an entry whose payload is a configuration. */
const FLAG_CONFIGURATION = 1;

const NO_BYTES = new Uint8Array(0);

/** The fields of a record header that depend on its kind. */
export interface RecordFields {
  readonly kindCode: number;
  readonly flags: number;
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  readonly payload: Uint8Array;
}

export function entryRecord(entry: Entry): EntryRecord {
  return {
    kind: 'entry',
    index: entry.index,
    term: entry.term,
    timeMs: entry.timeMs,
    configuration: entry.kind === 'configuration',
    payload: encodeEntry(entry),
  };
}

function encodeFlushMark(mark: FlushMark): Uint8Array {
  const bytes = Buffer.alloc(24);
  writeUint(bytes, mark.appliedIndex, 0);
  writeUint(bytes, mark.ledger, 8);
  bytes.writeBigUInt64BE(mark.digest, 16);
  return bytes;
}

export function encodeInstalled(installed: Installed): Uint8Array {
  const meta = encodeSnapshotMeta(installed.meta);
  const bytes = Buffer.alloc(8 + meta.length);
  writeUint(bytes, installed.generation, 0);
  bytes.set(meta, 8);
  return bytes;
}

export function decodeInstalled(payload: Uint8Array): Installed {
  return {
    generation: readUint(asBuffer(payload), 0),
    meta: decodeSnapshotMeta(payload.subarray(8)),
  };
}

export function recordFields(record: LogRecord): RecordFields {
  const plain = { flags: 0, index: 0, term: 0, timeMs: 0, payload: NO_BYTES };
  const kindCode = KIND_CODES[record.kind];
  switch (record.kind) {
    case 'entry': {
      const { index, term, timeMs, payload } = record;
      const flags = record.configuration ? FLAG_CONFIGURATION : 0;
      return { kindCode, flags, index, term, timeMs, payload };
    }
    case 'hardState': {
      const { term, vote } = record.hardState;
      // The vote travels in the index field; node ids are positive.
      return { ...plain, kindCode, term, index: vote ?? 0 };
    }
    case 'truncate':
      return { ...plain, kindCode, index: record.from };
    case 'mark':
    case 'recovered':
      return { ...plain, kindCode };
    case 'flushMark':
      return { ...plain, kindCode, payload: encodeFlushMark(record.mark) };
    case 'installed':
      return { ...plain, kindCode, payload: encodeInstalled(record) };
    case 'recovering':
      return { ...plain, kindCode, payload: Buffer.from(JSON.stringify(record.info), 'utf8') };
  }
}

/**
 * The record in fields whose checksum has been verified.
 * @throws {UNKNOWN_FORMAT} when the kind is not known.
 */
export function recordOf(fields: RecordFields): LogRecord {
  const { kindCode, index, term, timeMs, payload } = fields;
  switch (kindCode) {
    case KIND_CODES.entry: {
      const configuration = (fields.flags & FLAG_CONFIGURATION) !== 0;
      return { kind: 'entry', index, term, timeMs, configuration, payload };
    }
    case KIND_CODES.hardState:
      return { kind: 'hardState', hardState: { term, vote: index === 0 ? undefined : index } };
    case KIND_CODES.truncate:
      return { kind: 'truncate', from: index };
    case KIND_CODES.mark:
      return { kind: 'mark' };
    case KIND_CODES.flushMark: {
      const bytes = asBuffer(payload);
      const digest = bytes.readBigUInt64BE(16);
      const mark = { appliedIndex: readUint(bytes, 0), ledger: readUint(bytes, 8), digest };
      return { kind: 'flushMark', mark };
    }
    case KIND_CODES.installed:
      return { kind: 'installed', ...decodeInstalled(payload) };
    case KIND_CODES.recovering: {
      const info = JSON.parse(asBuffer(payload).toString('utf8')) as RecoveringInfo;
      return { kind: 'recovering', info };
    }
    case KIND_CODES.recovered:
      return { kind: 'recovered' };
    default:
      throw new LogError('UNKNOWN_FORMAT', `record of unknown kind ${kindCode}`);
  }
}

/** The lowest index that the records write or void; 0 when they touch none. */
export function lowestIndexTouched(records: readonly LogRecord[]): LogIndex {
  let lowest = 0;
  for (const record of records) {
    let index = 0;
    if (record.kind === 'entry') index = record.index;
    else if (record.kind === 'truncate') index = record.from;
    if (index !== 0 && (lowest === 0 || index < lowest)) lowest = index;
  }
  return lowest;
}
