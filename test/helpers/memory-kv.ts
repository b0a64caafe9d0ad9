// An OrderedKv in memory that is faithful to LevelDB and misbehaves as it does.
//
// One `MemoryKvDisk` is the disk of one machine: it holds the LevelDB directories of that machine
// and outlives the processes that open them. What it models (the LevelDB findings L1–L7):
//
//   - a batch is atomic; batches become visible in the order in which they were given;
//   - L4: at a power cut each write-ahead log loses a suffix of what was not synced, also when a
//     newer log survives: a hole in the middle;
//   - L2: a write that meets a full disk fails, and from then on writes to the same log are
//     acknowledged, even synced, and gone at the next open, without an error;
//   - L3: after a failed sync every later write of the handle fails;
//   - L5: a flipped bit in a log silently drops a stretch of its batches at the next open;
//   - a flipped bit in a stored value is returned as if nothing had happened;
//   - L6: what an open finds is rewritten and is safe; L7: `kill` keeps what was not synced;
//   - L15: the name of a new directory is durable only after its parent was synced.
//
// Two logs at most are at risk: rotation waits until the older one's table is on disk.

import type {
  Directories,
  KvErrorCode,
  KvOpener,
  KvOperation,
  KvPair,
  KvRange,
  KvSnapshot,
  OrderedKv,
} from '../../src/engine/store/ports.ts';
import { createSortedMap, type SortedMap } from '../../src/engine/store/sorted-map.ts';

type Tree = SortedMap<Uint8Array>;

export interface MemoryKvOptions {
  /** Uniform in [0, 1); decides every loss. */
  readonly random: { next(): number };
  /**
   * Called with every completion; runs it now or later (the simulator's scheduler). It must not
   * run it inside the call. Default: a microtask.
   */
  readonly complete?: (run: () => void) => void;
  /** A log is rotated when it holds this many bytes, and at random with the probability below. */
  readonly writeBufferBytes?: number;
  readonly rotateProbability?: number;
}

interface WalRecord {
  readonly operations: readonly KvOperation[];
  readonly bytes: number;
  synced: boolean;
  acknowledged: boolean;
  /** Written behind a torn fragment (L2) or inside a damaged block (L5): gone at the next open. */
  doomed: boolean;
}

interface Wal {
  readonly records: WalRecord[];
  bytes: number;
  torn: boolean;
}

interface Directory {
  /** Tables: safe from everything but a flipped bit in a value. */
  base: Tree;
  /** Oldest first; at most two. */
  wals: Wal[];
  /** The name survives a power cut. */
  nameDurable: boolean;
  open: boolean;
}

export class KvFault extends Error {
  readonly code: KvErrorCode;
  constructor(code: KvErrorCode, message: string) {
    super(message);
    this.name = 'KvFault';
    this.code = code;
  }
}

export class MemoryKvDisk implements Directories {
  /** While true every write fails with ENOSPC (and tears the log, L2). */
  full = false;
  /** The next synced batch fails with EIO, and so does every later one of that handle (L3). */
  failNextSync = false;
  readonly random: { next(): number };
  readonly #complete: (run: () => void) => void;
  readonly #writeBufferBytes: number;
  readonly #rotateProbability: number;
  readonly #directories = new Map<string, Directory>();
  /** Removed, but the parent not synced: may be back after a power cut. */
  readonly #removed = new Map<string, Directory>();
  /** Counts crashes: what an earlier incarnation of the process asks for never happens. */
  incarnation = 0;

  constructor(options: MemoryKvOptions) {
    this.random = options.random;
    this.#complete = options.complete ?? ((run) => void Promise.resolve().then(run));
    this.#writeBufferBytes = options.writeBufferBytes ?? 64 * 1024;
    this.#rotateProbability = options.rotateProbability ?? 0.05;
  }

  readonly opener: KvOpener = {
    open: (path) =>
      this.later(() => {
        let directory = this.#directories.get(path);
        if (directory === undefined) {
          if (this.full) throw new KvFault('ENOSPC', `no space to create ${path}`);
          directory = {
            base: createSortedMap(),
            wals: [newWal()],
            nameDurable: false,
            open: false,
          };
          this.#directories.set(path, directory);
        }
        if (directory.open) throw new KvFault('KV_LOCKED', `${path} is open`);
        recover(directory);
        directory.open = true;
        return new MemoryKv(this, directory);
      }),
  };

