// A file system in memory that loses what was not synced.
//
// Owns: the write-back cache of a disk, its sectors, names that are not yet durable, a capacity, and
// faults on command. Does not own: when an operation completes (a microtask; the simulator has its
// own disk).
//
// Model: a write changes the cached image; `datasync` makes the cached image of a file durable;
// `syncDirectory` makes its names durable. `crash` throws away the process: every sector written
// since the last sync is kept or lost on its own, as the caller chooses, and the operations of the
// old process never complete.

import type { FileHandle, Files } from '../../src/engine/log/ports.ts';

const SECTOR = 512;

interface Inode {
  cached: Uint8Array;
  durable: Uint8Array;
  readonly dirty: Set<number>;
}

/** What an operation on the disk was, for faults that pick one. */
export interface DiskOperation {
  readonly number: number;
  readonly kind: 'write' | 'datasync' | 'create' | 'rename' | 'remove' | 'syncDirectory' | 'read';
  readonly path: string;
}

export interface CrashChoices {
  /** Whether a sector written since the last sync survives. */
  readonly keepSector: (path: string, sector: number) => boolean;
  /** Whether the names as cached (true) or as last synced (false) survive. */
  readonly keepNames: (directory: string) => boolean;
}

export class DiskError extends Error {
  readonly code: string;
  constructor(code: string, operation: string) {
    super(`${code}: ${operation}`);
    this.code = code;
  }
}

export const LOSE_UNSYNCED: CrashChoices = { keepSector: () => false, keepNames: () => false };
export const KEEP_UNSYNCED: CrashChoices = { keepSector: () => true, keepNames: () => true };

export class MemoryFiles implements Files {
  #cachedNames = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #epoch = 0;
  #operations = 0;
  #fault: { readonly at: (operation: DiskOperation) => boolean; readonly code: string } | undefined;
  /** Bytes that files may take together; `Infinity` by default. */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Called before each operation; for tests that watch the order of things. */
  onOperation: ((operation: DiskOperation) => void) | undefined;

  /** Operations so far that can fail: everything but reads, list, size and free space. */
  get operations(): number {
    return this.#operations;
  }

  /** Fails every operation that `at` picks with `code`, until the next crash. */
  failWhen(at: (operation: DiskOperation) => boolean, code: string): void {
    this.#fault = { at, code };
  }

