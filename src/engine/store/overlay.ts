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

/** What an entry costs beyond its bytes: tree slot, entry, string and array headers, about. */
const ENTRY_OVERHEAD_BYTES = 128;

export class Overlay {
  readonly #map: SortedMap<OverlayEntry> = createSortedMap<OverlayEntry>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#map.size;
  }

  get(key: Key): OverlayEntry | undefined {
    return this.#map.get(key);
  }

  /** `before` is what `get` says of the key. */
  set(key: Key, entry: OverlayEntry, before: OverlayEntry | undefined): void {
    this.#map.set(key, entry);
    this.#bytes +=
      before === undefined
        ? key.length + ENTRY_OVERHEAD_BYTES + sizeOf(entry)
        : sizeOf(entry) - sizeOf(before);
  }

  remove(key: Key, before: OverlayEntry): void {
    this.#map.delete(key);
    this.#bytes -= key.length + ENTRY_OVERHEAD_BYTES + sizeOf(before);
  }

  /** An image that later mutations leave alone; O(1). */
  image(): SortedMap<OverlayEntry> {
    return this.#map.clone();
  }

  /** The entries themselves; only for a frozen overlay. */
  entries(): IterableIterator<[Key, OverlayEntry]> {
    return this.#map.entries();
  }
}

function sizeOf(entry: OverlayEntry): number {
  return entry.value?.length ?? 0;
}