  /** Runs `run` when the simulator lets the operation complete; never after a crash. */
  later<T>(run: () => T): Promise<T> {
    const incarnation = this.incarnation;
    return new Promise<T>((resolve, reject) => {
      this.#complete(() => {
        // The process that asked is gone: nothing is answered, and nothing is carried out.
        if (incarnation !== this.incarnation) return;
        try {
          resolve(run());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  /** The machine loses power: every handle dies, and what was not synced may be lost. */
  crash(): void {
    this.incarnation += 1;
    for (const [path, directory] of [...this.#directories]) {
      for (const wal of directory.wals) this.#losePower(wal);
      recover(directory);
      directory.open = false;
      if (!directory.nameDurable && this.random.next() < 0.5) this.#directories.delete(path);
    }
    for (const [path, directory] of [...this.#removed]) {
      if (this.random.next() < 0.5 && !this.#directories.has(path)) {
        this.#directories.set(path, directory);
      }
    }
    this.#removed.clear();
  }

  /** The process dies (kill −9); the kernel keeps what it was given (L7). */
  kill(): void {
    this.incarnation += 1;
    for (const directory of this.#directories.values()) {
      recover(directory);
      directory.open = false;
    }
  }

  /** L5: from a random batch on, a stretch of one log is gone at the next open. False: none left. */
  flipWalBit(path: string): boolean {
    const directory = this.#directories.get(path);
    const wals = directory?.wals.filter((wal) => wal.records.length > 0) ?? [];
    const wal = wals[Math.floor(this.random.next() * wals.length)];
    if (wal === undefined) return false;
    const from = Math.floor(this.random.next() * wal.records.length);
    const count = 1 + Math.floor(this.random.next() * 4);
    for (const record of wal.records.slice(from, from + count)) record.doomed = true;
    return true;
  }

  /** Drops the batch that is `back` batches before the newest of the logs, at the next open. */
  dropBatch(path: string, back: number): boolean {
    const records = this.#directories.get(path)?.wals.flatMap((wal) => wal.records) ?? [];
    const record = records[records.length - 1 - back];
    if (record === undefined) return false;
    record.doomed = true;
    return true;
  }

  /** Flips a bit in the stored value of `key`, or of a random key. Returns the key hit. */
  flipValueBit(path: string, key?: Uint8Array): Uint8Array | undefined {
    const directory = this.#directories.get(path);
    if (directory === undefined) return undefined;
    fold(directory);
    const keys = directory.base.keysArray();
    const chosen =
      key === undefined ? keys[Math.floor(this.random.next() * keys.length)] : toText(key);
    const value = chosen === undefined ? undefined : directory.base.get(chosen);
    if (chosen === undefined || value === undefined || value.length === 0) return undefined;
    const damaged = new Uint8Array(value);
    const at = Math.floor(this.random.next() * damaged.length);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << Math.floor(this.random.next() * 8));
    directory.base.set(chosen, damaged);
    return fromText(chosen);
  }

  /** Everything a reader of an open handle sees in a directory now; for checks. */
  contents(path: string): ReadonlyMap<string, Uint8Array> {
    const directory = this.#directories.get(path);
    return new Map(directory === undefined ? [] : visible(directory).entries());
  }

  paths(): readonly string[] {
    return [...this.#directories.keys()].sort();
  }

  // ------------------------------------------------------------------------------ Directories

  list(path: string): Promise<readonly string[]> {
    return this.later(() => {
      const prefix = `${path}/`;
      const names = [...this.#directories.keys()]
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length).split('/')[0] ?? '');
      return [...new Set(names)].sort();
    });
  }

  removeDirectory(path: string): Promise<void> {
    return this.later(() => {
      const directory = this.#directories.get(path);
      if (directory === undefined) return;
      this.#directories.delete(path);
      if (directory.nameDurable) this.#removed.set(path, { ...directory, open: false });
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.later(() => {
      const isChild = (name: string): boolean => name.slice(0, name.lastIndexOf('/')) === path;
      for (const [name, directory] of this.#directories) {
        if (isChild(name)) directory.nameDurable = true;
      }
      for (const name of [...this.#removed.keys()]) if (isChild(name)) this.#removed.delete(name);
    });
  }

  // -------------------------------------------------------------------------------- of MemoryKv

  currentWal(directory: Directory): Wal {
    let wal = directory.wals.at(-1);
    if (
      wal === undefined ||
      wal.bytes > this.#writeBufferBytes ||
      (wal.records.length > 0 && this.random.next() < this.#rotateProbability)
    ) {
      wal = newWal();
      directory.wals.push(wal);
      while (directory.wals.length > 2) foldOldest(directory);
    }
    return wal;
  }

  #losePower(wal: Wal): void {
    let syncedCount = 0;
    wal.records.forEach((record, position) => {
      if (record.synced) syncedCount = position + 1;
    });
    const atRisk = wal.records.length - syncedCount;
    const kept = syncedCount + Math.floor(this.random.next() * (atRisk + 1));
    wal.records.splice(kept);
  }
}

class MemoryKv implements OrderedKv {
  readonly #disk: MemoryKvDisk;
  readonly #directory: Directory;
  /** Acknowledged state, as readers of this handle see it. */
  #live: Tree;
  #liveBase: Tree;
  /** Given but not complete, in order. */
  readonly #writes: { ready: boolean; finish: () => void }[] = [];
  #broken = false;
  #closed = false;
  readonly #incarnation: number;

  constructor(disk: MemoryKvDisk, directory: Directory) {
    this.#disk = disk;
    this.#directory = directory;
    this.#live = visible(directory);
    this.#liveBase = directory.base;
    this.#incarnation = disk.incarnation;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const [value] = await this.getMany([key]);
    return value;
  }

  getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    const gone = this.#gone();
    if (gone !== undefined) return gone;
    // A read on a worker thread sees the state of its start or of its end, or between.
    const early = this.#disk.random.next() < 0.5 ? this.#current().clone() : undefined;
    const names = keys.map(toText);
    return this.#disk.later(() => {
      const tree = early ?? this.#current();
      return names.map((name) => copy(tree.get(name)));
    });
  }

  range(range: KvRange): Promise<readonly KvPair[]> {
    const gone = this.#gone();
    if (gone !== undefined) return gone;
    const tree = this.#current().clone();
    return this.#disk.later(() => collect(tree, range));
  }

  snapshot(): KvSnapshot {
    if (this.#closed) throw new Error('the handle is closed');
    const tree = this.#current().clone();
    return {
      range: (range) => this.#gone() ?? this.#disk.later(() => collect(tree, range)),
      close: () => this.#disk.later(() => undefined),
    };
  }

  batch(operations: readonly KvOperation[], options: { readonly sync: boolean }): Promise<void> {
    const gone = this.#gone();
    if (gone !== undefined) return gone;
    if (this.#broken) {
      return this.#disk.later(() => {
        throw new KvFault('EIO', 'an earlier sync failed');
      });
    }
    const wal = this.#disk.currentWal(this.#directory);
    if (this.#disk.full) {
      wal.torn = true;
      return this.#disk.later(() => {
        throw new KvFault('ENOSPC', 'no space left on device');
      });
    }
    if (options.sync && this.#disk.failNextSync) {
      this.#disk.failNextSync = false;
      this.#broken = true;
      return this.#disk.later(() => {
        throw new KvFault('EIO', 'sync failed');
      });
    }
    const copies = operations.map(copyOperation);
    const bytes = copies.reduce(
      (sum, operation) =>
        sum + operation.key.length + (operation.type === 'put' ? operation.value.length : 0),
      0,
    );
    const record: WalRecord = {
      operations: copies,
      bytes,
      synced: false,
      acknowledged: false,
      doomed: wal.torn,
    };
    wal.records.push(record);
    wal.bytes += bytes;
    return this.#write(wal, record, options.sync);
  }

  close(): Promise<void> {
    const gone = this.#gone();
    if (gone !== undefined) return gone;
    this.#closed = true;
    return this.#disk.later(() => {
      this.#directory.open = false;
    });
  }

  #write(wal: Wal, record: WalRecord, sync: boolean): Promise<void> {
    return new Promise<void>((resolve) => {
      const write = {
        ready: false,
        finish: () => {
          record.acknowledged = true;
          applyTo(this.#current(), record.operations);
          if (sync) for (const earlier of recordsUpTo(wal, record)) earlier.synced = true;
          resolve();
        },
      };
      this.#writes.push(write);
      void this.#disk.later(() => {
        write.ready = true;
        while (this.#writes[0]?.ready === true) this.#writes.shift()?.finish();
      });
    });
  }

  /** The live tree; taken anew when a fault was injected into the stored values. */
  #current(): Tree {
    if (this.#liveBase !== this.#directory.base) {
      this.#liveBase = this.#directory.base;
      this.#live = visible(this.#directory);
    }
    return this.#live;
  }

  /** A closed handle rejects; the handle of a dead process never answers. */
  #gone(): Promise<never> | undefined {
    if (this.#incarnation !== this.#disk.incarnation) return new Promise<never>(() => undefined);
    if (this.#closed) return Promise.reject(new Error('the handle is closed'));
    return undefined;
  }
}

