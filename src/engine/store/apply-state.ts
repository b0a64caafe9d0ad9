// The state as apply sees it: synchronous, with everything it named already in memory.
//
// Owns: the borders of applied entries, the digest and its recent history, the configuration as of
// the applied index, and the applier's waits (prefetch, back-pressure).
// Does not own: when the layers are flushed (flusher.ts).
//
// Invariants
//   AS1. Between the first mutation of an entry and its commit nothing is awaited, so a flush or a
//        reader never sees half an entry.
//   AS2. The applied index only grows.

import type { Configuration } from '../../raft/index.ts';
import type { Key, MutableState } from '../machine/index.ts';
import { invariant } from './errors.ts';
import type { KvLease } from './kv-lease.ts';
import { type Applied, KEY_BYTES_MAX, KEYS_FROM, KEYS_TO, toBytes } from './layout.ts';
import type { SealedReader } from './sealed-reader.ts';
import { StateDigest } from './state-digest.ts';
import type { StateLayers } from './state-layers.ts';

/** Digests are remembered at multiples of this index. */
export const DIGEST_INTERVAL = 1_000;
const DIGESTS_KEPT = 64;

/** What the applier works on. The entries of a batch: prefetch once, then per entry mutate, commit. */
export interface ApplyTarget extends MutableState {
  /**
   * Brings every key into memory, until the next prefetch. Undefined: they are there already.
   * @throws {STATE_DAMAGED, STATE_UNREADABLE}
   */
  prefetch(keys: readonly Key[]): Promise<void> | undefined;
  /**
   * Ends an entry. Call it for every entry, also for one that changes nothing, so that the digest
   * is known at each index.
   */
  commitBatch(applied: {
    readonly index: number;
    readonly term: number;
    readonly timeMs: number;
    /** Present when the entry is a configuration: it goes into snapshots. */
    readonly configuration?: Configuration;
  }): void;
  /** To be awaited before more is applied: the overlay is full. Undefined: there is room. */
  backpressure(): Promise<void> | undefined;
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly appliedTimeMs: number;
  /** In effect at the applied index. */
  readonly configuration: Configuration;
  /** Digest at the applied index. */
  digest(): bigint;
  /** Digest at a recent multiple of 1,000; undefined when it is not known (any more). */
  digestAt(index: number): bigint | undefined;
}

export interface ApplyStart {
  readonly applied: Applied;
  readonly configuration: Configuration;
}

export class ApplyState implements ApplyTarget {
  readonly #layers: StateLayers;
  readonly #lease: KvLease;
  readonly #reader: SealedReader;
  readonly #overlayBytesMax: number;
  readonly #digest: StateDigest;
  readonly #digests = new Map<number, bigint>();
  #applied: Omit<Applied, 'digest'>;
  #configuration: Configuration;
  #entryOpen = false;
  #prefetching = false;
  #room: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #diskReadCount = 0;
  /** Set by the flusher: something was applied. */
  onCommit: () => void = () => undefined;

  constructor(
    parts: { readonly layers: StateLayers; readonly lease: KvLease; readonly reader: SealedReader },
    start: ApplyStart,
    overlayBytesMax: number,
  ) {
    this.#layers = parts.layers;
    this.#lease = parts.lease;
    this.#reader = parts.reader;
    this.#overlayBytesMax = overlayBytesMax;
    this.#applied = start.applied;
    this.#configuration = start.configuration;
    this.#digest = new StateDigest(start.applied.digest);
    this.#rememberDigest();
  }

  get appliedIndex(): number {
    return this.#applied.index;
  }
  get appliedTerm(): number {
    return this.#applied.term;
  }
  get appliedTimeMs(): number {
    return this.#applied.timeMs;
  }
  get configuration(): Configuration {
    return this.#configuration;
  }
  get diskReadCount(): number {
    return this.#diskReadCount;
  }
  /** True inside an entry: the layers must not move. */
  get entryOpen(): boolean {
    return this.#entryOpen;
  }

  prefetch(keys: readonly Key[]): Promise<void> | undefined {
    invariant(!this.#prefetching && !this.#entryOpen, 'one applier, between entries', {
      appliedIndex: this.#applied.index,
    });
    const missing = this.#layers.name(keys);
    return missing.length === 0 ? undefined : this.#fetch(missing);
  }

  get(key: Key): Uint8Array | undefined {
    const lookup = this.#layers.lookup(key);
    invariant(lookup.found, 'a key that apply reads was not named', {
      key: Buffer.from(key, 'latin1').toString('hex'),
      appliedIndex: this.#applied.index,
    });
    return lookup.value;
  }

  /** The store keeps `value`: it must not be changed afterwards. */
  put(key: Key, value: Uint8Array, isNew = false): void {
    this.#mutate(key);
    this.#layers.put(key, value, isNew);
    this.#digest.put(key, value);
  }

  delete(key: Key): void {
    this.#mutate(key);
    this.#layers.delete(key);
    this.#digest.delete(key);
  }

  commitBatch(applied: Parameters<ApplyTarget['commitBatch']>[0]): void {
    invariant(applied.index > this.#applied.index && !this.#prefetching, 'AS2: index grows', {
      from: this.#applied.index,
      to: applied.index,
    });
    this.#applied = { index: applied.index, term: applied.term, timeMs: applied.timeMs };
    if (applied.configuration !== undefined) this.#configuration = applied.configuration;
    this.#entryOpen = false;
    this.#rememberDigest();
    this.onCommit();
  }

  backpressure(): Promise<void> | undefined {
    if (this.#layers.activeBytes < this.#overlayBytesMax) return undefined;
    if (this.#room === undefined) {
      let resolve: () => void = () => undefined;
      const promise = new Promise<void>((done) => (resolve = done));
      this.#room = { promise, resolve };
    }
    return this.#room.promise;
  }

  /** The active overlay is empty again (or the store closes: nobody may hang). */
  admit(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  digest(): bigint {
    return this.#digest.value();
  }

  digestAt(index: number): bigint | undefined {
    // Never the running value: it may hold mutations of the entry that asks.
    return this.#digests.get(index);
  }

  /** What the layers contain now, for a flush. */
  applied(): Applied {
    return { ...this.#applied, digest: this.#digest.value() };
  }

  #mutate(key: Key): void {
    invariant(!this.#prefetching, 'AS1: a mutation during a prefetch', { key });
    invariant(
      key >= KEYS_FROM && key < KEYS_TO && key.length <= KEY_BYTES_MAX,
      'a key is outside of the keyspace of the machine',
      { key },
    );
    this.#entryOpen = true;
  }

  #rememberDigest(): void {
    const { index } = this.#applied;
    if (index === 0 || index % DIGEST_INTERVAL !== 0) return;
    this.#digests.set(index, this.#digest.value());
    this.#digests.delete(index - DIGESTS_KEPT * DIGEST_INTERVAL);
  }

  async #fetch(missing: readonly Key[]): Promise<void> {
    this.#prefetching = true;
    this.#diskReadCount += missing.length;
    const names = missing.map(toBytes);
    try {
      const values = await this.#lease.use((kv) => kv.getMany(names));
      for (const [position, key] of missing.entries()) {
        const name = names[position];
        const sealed = values[position];
        if (name === undefined) continue;
        this.#layers.fetched(
          key,
          sealed === undefined ? undefined : this.#reader.open([name, sealed]),
        );
      }
    } catch (error) {
      throw this.#reader.failure(error, missing[0] ?? '');
    } finally {
      this.#prefetching = false;
    }
  }
}
