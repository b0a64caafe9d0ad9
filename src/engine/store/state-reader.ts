// Reads outside apply: each sees the state at one applied index.
//
// The images (overlays and a LevelDB snapshot) are taken in one turn, so a flush or an apply in
// between cannot show half of itself, however many pages the read takes.

import type { Key, StateReader } from '../machine/index.ts';
import type { StoreConfig } from './config.ts';
import type { KvLease } from './kv-lease.ts';
import { KEYS_FROM, KEYS_TO, toBytes } from './layout.ts';
import { type KeyRange, mergeRange } from './range-merge.ts';
import type { SealedReader } from './sealed-reader.ts';
import type { StateLayers } from './state-layers.ts';

export class LayeredReader implements StateReader {
  readonly #layers: StateLayers;
  readonly #lease: KvLease;
  readonly #sealed: SealedReader;
  readonly #config: StoreConfig;

  constructor(
    parts: {
      readonly layers: StateLayers;
      readonly lease: KvLease;
      readonly reader: SealedReader;
    },
    config: StoreConfig,
  ) {
    this.#layers = parts.layers;
    this.#lease = parts.lease;
    this.#sealed = parts.reader;
    this.#config = config;
  }

  /** @throws {STATE_DAMAGED, STATE_UNREADABLE, STORE_CLOSED} */
  async get(key: Key): Promise<Uint8Array | undefined> {
    const lookup = this.#layers.lookupForReader(key);
    if (lookup.found) return lookup.value;
    const name = toBytes(key);
    try {
      const sealed = await this.#lease.use((kv) => kv.get(name));
      return sealed === undefined ? undefined : this.#sealed.open([name, sealed]);
    } catch (error) {
      throw this.#sealed.failure(error, key);
    }
  }

  /** @throws {STATE_DAMAGED, STATE_UNREADABLE, STORE_CLOSED} */
  async range(range: KeyRange): Promise<readonly (readonly [Key, Uint8Array])[]> {
    const kv = this.#lease.acquire();
    const snapshot = kv.snapshot();
    try {
      return await mergeRange(
        {
          overlays: this.#layers.images(),
          snapshot,
          open: (pair) => this.#sealed.open(pair),
        },
        withoutBookkeeping(range),
        this.#config,
      );
    } catch (error) {
      throw this.#sealed.failure(error, range.gte);
    } finally {
      await snapshot.close();
      this.#lease.release();
    }
  }
}

/** The store's own keys are nobody else's. */
function withoutBookkeeping(range: KeyRange): KeyRange {
  const { gte, lt } = range;
  const from = gte < KEYS_FROM ? { gte: KEYS_FROM } : {};
  const to = lt > KEYS_TO ? { lt: KEYS_TO } : {};
  return { ...range, ...from, ...to };
}
