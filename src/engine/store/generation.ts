// One open generation: a LevelDB directory with its overlay, flusher, scrub and readers.
//
// Owns: how these parts are put together, and their end. Does not own: which generation is the
// current one, directories (store.ts).

import type { Clock, Configuration, SnapshotSource } from '../../raft/index.ts';
import type { Key, StateReader } from '../machine/index.ts';
import { ApplyState, type ApplyTarget } from './apply-state.ts';
import type { StoreBug, StoreConfig } from './config.ts';
import { StoreError } from './errors.ts';
import { Flusher, type FlusherPorts, type FlushMetrics } from './flusher.ts';
import { KvLease } from './kv-lease.ts';
import { type StateMeta, toKey } from './layout.ts';
import { Ledger } from './ledger.ts';
import type { OrderedKv } from './ports.ts';
import { Scrub, type ScrubMetrics } from './scrub.ts';
import { SealedReader } from './sealed-reader.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { StateDigest } from './state-digest.ts';
import { StateLayers } from './state-layers.ts';
import { LayeredReader } from './state-reader.ts';

export interface GenerationPorts extends FlusherPorts {
  readonly clock: Clock;
  readonly onDamage: (key: Key) => void;
}

export interface GenerationStart {
  readonly number: number;
  readonly kv: OrderedKv;
  /** Undefined: nothing was ever flushed. */
  readonly meta: StateMeta | undefined;
  readonly configuration: Configuration;
  readonly scrubPosition: Uint8Array | undefined;
}

export interface GenerationMetrics {
  readonly generation: number;
  readonly appliedIndex: number;
  readonly flushedIndex: number;
  readonly ledger: number;
  /** Bytes and keys applied but not yet being flushed; bytes of the flush under way. */
  readonly overlayBytes: number;
  readonly overlayKeyCount: number;
  readonly flushingBytes: number;
  readonly readCacheBytes: number;
  /** Keys that apply had to fetch from LevelDB. */
  readonly diskReadCount: number;
  readonly damagedCount: number;
  readonly flush: FlushMetrics;
  readonly scrub: ScrubMetrics;
}

export class Generation {
  readonly number: number;
  readonly reader: StateReader;
  readonly #config: StoreConfig;
  readonly #spaceLow: () => boolean;
  readonly #lease: KvLease;
  readonly #sealed: SealedReader;
  readonly #layers: StateLayers;
  readonly #apply: ApplyState;
  readonly #ledger: Ledger;
  readonly #flusher: Flusher;
  readonly #scrub: Scrub;

  constructor(
    start: GenerationStart,
    ports: GenerationPorts,
    config: StoreConfig,
    bugs: ReadonlySet<StoreBug>,
  ) {
    this.number = start.number;
    this.#config = config;
    this.#spaceLow = () => ports.spaceLow();
    this.#lease = new KvLease(start.kv);
    this.#sealed = new SealedReader(ports.onDamage, { checked: !bugs.has('skipValueChecksum') });
    this.#layers = new StateLayers(config.readCacheBytesMax);
    const parts = { layers: this.#layers, lease: this.#lease, reader: this.#sealed };
    this.reader = new LayeredReader(parts, config);
    const meta = start.meta ?? EMPTY_META;
    const { configuration } = start;
    this.#apply = new ApplyState(parts, { applied: meta, configuration }, config.overlayBytesMax);
    this.#ledger = new Ledger(meta, config);
    const position = start.scrubPosition && toKey(start.scrubPosition);
    this.#scrub = new Scrub(ports.clock, parts, position, config);
    this.#flusher = new Flusher(
      ports,
      {
        layers: this.#layers,
        apply: this.#apply,
        lease: this.#lease,
        ledger: this.#ledger,
        takeScrubPosition: () => this.#scrub.takePosition(),
      },
      { flushed: meta, configuration },
      config,
      bugs,
    );
    this.#scrub.start();
  }

  get apply(): ApplyTarget {
    return this.#apply;
  }

  get flushedIndex(): number {
    return this.#flusher.flushed.index;
  }

  get failed(): boolean {
    return this.#flusher.failed;
  }

  flush(): Promise<boolean> {
    return this.#flusher.flush();
  }

  /** @throws {SNAPSHOT_EMPTY, STORE_CLOSED} */
  async snapshot(): Promise<SnapshotSource> {
    // As new as it can be; where a flush has to wait, the last one will do: the log is compacted
    // only behind a flush mark, so it continues any snapshot of a flushed state.
    if (!this.#spaceLow()) await this.#flusher.flush();
    return this.#flusher.atFlushed(() => {
      const { index, term, timeMs, digest } = this.#flusher.flushed;
      if (index === 0) throw new StoreError('SNAPSHOT_EMPTY', 'nothing has been applied yet');
      const configuration = this.#flusher.flushedConfiguration;
      const snapshot = this.#lease.acquire().snapshot();
      return new SnapshotSender(
        { meta: { index, term, timeMs, configuration }, digest },
        { snapshot, reader: this.#sealed },
        this.#config,
        () => this.#lease.release(),
      );
    });
  }

  /** Ends background work, waits for readers and outgoing snapshots, closes LevelDB. */
  async close(): Promise<void> {
    this.#scrub.stop();
    await this.#flusher.stop();
    await this.#lease.retire();
  }

  metrics(): GenerationMetrics {
    return {
      generation: this.number,
      appliedIndex: this.#apply.appliedIndex,
      flushedIndex: this.flushedIndex,
      ledger: this.#ledger.last,
      overlayBytes: this.#layers.activeBytes,
      overlayKeyCount: this.#layers.activeKeys,
      flushingBytes: this.#layers.frozenBytes,
      readCacheBytes: this.#layers.cacheBytes,
      diskReadCount: this.#apply.diskReadCount,
      damagedCount: this.#sealed.damagedCount,
      flush: this.#flusher.metrics,
      scrub: this.#scrub.metrics,
    };
  }
}

const EMPTY_META: StateMeta = {
  index: 0,
  term: 0,
  timeMs: 0,
  digest: new StateDigest().value(),
  ledger: 0,
  ledgerFirst: 1,
  bytesTotal: 0,
};
