// The state as layers: the active overlay, the frozen one that a flush is writing, LevelDB.
//
// Owns: what is in memory, the lookup through it, and when the layers move down. Synchronous.
// Does not own: reading LevelDB, writing it, the digest.
//
// Invariants
//   SL1. `#fetched` holds, for the keys named by the last prefetch (and those deleted since), the
//        value beneath the active overlay; it follows every freeze, and a flush does not change
//        what lies beneath, so a named key is always in memory.
//   SL2. `#cache` holds what LevelDB holds of a key, except of keys in the frozen overlay. Only
//        prefetches and flushes write it: the one who applies waits for its own prefetch, so
//        nothing it reads can be older than what it wrote.

import type { Key } from '../machine/index.ts';
import { invariant } from './errors.ts';
import { Overlay, type OverlayEntry } from './overlay.ts';
import { ReadCache } from './read-cache.ts';
import type { SortedMap } from './sorted-map.ts';

export type Lookup =
  | { readonly found: true; readonly value: Uint8Array | undefined }
  | { readonly found: false };

export class StateLayers {
  readonly #cache: ReadCache;
  #active = new Overlay();
  #frozen: Overlay | undefined;
  #named: readonly Key[] = [];
  #fetched = new Map<Key, Uint8Array | undefined>();

  constructor(readCacheBytesMax: number) {
    this.#cache = new ReadCache(readCacheBytesMax);
  }

  get activeBytes(): number {
    return this.#active.bytes;
  }
  get activeKeys(): number {
    return this.#active.size;
  }
  get frozenBytes(): number {
    return this.#frozen?.bytes ?? 0;
  }
  get cacheBytes(): number {
    return this.#cache.bytes;
  }
  get isFlushing(): boolean {
    return this.#frozen !== undefined;
  }

  /** What memory knows of a key. */
  lookup(key: Key): Lookup {
    const entry = this.#active.get(key) ?? this.#frozen?.get(key);
    if (entry !== undefined) return { found: true, value: entry.value };
    const fetched = this.#fetched.get(key);
    if (fetched !== undefined || this.#fetched.has(key)) return { found: true, value: fetched };
    return this.#cache.lookup(key);
  }

  /** Like `lookup`, for readers outside apply: leaves the prefetched keys to the applier. */
  lookupForReader(key: Key): Lookup {
    const entry = this.#active.get(key) ?? this.#frozen?.get(key);
    return entry === undefined ? this.#cache.lookup(key) : { found: true, value: entry.value };
  }

  /** Names the keys of the next batch; returns those that must be read from LevelDB. */
  name(keys: readonly Key[]): readonly Key[] {
    this.#named = keys;
    this.#fetched = new Map();
    const missing = new Set<Key>();
    for (const key of keys) {
      if (this.#active.get(key) !== undefined) continue;
      const below = this.#below(key);
      if (below.found) this.#fetched.set(key, below.value);
      else missing.add(key);
    }
    return [...missing];
  }

  /** What LevelDB holds of a key that `name` returned. */
  fetched(key: Key, value: Uint8Array | undefined): void {
    this.#fetched.set(key, value);
    this.#cache.set(key, value);
  }

  /** `isNew`: the caller knows that no layer holds the key. */
  put(key: Key, value: Uint8Array, isNew: boolean): void {
    const before = this.#active.get(key);
    const absentBelow =
      before === undefined ? isNew || this.#isAbsentBelow(key) : before.absentBelow;
    this.#active.set(key, { value, absentBelow }, before);
  }

  delete(key: Key): void {
    const before = this.#active.get(key);
    const absentBelow = before === undefined ? this.#isAbsentBelow(key) : before.absentBelow;
    if (!absentBelow) {
      this.#active.set(key, { value: undefined, absentBelow: false }, before);
      return;
    }
    if (before !== undefined) this.#active.remove(key, before);
    this.#fetched.set(key, undefined);
  }

  /** The active overlay becomes the frozen one. */
  freeze(): Overlay {
    invariant(this.#frozen === undefined, 'one flush at a time', {});
    const frozen = this.#active;
    for (const keys of [this.#named, [...this.#fetched.keys()]]) {
      for (const key of keys) {
        const entry = frozen.get(key);
        if (entry !== undefined) this.#fetched.set(key, entry.value);
      }
    }
    this.#frozen = frozen;
    this.#active = new Overlay();
    return frozen;
  }

  /** LevelDB holds the frozen entry now; to be called for all of them before `thaw`. */
  written(key: Key, entry: OverlayEntry): void {
    // Keys without a value are indexes, read by ranges only: to keep them would crowd out values.
    const isWorthKeeping = entry.value !== undefined && entry.value.length > 0;
    if (isWorthKeeping || this.#cache.lookup(key).found) this.#cache.set(key, entry.value);
  }

  thaw(): void {
    this.#frozen = undefined;
  }

  /** Images of the overlays, newest first, that later mutations leave alone. */
  images(): readonly SortedMap<OverlayEntry>[] {
    const overlays = this.#frozen === undefined ? [this.#active] : [this.#active, this.#frozen];
    return overlays.filter((overlay) => overlay.size > 0).map((overlay) => overlay.image());
  }

  #below(key: Key): Lookup {
    const entry = this.#frozen?.get(key);
    return entry === undefined ? this.#cache.lookup(key) : { found: true, value: entry.value };
  }

  #isAbsentBelow(key: Key): boolean {
    const entry = this.#frozen?.get(key);
    if (entry !== undefined) return entry.value === undefined;
    if (this.#fetched.has(key)) return this.#fetched.get(key) === undefined;
    const cached: Lookup = this.#cache.lookup(key);
    return cached.found && cached.value === undefined;
  }
}
