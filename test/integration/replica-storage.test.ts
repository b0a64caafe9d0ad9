// Log and state of a replica on real files: what opening does about a state that is stale or damaged,
// and that a kill at any moment of it neither brings the old state back nor loses a file that matters.

import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileHandle, Files, Identity } from '../../src/engine/log/index.ts';
import { formatDirectory, NodeFiles } from '../../src/engine/log/index.ts';
import { openStorage, type Storage, stopToRebuild } from '../../src/engine/replica/open-storage.ts';
import { clearRebuildMark, markRebuild } from '../../src/engine/replica/rebuild-mark.ts';
import {
  DEFAULT_STORE_CONFIG,
  LevelKvOpener,
  type OrderedKv,
  type Store,
} from '../../src/engine/store/index.ts';
import type { Entry } from '../../src/raft/index.ts';
import { exitCodeOf } from '../../src/server/exit.ts';
import { REAL_CLOCK } from '../helpers/real-clock.ts';

const IDENTITY: Identity = {
  clusterId: 'cluster-a',
  nodeId: 1,
  birthId: 'birth-1',
  voters: [
    { nodeId: 1, birthId: 'birth-1' },
    { nodeId: 2, birthId: 'birth-2' },
    { nodeId: 3, birthId: 'birth-3' },
  ],
};
const SEGMENT_BYTES = 16 * 1024;
const LOG = { segmentBytes: SEGMENT_BYTES, freeBytesMin: 0, ballastBytes: 0, markIdleMs: 1 };
const STORE = { ...DEFAULT_STORE_CONFIG, flushIntervalMs: 60_000, scrubIntervalMs: 600_000 };
const MARK = 'rebuild-state';

let directory = '';
const open: (() => Promise<void>)[] = [];
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'assent-replica-'));
  await formatDirectory(new NodeFiles(), directory, IDENTITY, { segmentBytes: SEGMENT_BYTES });
});
afterEach(async () => {
  for (const close of open.splice(0)) await close().catch(() => undefined);
  rmSync(directory, { recursive: true, force: true });
});

/** The process is killed at its n-th operation that changes a file; nothing happens after that. */
class KilledAt implements Files {
  readonly #files = new NodeFiles();
  #left: number;

  constructor(operations: number) {
    this.#left = operations;
  }

  get killed(): boolean {
    return this.#left <= 0;
  }

  async #change<T>(run: () => Promise<T>): Promise<T> {
    this.#left -= 1;
    if (this.#left <= 0) throw new Error('killed');
    return run();
  }

  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<FileHandle> {
    const handle =
      mode === 'create'
        ? await this.#change(() => this.#files.open(path, mode))
        : await this.#files.open(path, mode);
    return {
      path,
      writeAt: (offset, bytes) => this.#change(() => handle.writeAt(offset, bytes)),
      readAt: (offset, length) => handle.readAt(offset, length),
      datasync: () => this.#change(() => handle.datasync()),
      size: () => handle.size(),
      close: () => handle.close(),
    };
  }
  rename(from: string, to: string): Promise<void> {
    return this.#change(() => this.#files.rename(from, to));
  }
  remove(path: string): Promise<void> {
    return this.#change(() => this.#files.remove(path));
  }
  removeDirectory(path: string): Promise<void> {
    return this.#change(() => this.#files.removeDirectory(path));
  }
  makeDirectory(path: string): Promise<void> {
    return this.#change(() => this.#files.makeDirectory(path));
  }
  list(path: string): Promise<readonly string[]> {
    return this.#files.list(path);
  }
  syncDirectory(path: string): Promise<void> {
    return this.#change(() => this.#files.syncDirectory(path));
  }
  freeBytes(path: string): Promise<number> {
    return this.#files.freeBytes(path);
  }
}

interface Opened extends Storage {
  readonly said: readonly string[];
  readonly fatal: readonly Error[];
  close(): Promise<void>;
}

async function openIt(files: Files = new NodeFiles(), where = directory): Promise<Opened> {
  const said: string[] = [];
  const fatal: Error[] = [];
  const kvs: OrderedKv[] = [];
  const say = (_fields: unknown, message: string): void => void said.push(message);
  const level = new LevelKvOpener(STORE);
  // What a dead process leaves locked is free again.
  const release = async (): Promise<void> => {
    for (const kv of kvs.splice(0)) await kv.close().catch(() => undefined);
  };
  try {
    const storage = await openStorage(
      {
        files,
        kvOpener: {
          open: async (path) => {
            const kv = await level.open(path);
            kvs.push(kv);
            return kv;
          },
        },
        clock: REAL_CLOCK,
        fatal: (error) => fatal.push(error),
        logger: { debug: say, info: say, warn: say, error: say },
      },
      { directory: where, log: LOG, store: STORE },
      { log: new Set(), store: new Set() },
      { durableIndex: () => Number.POSITIVE_INFINITY, flushed: () => undefined },
    );
    const close = async (): Promise<void> => {
      await storage.store.close();
      await storage.log.close();
    };
    open.push(close);
    return { ...storage, said, fatal, close };
  } catch (error) {
    await release();
    throw error;
  }
}