function recordsUpTo(wal: Wal, record: WalRecord): readonly WalRecord[] {
  return wal.records.slice(0, wal.records.indexOf(record) + 1);
}

function newWal(): Wal {
  return { records: [], bytes: 0, torn: false };
}

/** What opening finds becomes a table (L6); what is doomed is silently not found. */
function recover(directory: Directory): void {
  const base = directory.base.clone();
  for (const wal of directory.wals) {
    for (const record of wal.records) if (!record.doomed) applyTo(base, record.operations);
  }
  directory.base = base;
  directory.wals = [newWal()];
}

/** The memtable becomes a table: also what was doomed in the log, if it was acknowledged. */
function foldOldest(directory: Directory): void {
  const oldest = directory.wals.shift();
  for (const record of oldest?.records ?? []) applyTo(directory.base, record.operations);
}

/** Everything acknowledged becomes a table; what is in flight stays in its log. */
function fold(directory: Directory): void {
  directory.base = visible(directory);
  for (const wal of directory.wals) {
    const inFlight = wal.records.filter((record) => !record.acknowledged);
    wal.records.splice(0, wal.records.length, ...inFlight);
  }
}

function visible(directory: Directory): Tree {
  const tree = directory.base.clone();
  for (const wal of directory.wals) {
    for (const record of wal.records) if (record.acknowledged) applyTo(tree, record.operations);
  }
  return tree;
}

