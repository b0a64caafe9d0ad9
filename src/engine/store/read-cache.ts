// A bounded memory of what LevelDB holds: recently read or flushed values, and known absences.
//
// Two halves: a hit in the old half moves to the young one; when the young half is full it becomes
// the old one, and what was not used since is forgotten. Never wrong, because a newer value always
// goes to the young half, which is asked first.

import type { Key } from '../machine/index.ts';

/** Slot of the map, and the headers of a string and of a view of bytes, about. */
const ENTRY_OVERHEAD_BYTES = 224;

export class ReadCache {
  readonly #halfBytesMax: number;
  #young = new Map<Key, Uint8Array | undefined>();
  #old = new Map<Key, Uint8Array | undefined>();
  #youngBytes = 0;
  #oldBytes = 0;

  constructor(bytesMax: number) {
    this.#halfBytesMax = bytesMax / 2;
  }

  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  /** `found: false`: nothing is known of the key. */
  lookup(
    key: Key,
  ): { readonly found: true; readonly value: Uint8Array | undefined } | { readonly found: false } {
    const young = this.#young.get(key);
    if (young !== undefined || this.#young.has(key)) return { found: true, value: young };
    const old = this.#old.get(key);
    if (old === undefined && !this.#old.has(key)) return NOT_FOUND;
    this.set(key, old);
    return { found: true, value: old };
  }

  set(key: Key, value: Uint8Array | undefined): void {
    const before = this.#young.get(key);
    const isNew = before === undefined && !this.#young.has(key);
    this.#young.set(key, value);
    this.#youngBytes +=
      (value?.length ?? 0) -
      (before?.length ?? 0) +
      (isNew ? key.length + ENTRY_OVERHEAD_BYTES : 0);
    if (this.#youngBytes <= this.#halfBytesMax) return;
    this.#old = this.#young;
    this.#oldBytes = this.#youngBytes;
    this.#young = new Map();
    this.#youngBytes = 0;
  }
}

const NOT_FOUND = { found: false } as const;