const key = (index: number): string => `\x01key-${String(index).padStart(6, '0')}`;

function entry(index: number): Entry {
  const commands = [Buffer.from(`entry ${index} ${'x'.repeat(200)}`)];
  return { kind: 'commands', index, term: 1, timeMs: 1_000 + index, commands };
}

async function applied(store: Store, index: number): Promise<void> {
  await store.apply.prefetch([key(index)]);
  store.apply.put(key(index), Buffer.from(`value ${index}`));
  store.apply.commitBatch({ index, term: 1, timeMs: 1_000 + index });
}

/** Appends, applies and flushes, in several flushes. */
async function work({ log, store }: Opened, from: number, to: number): Promise<void> {
  for (let index = from; index <= to; index += 1) {
    await new Promise<void>((resolve) => {
      const hardState = index === from ? { term: 1, vote: 2 } : undefined;
      const batch = { hardState, truncateFrom: undefined, entries: [entry(index)] };
      log.append({ ...batch, recovered: false }, resolve);
    });
    await applied(store, index);
    if (index % 25 === 0) await store.flush();
  }
  await store.flush();
}

const COUNT = 200;

async function replay({ log, store }: Opened, to: number): Promise<void> {
  for (let index = store.appliedIndex + 1; index <= to; index += 1) {
    const [found] = await log.read(index, index + 1, 1_000_000);
    expect(found).toEqual(entry(index));
    await applied(store, index);
  }
}

async function expectEveryKey({ store }: Opened, to: number): Promise<void> {
  for (let index = 1; index <= to; index += 1) {
    const value = await store.reader.get(key(index));
    expect(Buffer.from(value ?? []).toString()).toBe(`value ${index}`);
  }
}

function largestWal(where = directory): string {
  const state = join(where, 'state-0');
  const logs = readdirSync(state).filter((name) => /^\d+[.]log$/.test(name));
  const sized = logs.map((name) => ({ name, size: readFileSync(join(state, name)).length }));
  return join(state, sized.sort((a, b) => b.size - a.size)[0]?.name ?? '');
}

/** LevelDB forgets the last of what it acknowledged, as after its finding L2. */
function loseEndOfState(): void {
  const path = largestWal();
  truncateSync(path, Math.floor(readFileSync(path).length / 2));
}

/** A log that no longer begins at its first entry. */
async function compacted(): Promise<number> {
  const first = await openIt();
  await work(first, 1, COUNT);
  const { index } = await first.log.compact(COUNT - 20);
  expect(index).toBeGreaterThan(0);
  await first.close();
  return index;
}

function snapshotOfFiles(): ReadonlyMap<string, Buffer> {
  return new Map(
    readdirSync(directory)
      .filter((name) => /^segment-\d+[.]log$/.test(name))
      .map((name) => [name, readFileSync(join(directory, name))]),
  );
}

/** Restores `directory` to what it was, for another try. */
class Original {
  readonly #files = new Map<string, Buffer>();

  constructor() {
    for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      const path = join(directory, name);
      try {
        this.#files.set(name, readFileSync(path));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
      }
    }
  }

  async restore(): Promise<void> {
    for (const close of open.splice(0)) await close().catch(() => undefined);
    rmSync(directory, { recursive: true, force: true });
    await new NodeFiles().makeDirectory(join(directory, 'state-0'));
    for (const [name, content] of this.#files) writeFileSync(join(directory, name), content);
  }
}

/** Runs `attempt` killed at its n-th operation, for every n, until one is not killed. */
async function killedAtEvery(
  original: Original,
  attempt: (files: Files) => Promise<unknown>,
  afterwards: () => Promise<void>,
): Promise<number> {
  for (let operations = 1; ; operations += 1) {
    await original.restore();
    const files = new KilledAt(operations);
    const isDone = await attempt(files).then(
      () => true,
      () => false,
    );
    for (const close of open.splice(0)) await close().catch(() => undefined);
    await afterwards();
    if (isDone && !files.killed) return operations;
    if (operations > 500) throw new Error('it never ends');
  }
}

