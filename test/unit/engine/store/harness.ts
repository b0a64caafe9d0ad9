// What the store's tests share: a clock that only moves when told to, a seeded source of
// randomness, and a node's worth of ports around a disk that survives crashes.

import {
  DEFAULT_STORE_CONFIG,
  type FlushMark,
  type OpenExpectation,
  openStore,
  type Store,
  type StoreBug,
  type StoreConfig,
  type StorePorts,
} from '../../../../src/engine/store/index.ts';
import type { Clock, Configuration } from '../../../../src/raft/index.ts';
import { MemoryKvDisk } from '../../../helpers/memory-kv.ts';

/** mulberry32: small, seeded, good enough to choose faults. */
export function seededRandom(seed: number): { next(): number } {
  let state = seed | 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}

export class ManualClock implements Clock {
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }
  wallMs(): number {
    return this.#nowMs;
  }
  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }
  defer(run: () => void): void {
    void Promise.resolve().then(run);
  }
  get timerCount(): number {
    return this.#timers.length;
  }
  /** The process is gone, and its timers with it. */
  clear(): void {
    this.#timers = [];
  }
  /** Runs what becomes due, in order, and everything that follows from it. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const due = this.#timers
        .filter((timer) => timer.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      this.#timers = this.#timers.filter((timer) => timer !== due);
      due.run();
      await settle();
    }
    this.#nowMs = untilMs;
  }
}

/** Everything that waits only for promises is done when this resolves. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export const CONFIGURATION: Configuration = {
  voters: [1, 2, 3],
  outgoing: [],
  learners: [],
  learnersNext: [],
  members: [1, 2, 3].map((nodeId) => ({ nodeId, birthId: `birth-${nodeId}` })),
};

export const DIRECTORY = 'data';

/** Sizes at which a handful of keys already needs pages, chunks and several flushes. */
export const SMALL_CONFIG: StoreConfig = {
  ...DEFAULT_STORE_CONFIG,
  pageKeysMax: 3,
  chunkBytesMax: 100,
  receiveBatchBytes: 150,
  scrubKeysMax: 4,
  readCacheBytesMax: 2_000,
  ledgerKeepMin: 5,
  writeBufferBytes: 2_000,
};

/** One node's store, its disk, and the part of its log that the store needs. */
export class StoreFixture {
  readonly clock = new ManualClock();
  readonly disk: MemoryKvDisk;
  readonly config: StoreConfig;
  readonly bugs: ReadonlySet<StoreBug>;
  readonly marks: FlushMark[] = [];
  readonly fatals: {
    readonly error: Error;
    readonly context: Readonly<Record<string, unknown>>;
  }[] = [];
  readonly damaged: { readonly key: string; readonly generation: number }[] = [];
  durable = Number.MAX_SAFE_INTEGER;
  low = false;
  generation = 1;
  logBaseIndex = 0;

  constructor(seed: number, config: StoreConfig = SMALL_CONFIG, bugs: readonly StoreBug[] = []) {
    this.config = config;
    this.bugs = new Set(bugs);
    this.disk = new MemoryKvDisk({
      random: seededRandom(seed),
      writeBufferBytes: config.writeBufferBytes,
    });
  }

  get path(): string {
    return `${DIRECTORY}/state-${this.generation}`;
  }

  ports(): StorePorts {
    return {
      opener: this.disk.opener,
      directories: this.disk,
      clock: this.clock,
      log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
      fatal: (error, context) => void this.fatals.push({ error, context }),
      durableIndex: () => this.durable,
      spaceLow: () => this.low,
      recordFlushMark: async (mark) => void this.marks.push(mark),
      onDamage: (key, generation) => void this.damaged.push({ key, generation }),
    };
  }

  tryOpen(expected: Partial<OpenExpectation> = {}): ReturnType<typeof openStore> {
    return openStore(
      { directory: DIRECTORY, generation: this.generation },
      {
        lastMark: this.marks.at(-1),
        logBase: { index: this.logBaseIndex, configuration: CONFIGURATION },
        ...expected,
      },
      this.ports(),
      this.config,
      this.bugs,
    );
  }

  async open(expected: Partial<OpenExpectation> = {}): Promise<Store> {
    const result = await this.tryOpen(expected);
    if (result.kind === 'stale') throw new Error(`stale: ${result.reason}: ${result.detail}`);
    return result.store;
  }

  /** Power cut; the process and its timers are gone. */
  crash(): void {
    this.clock.clear();
    this.disk.crash();
  }

  /** kill −9: the kernel keeps what it has. */
  kill(): void {
    this.clock.clear();
    this.disk.kill();
  }
}

function ignore(): void {
  // A test looks at results, not at log lines.
}

/** Applies one entry: the mutations, then the commit. */
export async function applyEntry(
  store: Store,
  index: number,
  mutations: readonly (readonly [string, string | undefined])[],
): Promise<void> {
  await store.apply.prefetch(mutations.map(([key]) => key));
  for (const [key, value] of mutations) {
    if (value === undefined) store.apply.delete(key);
    else store.apply.put(key, bytes(value));
  }
  store.apply.commitBatch({ index, term: 1, timeMs: index * 10 });
}

export function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString('latin1');
}

export async function contents(store: Store): Promise<Map<string, string>> {
  const pairs = await store.reader.range({ gte: '', lt: '\xff\xff', limit: 1_000_000 });
  return new Map(pairs.map(([key, value]) => [key, text(value) ?? '']));
}
