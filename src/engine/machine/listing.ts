// Paging through transactions, newest first, by any status and type.
//
// One index serves every filter: a page merges the ranges of the statuses and types that were asked
// for, at most 25. The cursor is the last transaction's place in the order (creation time, gid), which
// never changes, so a scan is stable while transactions come, change and go: one that exists from the
// first page to the last is seen exactly once, unless its status enters or leaves the filter.

import {
  gidBytes,
  gidOfListingOrder,
  type KeyRange,
  listingOrder,
  listingPrefix,
  newestFirst,
} from './keyspace.ts';
import { fromOpaque, toOpaque } from './opaque.ts';
import type { Key, TransactionStatus, TransactionType } from './types.ts';
import { TRANSACTION_STATUSES, TRANSACTION_TYPES } from './words.ts';

export interface ListQuery {
  readonly status: TransactionStatus | undefined;
  readonly type: TransactionType | undefined;
  /** Both inclusive. */
  readonly createdFromMs: number | undefined;
  readonly createdToMs: number | undefined;
  /** Empty: from the newest on. */
  readonly position: string;
}

/**
 * The ranges to read, each with limit + 1 from one view; undefined when the position is not one that
 * `mergeListing` has given out.
 */
export function listRanges(query: ListQuery): readonly KeyRange[] | undefined {
  const after = query.position === '' ? '' : decodePosition(query.position);
  if (after === undefined) return undefined;
  let start = query.createdToMs === undefined ? '' : newestFirst(query.createdToMs);
  if (after > start) start = after;
  // Keys of the oldest wanted millisecond sort below the millisecond before it.
  const end = query.createdFromMs === undefined ? undefined : endOf(query.createdFromMs);
  const ranges: KeyRange[] = [];
  for (const status of query.status === undefined ? TRANSACTION_STATUSES : [query.status]) {
    for (const type of query.type === undefined ? TRANSACTION_TYPES : [query.type]) {
      const prefix = listingPrefix(status, type);
      const lt = end === undefined ? `${prefix}\xff\xff\xff\xff\xff\xff\xff` : prefix + end;
      if (prefix + start < lt) ranges.push({ gte: prefix + start, lt });
    }
  }
  return ranges;
}

/** The page that the ranges' keys make. `nextPosition` is empty when nothing follows. */
export function mergeListing(
  keysOfRanges: readonly (readonly Key[])[],
  limit: number,
): { readonly gids: readonly string[]; readonly nextPosition: string } {
  const orders = keysOfRanges.flatMap((keys) => keys.map(listingOrder));
  orders.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const page = orders.slice(0, limit);
  const last = page.at(-1);
  return {
    gids: page.map(gidOfListingOrder),
    nextPosition: last === undefined || orders.length <= limit ? '' : toOpaque(last),
  };
}

function endOf(createdFromMs: number): string {
  return createdFromMs <= 0 ? '\xff\xff\xff\xff\xff\xff\xff' : newestFirst(createdFromMs - 1);
}

const TIME_BYTES = 6;

/** Just after the place that the position names. */
function decodePosition(position: string): string | undefined {
  const order = fromOpaque(position);
  // A place that is no creation time and gid was never given out.
  if (order === undefined || order.length <= TIME_BYTES) return undefined;
  try {
    if (gidBytes(gidOfListingOrder(order)) !== order.slice(TIME_BYTES)) return undefined;
  } catch {
    return undefined;
  }
  return `${order}\x00`;
}
