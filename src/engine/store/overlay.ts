// Mutations that are applied but not yet in LevelDB, ordered by key, with tombstones.
//
// One `Overlay` is a generation in memory: the active one takes what is applied; frozen, it is
// what a flush writes, and nothing changes it any more.
//
// Invariant
//   O1. An entry with `absentBelow` covers a key that no layer beneath this one holds: deleting it
//       leaves nothing behind, not even a tombstone.

import type { Key } from '../machine/index.ts';
import { createSortedMap, type SortedMap } from './sorted-map.ts';

export interface OverlayEntry {
  /** Undefined: a tombstone. */
  readonly value: Uint8Array | undefined;
  readonly absentBelow: boolean;
}

/** What an entry costs beyond its bytes: its two slots, entry, string and array headers, about. */
const ENTRY_OVERHEAD_BYTES = 192;

export class Overlay {
  /** For lookups: apply makes tens of them for one transaction, and a tree is three times slower. */
  readonly #byKey = new Map<Key, OverlayEntry>();
  readonly #sorted: SortedMap<OverlayEntry> = createSortedMap<OverlayEntry>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: Key): OverlayEntry | undefined {
    return this.#byKey.get(key);
  }

  /** `before` is what `get` says of the key. */
  set(key: Key, entry: OverlayEntry, before: OverlayEntry | undefined): void {
    this.#byKey.set(key, entry);
    this.#sorted.set(key, entry);
    this.#bytes +=
      before === undefined
        ? key.length + ENTRY_OVERHEAD_BYTES + sizeOf(entry)
        : sizeOf(entry) - sizeOf(before);
  }

  remove(key: Key, before: OverlayEntry): void {
    this.#byKey.delete(key);
    this.#sorted.delete(key);
    this.#bytes -= key.length + ENTRY_OVERHEAD_BYTES + sizeOf(before);
  }

  /** An image that later mutations leave alone; O(1). */
  image(): SortedMap<OverlayEntry> {
    return this.#sorted.clone();
  }

  /** The entries themselves; only for a frozen overlay. */
  entries(): IterableIterator<[Key, OverlayEntry]> {
    return this.#sorted.entries();
  }
}

function sizeOf(entry: OverlayEntry): number {
  return entry.value?.length ?? 0;
}
