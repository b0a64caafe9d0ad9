// Range reads over everything: the overlays, newest first, above an image of LevelDB.
//
// Owns: the merge, in both directions, and paging. Does not own: taking the images at one moment
// (live-state.ts), which is what makes the result one applied index.

import type { Key } from '../machine/index.ts';
import { toBytes, toKey } from './layout.ts';
import type { OverlayEntry } from './overlay.ts';
import type { KvPair, KvSnapshot } from './ports.ts';
import type { SortedMap } from './sorted-map.ts';

export interface KeyRange {
  readonly gte: Key;
  readonly lt: Key;
  readonly reverse?: boolean;
  readonly limit: number;
}

export interface PageBounds {
  readonly pageKeysMax: number;
  readonly pageBytesMax: number;
}

export interface RangeLayers {
  /** Images of the overlays, newest first. */
  readonly overlays: readonly SortedMap<OverlayEntry>[];
  readonly snapshot: KvSnapshot;
  /** The value of a pair of LevelDB; throws when it is damaged. */
  readonly open: (pair: KvPair) => Uint8Array;
}

export async function mergeRange(
  layers: RangeLayers,
  range: KeyRange,
  bounds: PageBounds,
): Promise<readonly (readonly [Key, Uint8Array])[]> {
  const results: (readonly [Key, Uint8Array])[] = [];
  if (range.limit <= 0 || range.gte >= range.lt) return results;
  const overlay = mergeOverlays(layers.overlays, range);
  const disk = new DiskCursor(layers.snapshot, range, bounds);
  let above = nextOf(overlay);
  let below = await disk.next();
  while (results.length < range.limit && (above !== undefined || below !== undefined)) {
    const order = compareHeads(above?.[0], below?.key, range.reverse === true);
    if (order <= 0 && above !== undefined) {
      const { value } = above[1];
      if (value !== undefined) results.push([above[0], value]);
      above = nextOf(overlay);
      if (order === 0) below = disk.nextInPage() ?? (await disk.next());
    } else if (below !== undefined) {
      results.push([below.key, layers.open(below.pair)]);
      if (results.length < range.limit) below = disk.nextInPage() ?? (await disk.next());
    }
  }
  return results;
}

/** Negative: `a` comes first in the direction of the range; an exhausted side comes last. */
function compareHeads(a: Key | undefined, b: Key | undefined, reverse: boolean): number {
  if (a === undefined) return 1;
  if (b === undefined) return -1;
  if (a === b) return 0;
  return a < b === !reverse ? -1 : 1;
}

type OverlayPair = readonly [Key, OverlayEntry];

function nextOf(iterator: Iterator<OverlayPair>): OverlayPair | undefined {
  const step = iterator.next();
  return step.done === true ? undefined : step.value;
}

/** Entries of all overlays in order; the newest entry of a key hides the others. */
function* mergeOverlays(
  overlays: readonly SortedMap<OverlayEntry>[],
  range: KeyRange,
): Generator<OverlayPair, undefined> {
  const reverse = range.reverse === true;
  const iterators = overlays.map((map) => within(map, range));
  const heads = iterators.map(nextOf);
  for (;;) {
    let first: OverlayPair | undefined;
    for (const head of heads) {
      // Equal keys keep the earlier overlay, which is the newer one.
      if (head !== undefined && compareHeads(head[0], first?.[0], reverse) < 0) first = head;
    }
    if (first === undefined) return undefined;
    for (const [position, head] of heads.entries()) {
      const iterator = iterators[position];
      if (head?.[0] === first[0] && iterator !== undefined) heads[position] = nextOf(iterator);
    }
    yield first;
  }
}

function* within(map: SortedMap<OverlayEntry>, range: KeyRange): Generator<OverlayPair, undefined> {
  const reverse = range.reverse === true;
  const entries = reverse ? map.entriesReversed(range.lt, undefined, true) : map.entries(range.gte);
  for (const pair of entries) {
    if (reverse ? pair[0] < range.gte : pair[0] >= range.lt) break;
    yield pair;
  }
  return undefined;
}

interface DiskHead {
  readonly key: Key;
  readonly pair: KvPair;
}

/** Walks LevelDB's part of the range page by page. */
class DiskCursor {
  readonly #snapshot: KvSnapshot;
  readonly #bounds: PageBounds;
  readonly #range: KeyRange;
  #page: readonly KvPair[] = [];
  #position = 0;
  #gte: Uint8Array;
  #lt: Uint8Array;
  #ended = false;
  #returned = 0;

  constructor(snapshot: KvSnapshot, range: KeyRange, bounds: PageBounds) {
    this.#snapshot = snapshot;
    this.#range = range;
    this.#bounds = bounds;
    this.#gte = toBytes(range.gte);
    this.#lt = toBytes(range.lt);
  }

  nextInPage(): DiskHead | undefined {
    const pair = this.#page[this.#position];
    if (pair === undefined) return undefined;
    this.#position += 1;
    this.#returned += 1;
    return { key: toKey(pair[0]), pair };
  }

  async next(): Promise<DiskHead | undefined> {
    const head = this.nextInPage();
    if (head !== undefined || this.#ended) return head;
    // The first page need not be larger than what was asked for.
    const limit =
      this.#returned === 0
        ? Math.min(this.#bounds.pageKeysMax, this.#range.limit)
        : this.#bounds.pageKeysMax;
    const page = await this.#snapshot.range({
      gte: this.#gte,
      lt: this.#lt,
      reverse: this.#range.reverse === true,
      limit,
      bytesMax: this.#bounds.pageBytesMax,
    });
    const bytes = page.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    this.#ended = page.length < limit && bytes < this.#bounds.pageBytesMax;
    const last = page.at(-1);
    if (last === undefined) this.#ended = true;
    else if (this.#range.reverse === true) this.#lt = last[0];
    else this.#gte = Buffer.concat([last[0], Uint8Array.of(0)]);
    this.#page = page;
    this.#position = 0;
    return this.nextInPage();
  }
}
