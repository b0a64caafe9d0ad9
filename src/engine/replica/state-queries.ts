// Questions to this node's applied state: one transaction, the listing, what is due, what expired.
//
// Owns: the mapping from questions to ranges of keys. Answers the scheduler and the clients' reads;
// what makes a client's read current is the ReadIndex before it (operations/coordinator.ts).

import type { KeyRange, StateReader, Transaction } from '../machine/index.ts';
import {
  activeRange,
  decodeTransaction,
  definitionKey,
  dueOfKey,
  dueRange,
  expiryRange,
  gidOfExpiryKey,
  listRanges,
  mergeListing,
  stateKey,
} from '../machine/index.ts';
import type { ListFilter, ListPage, TransactionReads } from '../operations/index.ts';
import type { DueEntry, Page, TransactionSource } from '../scheduler/index.ts';

/** Later than any cluster time that a due key can hold. */
const END_OF_TIME_MS = 2 ** 48 - 1;

export class StateQueries implements TransactionReads, TransactionSource {
  readonly #reader: () => StateReader;

  /** The reader changes when a snapshot is installed, so it is asked for at each question. */
  constructor(reader: () => StateReader) {
    this.#reader = reader;
  }

  async load(gid: string): Promise<Transaction | undefined> {
    const reader = this.#reader();
    const [definition, state] = await Promise.all([
      reader.get(definitionKey(gid)),
      reader.get(stateKey(gid)),
    ]);
    // Purged between the two reads: gone.
    if (definition === undefined || state === undefined) return undefined;
    return decodeTransaction(definition, state);
  }

  async list(filter: ListFilter): Promise<ListPage | undefined> {
    const ranges = listRanges(filter);
    if (ranges === undefined) return undefined;
    const reader = this.#reader();
    const pages = await Promise.all(
      ranges.map((range) => reader.range({ ...range, limit: filter.limit + 1 })),
    );
    const keys = pages.map((pairs) => pairs.map(([key]) => key));
    const { gids, nextPosition } = mergeListing(keys, filter.limit);
    const loaded = await Promise.all(gids.map((gid) => this.load(gid)));
    return { transactions: loaded.filter((found) => found !== undefined), nextPosition };
  }

  async dueAfter(dueMs: number, limit: number): Promise<readonly string[]> {
    const range = dueRange(dueMs + 1, END_OF_TIME_MS);
    const pairs = await this.#reader().range({ ...range, limit });
    return pairs.map(([key]) => dueOfKey(key).gid);
  }

  due(
    range: { readonly fromMs: number; readonly toMs: number },
    after: string | undefined,
    limit: number,
  ): Promise<Page<DueEntry>> {
    return this.#page(dueRange(range.fromMs, range.toMs), after, limit, dueOfKey);
  }

  active(after: string | undefined, limit: number): Promise<Page<string>> {
    return this.#page(activeRange(), after, limit, (key) => dueOfKey(key).gid);
  }

  async expired(untilMs: number, limit: number): Promise<readonly string[]> {
    const pairs = await this.#reader().range({ ...expiryRange(untilMs), limit });
    return pairs.map(([key]) => gidOfExpiryKey(key));
  }

  async #page<T>(
    range: KeyRange,
    after: string | undefined,
    limit: number,
    item: (key: string) => T,
  ): Promise<Page<T>> {
    const gte = after === undefined ? range.gte : `${after}\x00`;
    const pairs = await this.#reader().range({ gte, lt: range.lt, limit });
    const last = pairs.length < limit ? undefined : pairs.at(-1)?.[0];
    return { items: pairs.map(([key]) => item(key)), next: last };
  }
}
