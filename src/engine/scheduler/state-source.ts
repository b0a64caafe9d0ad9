// The scheduler's reads, answered from the replicated state. Pages continue after the last key read.

import {
  activeRange,
  decodeTransaction,
  definitionKey,
  dueOfKey,
  dueRange,
  expiryRange,
  gidOfExpiryKey,
  type KeyRange,
  type StateReader,
  stateKey,
  type Transaction,
} from '../machine/index.ts';
import type { DueEntry, Page, TransactionSource } from './ports.ts';

export class StateTransactionSource implements TransactionSource {
  readonly #read: () => StateReader;

  /** `read` gives a view that is current when it is asked for. */
  constructor(read: () => StateReader) {
    this.#read = read;
  }

  async load(gid: string): Promise<Transaction | undefined> {
    const reader = this.#read();
    const [definition, state] = await Promise.all([
      reader.get(definitionKey(gid)),
      reader.get(stateKey(gid)),
    ]);
    return definition === undefined || state === undefined
      ? undefined
      : decodeTransaction(definition, state);
  }

  async due(
    range: { readonly fromMs: number; readonly toMs: number },
    after: string | undefined,
    limit: number,
  ): Promise<Page<DueEntry>> {
    return this.#page(dueRange(range.fromMs, range.toMs), after, limit, dueOfKey);
  }

  async active(after: string | undefined, limit: number): Promise<Page<string>> {
    return this.#page(activeRange(), after, limit, (key) => dueOfKey(key).gid);
  }

  async expired(untilMs: number, limit: number): Promise<readonly string[]> {
    const page = await this.#page(expiryRange(untilMs), undefined, limit, gidOfExpiryKey);
    return page.items;
  }

  async #page<T>(
    range: KeyRange,
    after: string | undefined,
    limit: number,
    itemOf: (key: string) => T,
  ): Promise<Page<T>> {
    // The smallest key after another one is that key and a zero byte.
    const gte = after === undefined || after < range.gte ? range.gte : `${after}\x00`;
    const pairs = gte < range.lt ? await this.#read().range({ gte, lt: range.lt, limit }) : [];
    return {
      items: pairs.map(([key]) => itemOf(key)),
      next: pairs.length < limit ? undefined : pairs.at(-1)?.[0],
    };
  }
}
