// Applying sagas: the machine alone on a map, and on the store with LevelDB below.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bench } from 'tinybench';
import { NodeFiles } from '../../src/engine/log/index.ts';
import type { Command, Key, MutableState } from '../../src/engine/machine/index.ts';
import { keysToRead, Machine } from '../../src/engine/machine/index.ts';
import {
  DEFAULT_STORE_CONFIG,
  LevelKvOpener,
  openStore,
  type Store,
} from '../../src/engine/store/index.ts';
import {
  advanceOf,
  clock,
  configurationOf,
  fatal,
  openSession,
  silent,
  submitOf,
} from './samples.ts';

const TIME_MS = 1_700_000_000_000;

class MapState implements MutableState {
  readonly #values = new Map<Key, Uint8Array>();
  get(key: Key): Uint8Array | undefined {
    return this.#values.get(key);
  }
  put(key: Key, value: Uint8Array): void {
    this.#values.set(key, value);
  }
  delete(key: Key): void {
    this.#values.delete(key);
  }
}

/** Entries of one command each, as a lone client makes them; many share one under load. */
class Sagas {
  readonly #machine = new Machine();
  readonly #state: MutableState;
  readonly #end: (index: number) => void;
  #index = 0;
  #seq = 0;

  constructor(state: MutableState, end: (index: number) => void) {
    this.#state = state;
    this.#end = end;
  }

  apply(commands: readonly Command[]): void {
    this.#index += 1;
    const timeMs = TIME_MS + this.#index;
    this.#machine.applyEntry({ index: this.#index, term: 1, timeMs, commands }, this.#state);
    this.#end(this.#index);
  }

  next(): number {
    this.#seq += 1;
    return this.#seq;
  }

  runOne(): void {
    const seq = this.next();
    this.apply([submitOf(seq)]);
    this.apply([advanceOf(seq, TIME_MS)]);
  }
}

export function addMachine(bench: Bench): void {
  const sagas = new Sagas(new MapState(), () => undefined);
  sagas.apply([openSession]);
  bench.add('machine: a two-step saga, submit and advance', () => sagas.runOne());
}

/** Returns what must be called at the end. */
export async function addStore(bench: Bench): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'assent-micro-'));
  const store = await openIn(directory);
  const { apply } = store;
  const sagas = new Sagas(apply, (index) => apply.commitBatch({ index, term: 1, timeMs: TIME_MS }));
  await apply.prefetch(keysToRead(openSession));
  sagas.apply([openSession]);
  bench.add('store: fetch and apply 32 two-step sagas', async () => {
    const seqs = Array.from({ length: 32 }, () => sagas.next());
    await applyOn(store, sagas, seqs.map(submitOf));
    await applyOn(
      store,
      sagas,
      seqs.map((seq) => advanceOf(seq, TIME_MS)),
    );
  });
  return async () => {
    await store.close();
    await rm(directory, { recursive: true });
  };
}

async function applyOn(store: Store, sagas: Sagas, commands: readonly Command[]): Promise<void> {
  await store.apply.backpressure();
  await store.apply.prefetch(commands.flatMap(keysToRead));
  sagas.apply(commands);
}

async function openIn(directory: string): Promise<Store> {
  await mkdir(join(directory, 'state'), { recursive: true });
  const result = await openStore(
    { directory, generation: 0 },
    {
      lastMark: undefined,
      logBase: { index: 0, configuration: configurationOf([1]) },
      rebuild: false,
    },
    {
      opener: new LevelKvOpener(DEFAULT_STORE_CONFIG),
      directories: new NodeFiles(),
      clock,
      log: silent,
      fatal,
      durableIndex: () => Number.MAX_SAFE_INTEGER,
      spaceLow: () => false,
      recordFlushMark: () => Promise.resolve(),
      onDamage: () => undefined,
    },
    DEFAULT_STORE_CONFIG,
  );
  if (result.kind !== 'open') throw new Error(`the store is ${result.kind}`);
  return result.store;
}
