// Moves the overlay into LevelDB: in the background, in one synced batch, behind the durable log.
//
// Owns: when a flush begins, what its batch holds, and the order batch → flush mark.
// Does not own: the layers themselves, the audit at open.
//
// Invariants
//   FL1. The applied index travels in the same batch as the mutations up to it (bug G1).
//   FL2. No batch contains what this node's own log does not hold durably: a state ahead of its log
//        could contain an entry that a new leader replaces.
//   FL3. A flush mark is recorded only after its batch is synced, and before the next batch.
//   FL4. After the first failed write nothing is written any more: LevelDB may have torn its log,
//        and acknowledges what it then loses (the LevelDB findings L2, L3; ATC'20 on fsync).
//
// Sources: docs/architecture.md §Storage.

import type { Clock, Configuration, Fatal } from '../../raft/index.ts';
import type { ApplyState } from './apply-state.ts';
import type { StoreBug, StoreConfig } from './config.ts';
import { encodeConfiguration } from './configuration-codec.ts';
import { asError, invariant, kvErrorCode } from './errors.ts';
import type { KvLease } from './kv-lease.ts';
import {
  type Applied,
  CONFIGURATION_KEY,
  encodeMeta,
  META_KEY,
  measureBatch,
  SCRUB_KEY,
  sealedPut,
  toBytes,
} from './layout.ts';
import type { Ledger } from './ledger.ts';
import type { Overlay } from './overlay.ts';
import type { FlushMark, KvOperation } from './ports.ts';
import type { StateLayers } from './state-layers.ts';

export interface FlusherPorts {
  readonly clock: Clock;
  readonly fatal: Fatal;
  durableIndex(): number;
  spaceLow(): boolean;
  recordFlushMark(mark: FlushMark): Promise<void>;
}

export interface FlusherParts {
  readonly layers: StateLayers;
  readonly apply: ApplyState;
  readonly lease: KvLease;
  readonly ledger: Ledger;
  /** Where the scrub stands, to be written when it has moved; undefined: it has not. */
  readonly takeScrubPosition: () => Uint8Array | undefined;
}

export interface FlushMetrics {
  readonly flushCount: number;
  readonly flushedKeyCount: number;
  readonly flushedBytes: number;
  readonly lastFlushMs: number;
  readonly totalFlushMs: number;
}

/** Keys prepared, and cached, per turn of the event loop: about a millisecond. */
const SLICE_KEYS = 512;

/** EX_TEMPFAIL: the supervisor starts the node again, with back-off. */
const EXIT_OUT_OF_SPACE = 75;
/** EX_IOERR. */
const EXIT_DISK_FAILED = 74;

