// An ordered key-value store with batches, as LevelDB is one: keys are compared as unsigned bytes.
// The real one is `level`; the simulator's misbehaves as LevelDB does (acknowledged synced writes
// lost after a full disk, records lost after a flipped bit, unsynced tails lost).

export type KvOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array };

export interface KvRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse?: boolean;
  readonly limit: number;
}

/** A consistent view; must be closed. */
export interface KvSnapshot {
  range(range: KvRange): Promise<readonly (readonly [Uint8Array, Uint8Array])[]>;
  close(): Promise<void>;
}

export interface OrderedKv {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]>;
  range(range: KvRange): Promise<readonly (readonly [Uint8Array, Uint8Array])[]>;
  snapshot(): KvSnapshot;
  batch(operations: readonly KvOperation[], options: { readonly sync: boolean }): Promise<void>;
  close(): Promise<void>;
}

/** Opens the LevelDB directory of a generation; creates it when absent. */
export interface KvOpener {
  open(directory: string): Promise<OrderedKv>;
}