  /** The process is gone. What was not synced survives as `choices` say; faults are cleared. */
  crash(choices: CrashChoices = LOSE_UNSYNCED): void {
    this.#epoch += 1;
    this.#fault = undefined;
    const directories = new Map<string, boolean>();
    const names = new Map<string, Inode>();
    const all = [...new Set([...this.#cachedNames.keys(), ...this.#durableNames.keys()])].sort();
    for (const path of all) {
      const directory = directoryOf(path);
      const keep = directories.get(directory) ?? choices.keepNames(directory);
      directories.set(directory, keep);
      const inode = (keep ? this.#cachedNames : this.#durableNames).get(path);
      if (inode !== undefined) names.set(path, inode);
    }
    for (const [path, inode] of names) settle(inode, path, choices);
    this.#cachedNames = names;
    this.#durableNames = new Map(names);
  }

  /** An independent disk with the same cached and durable content, no faults. */
  clone(): MemoryFiles {
    const copy = new MemoryFiles();
    const inodes = new Map<Inode, Inode>();
    const cloneOf = (inode: Inode): Inode => {
      const known = inodes.get(inode);
      if (known !== undefined) return known;
      const made = {
        cached: inode.cached.slice(),
        durable: inode.durable.slice(),
        dirty: new Set(inode.dirty),
      };
      inodes.set(inode, made);
      return made;
    };
    for (const [path, inode] of this.#cachedNames) copy.#cachedNames.set(path, cloneOf(inode));
    for (const [path, inode] of this.#durableNames) copy.#durableNames.set(path, cloneOf(inode));
    copy.capacityBytes = this.capacityBytes;
    return copy;
  }

  /** Sectors of a file written since its last sync, ascending. */
  dirtySectors(path: string): readonly number[] {
    return [...this.#inode(path).dirty].sort((a, b) => a - b);
  }

  /** The cached bytes of a file, live: changing them is silent corruption (made durable too). */
  content(path: string): Uint8Array {
    return this.#inode(path).cached;
  }

  /** Replaces a file's content, cached and durable, as a failing disk would. */
  corrupt(path: string, change: (bytes: Uint8Array) => void): void {
    const inode = this.#inode(path);
    change(inode.cached);
    inode.durable = inode.cached.slice();
    inode.dirty.clear();
  }

  flipBit(path: string, offset: number, bit: number): void {
    this.corrupt(path, (bytes) => {
      bytes[offset] = (bytes[offset] ?? 0) ^ (1 << bit);
    });
  }

  /** Removes a name at once, as a person with `rm` would. */
  lose(path: string): void {
    this.#cachedNames.delete(path);
    this.#durableNames.delete(path);
  }

  paths(): readonly string[] {
    return [...this.#cachedNames.keys()].sort();
  }

  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<FileHandle> {
    const epoch = this.#epoch;
    if (mode === 'create') {
      await this.#begin('create', path, epoch);
      if (this.#cachedNames.has(path)) throw new DiskError('EEXIST', path);
      const inode = {
        cached: new Uint8Array(0),
        durable: new Uint8Array(0),
        dirty: new Set<number>(),
      };
      this.#cachedNames.set(path, inode);
    }
    await this.#alive(epoch);
    return this.#handle(path, this.#inode(path), epoch);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#begin('rename', from, this.#epoch);
    const inode = this.#inode(from);
    this.#cachedNames.delete(from);
    this.#cachedNames.set(to, inode);
  }

  async remove(path: string): Promise<void> {
    await this.#begin('remove', path, this.#epoch);
    this.#inode(path);
    this.#cachedNames.delete(path);
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#begin('remove', path, this.#epoch);
    for (const name of [...this.#cachedNames.keys()]) {
      if (name.startsWith(`${path}/`)) this.#cachedNames.delete(name);
    }
  }

  async makeDirectory(): Promise<void> {
    await this.#alive(this.#epoch);
  }

  async list(path: string): Promise<readonly string[]> {
    await this.#alive(this.#epoch);
    const names = new Set<string>();
    for (const name of this.#cachedNames.keys()) {
      if (!name.startsWith(`${path}/`)) continue;
      names.add(name.slice(path.length + 1).split('/')[0] ?? '');
    }
    return [...names].sort();
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#begin('syncDirectory', path, this.#epoch);
    for (const name of [...this.#durableNames.keys()]) {
      if (directoryOf(name) === path) this.#durableNames.delete(name);
    }
    for (const [name, inode] of this.#cachedNames) {
      if (directoryOf(name) === path) this.#durableNames.set(name, inode);
    }
  }

  async freeBytes(): Promise<number> {
    await this.#alive(this.#epoch);
    return this.capacityBytes - this.#usedBytes();
  }

  #handle(path: string, inode: Inode, epoch: number): FileHandle {
    return {
      path,
      writeAt: async (offset, bytes) => {
        const copy = bytes.slice();
        await this.#begin('write', path, epoch);
        this.#write(inode, offset, copy);
      },
      readAt: async (offset, length) => {
        await this.#alive(epoch);
        this.onOperation?.({ number: 0, kind: 'read', path });
        return inode.cached.slice(offset, offset + length);
      },
      datasync: async () => {
        await this.#begin('datasync', path, epoch);
        inode.durable = inode.cached.slice();
        inode.dirty.clear();
      },
      size: async () => {
        await this.#alive(epoch);
        return inode.cached.length;
      },
      close: async () => {
        await this.#alive(epoch);
      },
    };
  }

  #write(inode: Inode, offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > inode.cached.length) {
      if (this.#usedBytes() + end - inode.cached.length > this.capacityBytes) {
        throw new DiskError('ENOSPC', 'write');
      }
      const grown = new Uint8Array(end);
      grown.set(inode.cached);
      inode.cached = grown;
    }
    inode.cached.set(bytes, offset);
    for (let at = Math.floor(offset / SECTOR); at * SECTOR < end; at += 1) inode.dirty.add(at);
  }

  async #begin(kind: DiskOperation['kind'], path: string, epoch: number): Promise<void> {
    await this.#alive(epoch);
    this.#operations += 1;
    const operation = { number: this.#operations, kind, path };
    this.onOperation?.(operation);
    if (this.#fault?.at(operation) === true) throw new DiskError(this.#fault.code, kind);
  }

  /** Operations of a process that is gone never complete. */
  async #alive(epoch: number): Promise<void> {
    await Promise.resolve();
    if (epoch !== this.#epoch) await new Promise<never>(() => undefined);
  }

  #inode(path: string): Inode {
    const inode = this.#cachedNames.get(path);
    if (inode === undefined) throw new DiskError('ENOENT', path);
    return inode;
  }

  #usedBytes(): number {
    let used = 0;
    for (const inode of this.#cachedNames.values()) used += inode.cached.length;
    return used;
  }
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function settle(inode: Inode, path: string, choices: CrashChoices): void {
  const kept = [...inode.dirty]
    .sort((a, b) => a - b)
    .filter((sector) => choices.keepSector(path, sector));
  const last = kept.at(-1);
  const keptEnd = last === undefined ? 0 : Math.min((last + 1) * SECTOR, inode.cached.length);
  const image = new Uint8Array(Math.max(inode.durable.length, keptEnd));
  image.set(inode.durable);
  for (const sector of kept) {
    image.set(inode.cached.subarray(sector * SECTOR, (sector + 1) * SECTOR), sector * SECTOR);
  }
  inode.cached = image;
  inode.durable = image.slice();
  inode.dirty.clear();
}