export class Flusher {
  readonly #ports: FlusherPorts;
  readonly #parts: FlusherParts;
  readonly #config: StoreConfig;
  readonly #bugs: ReadonlySet<StoreBug>;
  #flushed: Applied;
  #flushedConfiguration: Configuration;
  #status: 'open' | 'stopping' | 'failed' = 'open';
  #running: Promise<void> | undefined;
  #batchInFlight = false;
  /** Asked for now, not at the next interval. */
  #urgent = false;
  #cancelTimer: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #waiters: { readonly index: number; readonly done: (flushed: boolean) => void }[] = [];
  #betweenBatches: { readonly run: () => void; readonly reject: (error: Error) => void }[] = [];
  #metrics = {
    flushCount: 0,
    flushedKeyCount: 0,
    flushedBytes: 0,
    lastFlushMs: 0,
    totalFlushMs: 0,
  };

  constructor(
    ports: FlusherPorts,
    parts: FlusherParts,
    start: { readonly flushed: Applied; readonly configuration: Configuration },
    config: StoreConfig,
    bugs: ReadonlySet<StoreBug>,
  ) {
    this.#ports = ports;
    this.#parts = parts;
    this.#flushed = start.flushed;
    this.#flushedConfiguration = start.configuration;
    this.#config = config;
    this.#bugs = bugs;
    parts.apply.onCommit = () => this.#applied();
  }

  /** What LevelDB contains. */
  get flushed(): Applied {
    return this.#flushed;
  }
  /** The configuration as of `flushed`. */
  get flushedConfiguration(): Configuration {
    return this.#flushedConfiguration;
  }
  get metrics(): FlushMetrics {
    return this.#metrics;
  }
  get failed(): boolean {
    return this.#status === 'failed';
  }

  /**
   * Flushes what is applied at the call. Resolves to true when it is synced and its mark recorded;
   * to false when it is postponed, because space is low or the store closes.
   */
  flush(): Promise<boolean> {
    const { appliedIndex } = this.#parts.apply;
    if (this.#flushed.index >= appliedIndex && this.#running === undefined) {
      return Promise.resolve(true);
    }
    if (this.#status !== 'open') return Promise.resolve(false);
    return new Promise((done) => {
      this.#waiters.push({ index: appliedIndex, done });
      this.#urgent = true;
      this.#start();
    });
  }

  /** Runs `take` while LevelDB holds exactly `flushed`, before the next batch begins. */
  atFlushed<T>(take: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(take());
        } catch (error) {
          reject(asError(error));
        }
      };
      if (this.#batchInFlight) this.#betweenBatches.push({ run, reject });
      else run();
    });
  }

  /** Waits for the batch under way, begins no other. */
  async stop(): Promise<void> {
    if (this.#status === 'open') this.#status = 'stopping';
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#wake?.();
    await this.#running;
    this.#settleWaiters({ postponed: true });
    this.#parts.apply.admit();
  }

  #applied(): void {
    if (this.#parts.layers.activeBytes >= this.#config.flushBytes) {
      this.#start();
    } else if (this.#running === undefined && this.#cancelTimer === undefined) {
      this.#cancelTimer = this.#ports.clock.after(this.#config.flushIntervalMs, () => {
        this.#cancelTimer = undefined;
        this.#urgent = true;
        this.#start();
      });
    }
  }

  #start(): void {
    if (this.#running !== undefined || this.#status !== 'open') return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#running = this.#run().then(() => {
      this.#running = undefined;
      this.#settleWaiters();
      if (this.#status !== 'open' || !this.#isDirty()) return;
      // What was applied meanwhile waits for its own interval, unless somebody asked for it.
      if (this.#waiters.length > 0) this.#start();
      else this.#applied();
    });
  }

  async #run(): Promise<void> {
    try {
      do {
        this.#urgent = false;
        // Apply may be in the middle of its turn; an entry is complete in the next one (AS1).
        await this.#turn();
        while (this.#isOpen() && this.#ports.spaceLow()) {
          this.#settleWaiters({ postponed: true });
          await this.#sleep(this.#config.flushIntervalMs);
        }
        if (this.#isOpen()) await this.#flushOnce();
      } while (this.#isOpen() && this.#isWanted());
    } catch (error) {
      this.#fail(asError(error));
    }
  }

  async #flushOnce(): Promise<void> {
    const { layers, apply } = this.#parts;
    invariant(!apply.entryOpen, 'AS1: a flush between entries', { index: apply.appliedIndex });
    const applied = apply.applied();
    const { configuration } = apply;
    const startedMs = this.#ports.clock.monotonicMs();
    const frozen = layers.freeze();
    apply.admit();
    const batch = await this.#prepare(frozen, configuration);
    // FL2. Apply runs ahead of this node's own log when a quorum of others holds the entries.
    while (
      this.#isOpen() &&
      !this.#bugs.has('flushPastDurableLog') &&
      this.#ports.durableIndex() < applied.index
    ) {
      await this.#sleep(this.#config.flushPollMs);
    }
    if (!this.#isOpen()) return;
    await this.#write(applied, configuration, batch);
    const elapsedMs = this.#ports.clock.monotonicMs() - startedMs;
    this.#metrics = {
      flushCount: this.#metrics.flushCount + 1,
      flushedKeyCount: this.#metrics.flushedKeyCount + frozen.size,
      flushedBytes: this.#metrics.flushedBytes + batch.bytes,
      lastFlushMs: elapsedMs,
      totalFlushMs: this.#metrics.totalFlushMs + elapsedMs,
    };
    await this.#moveToCache(frozen);
    layers.thaw();
    if (!this.#isOpen()) return;
    const mark: FlushMark = {
      appliedIndex: applied.index,
      ledger: this.#parts.ledger.last,
      digest: applied.digest,
    };
    await this.#ports.recordFlushMark(mark);
    this.#settleWaiters();
  }

  async #write(applied: Applied, configuration: Configuration, batch: Batch): Promise<void> {
    const { operations, meta } = this.#parts.ledger.next(applied, batch);
    const bookkeeping = [...operations, sealedPut(META_KEY, encodeMeta(meta))];
    this.#batchInFlight = true;
    await this.#parts.lease.use(async (kv) => {
      if (this.#bugs.has('appliedIndexNotInBatch')) {
        await kv.batch(batch.operations, { sync: true });
        await kv.batch(bookkeeping, { sync: true });
        return;
      }
      await kv.batch([...batch.operations, ...bookkeeping], { sync: true });
    });
    this.#batchInFlight = false;
    this.#flushed = applied;
    this.#flushedConfiguration = configuration;
    const waiting = this.#betweenBatches;
    this.#betweenBatches = [];
    for (const { run } of waiting) run();
  }

  async #prepare(frozen: Overlay, configuration: Configuration): Promise<Batch> {
    const operations: KvOperation[] = [];
    for (const [key, { value }] of frozen.entries()) {
      operations.push(
        value === undefined ? { type: 'del', key: toBytes(key) } : sealedPut(toBytes(key), value),
      );
      if (operations.length % SLICE_KEYS === 0) await this.#turn();
    }
    if (configuration !== this.#flushedConfiguration || this.#parts.ledger.last === 0) {
      operations.push(sealedPut(CONFIGURATION_KEY, encodeConfiguration(configuration)));
    }
    const scrubPosition = this.#parts.takeScrubPosition();
    if (scrubPosition !== undefined) operations.push(sealedPut(SCRUB_KEY, scrubPosition));
    return { operations, ...measureBatch(operations) };
  }

  async #moveToCache(frozen: Overlay): Promise<void> {
    let count = 0;
    for (const [key, entry] of frozen.entries()) {
      this.#parts.layers.written(key, entry);
      count += 1;
      if (count % SLICE_KEYS === 0) await this.#turn();
    }
  }

  #isOpen(): boolean {
    return this.#status === 'open';
  }

  #isDirty(): boolean {
    return this.#parts.apply.appliedIndex > this.#flushed.index;
  }

  #isWanted(): boolean {
    const isMuch = this.#parts.layers.activeBytes >= this.#config.flushBytes;
    return this.#isDirty() && (this.#urgent || isMuch);
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.defer(resolve));
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#ports.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Answers those whose index is flushed; with `postponed`, everyone. */
  #settleWaiters(options: { readonly postponed?: boolean } = {}): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter(({ index, done }) => {
      const isFlushed = index <= this.#flushed.index;
      if (isFlushed || options.postponed === true) done(isFlushed);
      return !isFlushed && options.postponed !== true;
    });
  }

  #fail(error: Error): void {
    // A log that closes while the store stops may refuse the mark; nothing depends on it then.
    if (this.#status === 'stopping') return;
    this.#status = 'failed';
    this.#settleWaiters({ postponed: true });
    for (const { reject } of this.#betweenBatches) reject(error);
    this.#betweenBatches = [];
    this.#ports.fatal(error, {
      component: 'store',
      exitCode: kvErrorCode(error) === 'ENOSPC' ? EXIT_OUT_OF_SPACE : EXIT_DISK_FAILED,
      flushedIndex: this.#flushed.index,
      appliedIndex: this.#parts.apply.appliedIndex,
    });
  }
}

interface Batch {
  readonly operations: readonly KvOperation[];
  readonly bytes: number;
  readonly keysCrc: number;
}
