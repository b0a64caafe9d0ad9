// What the state store needs from the world: an ordered key-value store with batches, as LevelDB
// is one, the directories that hold its generations, and the log that remembers its flushes.
//
// Keys are compared as unsigned bytes. The real store is `level`; the simulator's misbehaves as
// LevelDB does (acknowledged synced writes lost after a full disk, records lost after a flipped
// bit, unsynced tails lost).

export type KvOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array };

export interface KvRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse?: boolean;
  readonly limit: number;
  /** Stops after the pair that reaches this many bytes of keys and values. Absent: no bound. */
  readonly bytesMax?: number;
}

export type KvPair = readonly [Uint8Array, Uint8Array];

/** A consistent view; must be closed. */
export interface KvSnapshot {
  range(range: KvRange): Promise<readonly KvPair[]>;
  close(): Promise<void>;
}

export interface OrderedKv {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]>;
  range(range: KvRange): Promise<readonly KvPair[]>;
  snapshot(): KvSnapshot;
  /** Atomic. `sync`: resolves after it is on stable storage. Errors carry a `KvErrorCode`. */
  batch(operations: readonly KvOperation[], options: { readonly sync: boolean }): Promise<void>;
  /**
   * Checks the next of the store's own files, in order of name, against the checksums in it, for
   * damage that no read of a key shows. `after`: the file checked last; undefined: from the start.
   * Rejects with `KV_CORRUPT`. Absent where there are no files.
   */
  checkFile?(after: string | undefined): Promise<KvFileCheck>;
  close(): Promise<void>;
}

export type KvFileCheck =
  | { readonly kind: 'whole'; readonly file: string }
  /** No file follows. */
  | { readonly kind: 'end' };

/**
 * `code` of an error of an `OrderedKv` or its opener: no space, another failure of the disk, files
 * that contradict each other, or a directory that another process holds.
 */
export type KvErrorCode = 'ENOSPC' | 'EIO' | 'KV_CORRUPT' | 'KV_LOCKED';

/** Opens the LevelDB directory of a generation; creates it when absent. */
export interface KvOpener {
  open(directory: string): Promise<OrderedKv>;
}

/** The part of `Files` (src/engine/log) that generations need; `Files` satisfies it. */
export interface Directories {
  /** Names in a directory, sorted; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>;
  /** Recursively; absent is no error. */
  removeDirectory(path: string): Promise<void>;
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>;
}

/** Put into the log after a flush is synced: proves at open that no flush is missing at the end. */
export interface FlushMark {
  readonly appliedIndex: number;
  /** Number of the flush in its generation's ledger. */
  readonly ledger: number;
  /** State digest at `appliedIndex`. */
  readonly digest: bigint;
}