function applyTo(tree: Tree, operations: readonly KvOperation[]): void {
  for (const operation of operations) {
    if (operation.type === 'put') tree.set(toText(operation.key), operation.value);
    else tree.delete(toText(operation.key));
  }
}

function copyOperation(operation: KvOperation): KvOperation {
  return operation.type === 'put'
    ? { type: 'put', key: new Uint8Array(operation.key), value: new Uint8Array(operation.value) }
    : { type: 'del', key: new Uint8Array(operation.key) };
}

function collect(tree: Tree, range: KvRange): readonly KvPair[] {
  const from = toText(range.gte);
  const to = toText(range.lt);
  const pairs: KvPair[] = [];
  let bytes = 0;
  const entries =
    range.reverse === true ? tree.entriesReversed(to, undefined, true) : tree.entries(from);
  for (const [key, value] of entries) {
    if (range.reverse === true ? key < from : key >= to) break;
    if (pairs.length >= range.limit || bytes >= (range.bytesMax ?? Infinity)) break;
    pairs.push([fromText(key), new Uint8Array(value)]);
    bytes += key.length + value.length;
  }
  return pairs;
}

function toText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

function fromText(key: string): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'latin1'));
}

/** A real copy: `slice` of a Buffer shares its bytes. */
function copy(value: Uint8Array | undefined): Uint8Array | undefined {
  return value === undefined ? undefined : new Uint8Array(value);
}
