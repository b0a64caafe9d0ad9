// An ordered map with latin1 keys: a B+ tree that clones in O(1) by copy-on-write.
//
// Owns: how the CommonJS package is loaded (its default export reaches ECMAScript modules in two
// different shapes, depending on the loader) and the order of keys: by code unit, which for latin1
// strings is the order of unsigned bytes, LevelDB's own.

import { createRequire } from 'node:module';
import type sortedBtree from 'sorted-btree';

const { default: BTree } = createRequire(import.meta.url)('sorted-btree') as typeof sortedBtree;

export type SortedMap<V> = sortedBtree.default<string, V>;

function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function createSortedMap<V>(): SortedMap<V> {
  return new BTree<string, V>(undefined, compareKeys);
}
