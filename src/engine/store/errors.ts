// What can go wrong in the state store: expected failures with a code, and broken invariants.

import type { KvErrorCode } from './ports.ts';

export type StoreErrorCode =
  /** A stored value does not match its checksum; the replica must be rebuilt. */
  | 'STATE_DAMAGED'
  /** The store could not be read. */
  | 'STATE_UNREADABLE'
  /** A format version that this program does not know. */
  | 'STATE_FORMAT_UNKNOWN'
  /** No space to open the state: opening LevelDB rewrites its log. */
  | 'STATE_NO_SPACE'
  /** Another process holds the directory. */
  | 'STATE_LOCKED'
  /** A snapshot stream with a wrong checksum, order or content. */
  | 'SNAPSHOT_DAMAGED'
  /** A snapshot stream that ended before its last chunk. */
  | 'SNAPSHOT_CUT'
  /** A snapshot could not be written here, for want of space or otherwise. */
  | 'SNAPSHOT_NOT_STORED'
  /** Another snapshot is being received (one at a time). */
  | 'SNAPSHOT_BUSY'
  /** There is nothing to take a snapshot of. */
  | 'SNAPSHOT_EMPTY'
  | 'STORE_CLOSED';

/** An expected failure. None of them changes the state, so its outcome is always `none`. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;
  readonly outcome = 'none';

  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
  }
}

/** A broken invariant: a defect of the program, never an answer. */
export class StoreInvariantError extends Error {
  readonly state: Readonly<Record<string, unknown>>;

  constructor(message: string, state: Readonly<Record<string, unknown>>) {
    super(message);
    this.name = 'StoreInvariantError';
    this.state = state;
  }
}

export function invariant(
  condition: boolean,
  message: string,
  state: Readonly<Record<string, unknown>>,
): asserts condition {
  if (!condition) throw new StoreInvariantError(message, state);
}

/** Why an error of an `OrderedKv` arose; anything unknown counts as a failing disk. */
export function kvErrorCode(error: unknown): KvErrorCode {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'KV_CORRUPT' || code === 'KV_LOCKED' ? code : 'EIO';
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
