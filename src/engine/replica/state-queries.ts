// Clients' questions to this node's applied state: one transaction, the listing, what is due later,
// topics.
//
// Owns: the mapping from questions to ranges of keys. What makes an answer current is the ReadIndex
// before it (operations/coordinator.ts).

import type { StateReader, TopicPage, Transaction } from '../machine/index.ts';
import {
  dueOfKey,
  dueRange,
  listRanges,
  mergeListing,
  topicKey,
  topicPage,
  topicPageRange,
  topicProblem,
} from '../machine/index.ts';
import type { ListFilter, ListPage, TopicFilter, TransactionReads } from '../operations/index.ts';
import type { TransactionSource } from '../scheduler/index.ts';

/** Later than any cluster time that a due key can hold. */
const END_OF_TIME_MS = 2 ** 48 - 1;

export class StateQueries implements TransactionReads {
  readonly #reader: () => StateReader;
  readonly #source: TransactionSource;

  /** The reader changes when a snapshot is installed, so it is asked for at each question. */
  constructor(reader: () => StateReader, source: TransactionSource) {
    this.#reader = reader;
    this.#source = source;
  }

  load(gid: string): Promise<Transaction | undefined> {
    return this.#source.load(gid);
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

  /** One more than `limit` when more remain. */
  async dueAfter(dueMs: number, limit: number): Promise<readonly string[]> {
    const range = dueRange(dueMs + 1, END_OF_TIME_MS);
    const pairs = await this.#reader().range({ ...range, limit: limit + 1 });
    return pairs.map(([key]) => dueOfKey(key).gid);
  }

  async topics({ name, position, limit }: TopicFilter): Promise<TopicPage | undefined> {
    if (name !== '') return this.#topic(name);
    const range = topicPageRange(position);
    if (range === undefined) return undefined;
    return topicPage(await this.#reader().range({ ...range, limit: limit + 1 }), limit);
  }

  async #topic(name: string): Promise<TopicPage> {
    const key = topicProblem(name) === undefined ? topicKey(name) : undefined;
    const bytes = key === undefined ? undefined : await this.#reader().get(key);
    return topicPage(key === undefined || bytes === undefined ? [] : [[key, bytes]], 1);
  }
}