describe('a state that lost its end', () => {
  it('is rebuilt from a log that holds every entry', async () => {
    const first = await openIt();
    await work(first, 1, COUNT);
    await first.close();
    loseEndOfState();
    const again = await openIt();
    expect(again.said).toContain('the state must be rebuilt');
    expect(again.opened.recovering).toBeUndefined();
    expect(again.store.appliedIndex).toBe(0);
    await replay(again, COUNT);
    await expectEveryKey(again, COUNT);
    expect(readdirSync(directory).filter((name) => name.includes('damaged'))).toEqual([]);
  });

  it('with a compacted log starts it over: recovering, votes kept, every file kept', async () => {
    await compacted();
    loseEndOfState();
    const before = snapshotOfFiles();
    const again = await openIt();
    expect(again.opened.recovering).toEqual({
      reason: 'damaged',
      file: 'state',
      offset: 0,
      lostFromIndex: 1,
    });
    const { base, lastIndex, hardState } = again.opened.recovered;
    expect([base.index, lastIndex, hardState]).toEqual([0, 0, { term: 1, vote: 2 }]);
    expect([...base.configuration.voters]).toHaveLength(3);
    expect(again.store.appliedIndex).toBe(0);
    expect(readdirSync(directory)).toContain('state-0.damaged');
    for (const name of before.keys()) {
      const isBlank = before.get(name)?.every((byte) => byte === 0) === true;
      if (!isBlank) expect(existsSync(join(directory, `${name}.damaged`)), name).toBe(true);
    }
  });

  it('keeps what was set aside until the node is healed, and not longer', async () => {
    await compacted();
    loseEndOfState();
    await (await openIt()).close();
    const healing = await openIt();
    expect(healing.opened.recovering).toBeDefined();
    expect(readdirSync(directory)).toContain('state-0.damaged');
    await work(healing, 1, 10);
    await new Promise<void>((resolve) => {
      const batch = { hardState: undefined, truncateFrom: undefined, entries: [] };
      healing.log.append({ ...batch, recovered: true }, resolve);
    });
    await healing.close();
    const healed = await openIt();
    expect(healed.opened.recovering).toBeUndefined();
    await expectEveryKey(healed, 10);
    const names = readdirSync(directory).filter((name) => name.endsWith('.damaged'));
    expect(names.filter((name) => name.startsWith('state'))).toEqual([]);
    expect(names.length).toBeLessThanOrEqual(4);
  });
});

describe('the note that the state must be rebuilt', () => {
  it('is left when damage is found while the node runs, which then ends with 75', async () => {
    const first = await openIt();
    await work(first, 1, COUNT);
    const errors: Error[] = [];
    await new Promise<void>((resolve) => {
      const fatal = (error: Error): void => {
        errors.push(error);
        resolve();
      };
      stopToRebuild({ files: new NodeFiles(), fatal }, directory, { reason: 'damaged' });
    });
    expect(errors.map(exitCodeOf)).toEqual([75]);
    expect(readdirSync(directory)).toContain(MARK);
    await first.close();
    const again = await openIt();
    expect(again.store.appliedIndex).toBe(0);
    expect(readdirSync(directory)).not.toContain(MARK);
    await replay(again, COUNT);
    await expectEveryKey(again, COUNT);
  });

  it('is there or not, never in between, when the node is killed while it writes or clears it', async () => {
    const first = await openIt();
    await work(first, 1, COUNT);
    await first.close();
    const original = new Original();
    const usable = async (): Promise<void> => {
      const isMarked = existsSync(join(directory, MARK));
      const again = await openIt();
      expect(again.store.appliedIndex).toBe(isMarked ? 0 : COUNT);
      await replay(again, COUNT);
      await expectEveryKey(again, COUNT);
      expect(existsSync(join(directory, MARK))).toBe(false);
    };
    await killedAtEvery(original, (files) => markRebuild(files, directory), usable);
    await original.restore();
    await markRebuild(new NodeFiles(), directory);
    await killedAtEvery(new Original(), (files) => clearRebuildMark(files, directory), usable);
  });
});

describe('a node killed at any moment while it rebuilds', () => {
  it('from its log goes on rebuilding, and never opens the old state again', async () => {
    const first = await openIt();
    await work(first, 1, COUNT);
    await first.close();
    await markRebuild(new NodeFiles(), directory);
    const moments = await killedAtEvery(
      new Original(),
      (files) => openIt(files),
      async () => {
        const again = await openIt();
        expect(again.opened.recovering).toBeUndefined();
        expect(again.opened.recovered.hardState).toEqual({ term: 1, vote: 2 });
        expect(again.store.appliedIndex).toBe(0);
        await replay(again, COUNT);
        await expectEveryKey(again, COUNT);
        expect(existsSync(join(directory, MARK))).toBe(false);
      },
    );
    expect(moments).toBeGreaterThan(5);
  });

  it('with a compacted log ends up recovering, with its vote, and with every file still there', async () => {
    await compacted();
    loseEndOfState();
    const original = new Original();
    const before = snapshotOfFiles();
    const used = [...before].filter(([, bytes]) => bytes.some((byte) => byte !== 0));
    const moments = await killedAtEvery(
      original,
      (files) => openIt(files),
      async () => {
        const again = await openIt();
        expect(again.opened.recovering).toMatchObject({ reason: 'damaged', lostFromIndex: 1 });
        const { base, lastIndex, hardState } = again.opened.recovered;
        expect([base.index, lastIndex, hardState]).toEqual([0, 0, { term: 1, vote: 2 }]);
        expect(again.store.appliedIndex).toBe(0);
        expect(existsSync(join(directory, MARK))).toBe(false);
        expect(existsSync(join(directory, 'state-0.damaged', 'CURRENT'))).toBe(true);
        for (const [name] of used) {
          expect(existsSync(join(directory, `${name}.damaged`)), name).toBe(true);
        }
        await again.close();
        const third = await openIt();
        expect(third.opened.recovering).toEqual(again.opened.recovering);
      },
    );
    expect(moments).toBeGreaterThan(10);
  });
});
