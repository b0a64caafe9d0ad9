// Goal: on the real LevelDB, an acknowledged flush cannot be lost without the store saying so.
// Method: the weaknesses that LevelDB is known to have, brought about with its real files: a bit
// flipped in a write-ahead log, the tail of a rotated log missing, a torn append, a full disk.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  DEFAULT_STORE_CONFIG,
  type Directories,
  type FlushMark,
  generationPath,
  LevelKvOpener,
  type OpenStoreResult,
  openStore,
  type Store,
  type StorePorts,
} from '../../../../src/engine/store/index.ts';
import { applyEntry, CONFIGURATION, contents, ManualClock, text } from './harness.ts';

const directories: Directories = {
  list: async (path) => (await readdir(path)).sort(),
  removeDirectory: (path) => rm(path, { recursive: true, force: true }),
  syncDirectory: async (path) => {
    const handle = await open(path, 'r');
    await handle.sync();
    await handle.close();
  },
};

let directory: string;
let marks: FlushMark[];
let fatals: Readonly<Record<string, unknown>>[];
let damaged: string[];
let clock: ManualClock;
const opened: Store[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'assent-store-'));
  marks = [];
  fatals = [];
  damaged = [];
  clock = new ManualClock();
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function tryOpen(generation = 1, parent = directory): Promise<OpenStoreResult> {
  const ignore = (): void => undefined;
  const ports: StorePorts = {
    opener: new LevelKvOpener(DEFAULT_STORE_CONFIG),
    directories,
    clock,
    log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    fatal: (_error, context) => void fatals.push(context),
    durableIndex: () => Number.MAX_SAFE_INTEGER,
    spaceLow: () => false,
    recordFlushMark: async (mark) => void marks.push(mark),
    onDamage: (key) => void damaged.push(key),
  };
  const result = await openStore(
    { directory: parent, generation },
    { lastMark: marks.at(-1), logBase: { index: 0, configuration: CONFIGURATION } },
    ports,
    DEFAULT_STORE_CONFIG,
  );
  if (result.kind === 'open') opened.push(result.store);
  return result;
}

async function openWhole(generation = 1, parent = directory): Promise<Store> {
  const result = await tryOpen(generation, parent);
  if (result.kind === 'stale') throw new Error(`stale: ${result.detail}`);
  return result.store;
}

async function close(store: Store): Promise<void> {
  opened.splice(opened.indexOf(store), 1);
  await store.close();
}

/** Flushes `count` times about `size` bytes, closes; every flush was synced and marked. */
async function flushMany(count: number, size: number): Promise<void> {
  const store = await openWhole();
  for (let index = 1; index <= count; index += 1) {
    await applyEntry(store, index, [[`k${String(index).padStart(5, '0')}`, 'x'.repeat(size)]]);
    await store.flush();
  }
  await close(store);
  expect(marks).toHaveLength(count);
}

/** Lets the clock run; reads of the disk take real turns of the event loop. */
async function scrubUntil(isDone: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000 && !isDone(); turn += 1) await clock.advance(1_000);
  expect(isDone()).toBe(true);
}

function wal(): string {
  const path = generationPath(directory, 1);
  const name = readdirSync(path)
    .filter((file) => file.endsWith('.log'))
    .sort()
    .at(-1);
  return join(path, name!);
}

/** Offsets of the physical records of a log: header of 7 bytes (crc 4, length 2, type 1). */
function recordOffsets(log: Buffer): number[] {
  const offsets: number[] = [];
  let offset = 0;
  while (offset + 7 <= log.length) {
    const left = 32_768 - (offset % 32_768);
    if (left < 7) {
      offset += left;
      continue;
    }
    const length = log.readUInt16LE(offset + 4);
    if (length === 0 && log[offset + 6] === 0) break;
    offsets.push(offset);
    offset += 7 + length;
  }
  return offsets;
}

describe('the state on LevelDB', () => {
  test('is read, changed, flushed and found again', async () => {
    const store = await openWhole();
    for (let index = 1; index <= 50; index += 1) {
      await applyEntry(store, index, [
        [`k\xfe${String(index).padStart(3, '0')}`, `v${index}`],
        [`k\xfe${String(index - 5).padStart(3, '0')}`, undefined],
      ]);
      if (index % 10 === 0) await store.flush();
    }
    const digest = store.apply.digest();
    const before = await contents(store);
    expect([...before.keys()].map((key) => key.slice(2))).toEqual([
      '046',
      '047',
      '048',
      '049',
      '050',
    ]);
    const backwards = await store.reader.range({ gte: 'k', lt: 'l', reverse: true, limit: 2 });
    expect(backwards.map(([, value]) => text(value))).toEqual(['v50', 'v49']);
    await close(store);
    const again = await openWhole();
    expect(again.appliedIndex).toBe(50);
    expect(again.apply.digest()).toBe(digest);
    expect(await contents(again)).toEqual(before);
    await expect(tryOpen()).rejects.toMatchObject({ code: 'STATE_LOCKED' });
  });

  test('travels as a snapshot while it changes, and the old generation goes', async () => {
    const store = await openWhole();
    for (let index = 1; index <= 3_000; index += 1) {
      store.apply.put(`k${String(index).padStart(5, '0')}`, Buffer.alloc(300, index));
      store.apply.commitBatch({ index, term: 1, timeMs: 0 });
    }
    const source = await store.snapshot();
    const before = await contents(store);
    const changing = (async function* () {
      let index = 3_000;
      for await (const chunk of source.chunks()) {
        index += 1;
        await applyEntry(store, index, [['k00001', undefined]]);
        await store.flush();
        yield chunk;
      }
    })();
    const generation = await store.receive(source.meta, changing);
    await source.close();
    await store.install(source.meta, generation);
    expect(store.appliedIndex).toBe(3_000);
    expect(await contents(store)).toEqual(before);
    await close(store);
    expect(readdirSync(directory)).toEqual([`state-${generation}`]);
  });

  test('L5: a bit flipped anywhere in the write-ahead log is found at open', async () => {
    await flushMany(120, 900);
    const path = wal();
    const whole = readFileSync(path);
    expect(whole.length).toBeGreaterThan(4 * 32_768 - 20_000);
    const saved = new Map(
      readdirSync(generationPath(directory, 1)).map((name) => [
        name,
        readFileSync(join(generationPath(directory, 1), name)),
      ]),
    );
    const reasons = new Set<string>();
    for (let position = 50; position < whole.length; position += Math.floor(whole.length / 12)) {
      rmSync(generationPath(directory, 1), { recursive: true });
      mkdirSync(generationPath(directory, 1));
      for (const [name, content] of saved)
        writeFileSync(join(generationPath(directory, 1), name), content);
      const flipped = Buffer.from(whole);
      flipped[position] = flipped[position]! ^ 1;
      writeFileSync(path, flipped);
      const result = await tryOpen();
      expect(result, `bit at ${position}`).toMatchObject({ kind: 'stale' });
      if (result.kind === 'stale') reasons.add(result.reason);
    }
    expect(reasons).toContain('ledgerHole');
    expect(reasons).toContain('lostTail');
  });

  test('L4: the lost tail of a rotated log, with the next one whole, is a hole', async () => {
    await flushMany(20, 100);
    const path = wal();
    const log = readFileSync(path);
    const offsets = recordOffsets(log);
    expect(offsets).toHaveLength(20);
    const number = Number.parseInt(path.slice(path.lastIndexOf('/') + 1), 10);
    writeFileSync(path, log.subarray(0, offsets[5]));
    const next = `${String(number + 50).padStart(6, '0')}.log`;
    writeFileSync(join(generationPath(directory, 1), next), log.subarray(offsets[10]));
    expect(await tryOpen()).toMatchObject({ kind: 'stale', reason: 'ledgerHole' });
  });

  test('L2: what was acknowledged behind a torn append is missed, by the mark', async () => {
    await flushMany(20, 100);
    const path = wal();
    const log = readFileSync(path);
    const offsets = recordOffsets(log);
    const torn = log.subarray(offsets[10], offsets[10]! + 60);
    writeFileSync(
      path,
      Buffer.concat([log.subarray(0, offsets[10]), torn, log.subarray(offsets[11])]),
    );
    expect(await tryOpen()).toMatchObject({ kind: 'stale', reason: 'lostTail', appliedIndex: 10 });
  });

  test('files that LevelDB itself refuses are damage, not an exception', async () => {
    await flushMany(3, 100);
    const path = generationPath(directory, 1);
    writeFileSync(join(path, 'CURRENT'), 'nonsense');
    expect(await tryOpen()).toMatchObject({ kind: 'stale', reason: 'damaged' });
  });

  test('a bit flipped anywhere in a table is found: at open, at a read, or by the scrub', async () => {
    const first = await openWhole();
    for (let index = 1; index <= 50; index += 1) {
      await applyEntry(first, index, [[`k${String(index).padStart(5, '0')}`, 'needle'.repeat(20)]]);
    }
    await first.flush();
    const expected = await contents(first);
    await close(first);
    // Opening rewrites the log into a table (L6).
    await close(await openWhole());
    const path = generationPath(directory, 1);
    const saved = readdirSync(path).map((name) => [name, readFileSync(join(path, name))] as const);
    const [table, whole] = saved.find(([name]) => /[.](ldb|sst)$/.test(name))!;
    const found = new Map<string, number>();
    const count = (how: string): void => void found.set(how, (found.get(how) ?? 0) + 1);
    for (let position = 3; position < whole.length - 8; position += Math.floor(whole.length / 40)) {
      rmSync(path, { recursive: true });
      mkdirSync(path);
      for (const [name, content] of saved) writeFileSync(join(path, name), content);
      const flipped = Buffer.from(whole);
      flipped[position] = flipped[position]! ^ 1;
      writeFileSync(join(path, table), flipped);
      damaged = [];
      const result = await tryOpen();
      if (result.kind === 'stale') {
        count('open');
        continue;
      }
      const { store } = result;
      let seen: Map<string, string> | undefined;
      try {
        seen = await contents(store);
      } catch {
        expect(damaged, `bit at ${position}`).not.toEqual([]);
        count('read');
      }
      if (seen !== undefined && seen.size < expected.size) count('vanished');
      if (seen !== undefined) {
        await scrubUntil(() => damaged.length > 0 || store.metrics().scrub.passCount > 0);
        if (damaged.length > 0) count('scrub');
        else expect(position, `bit at ${position}`).toBeGreaterThanOrEqual(whole.length - 48);
      }
      await close(store);
    }
    for (const how of ['open', 'read', 'scrub']) expect([...found.keys()]).toContain(how);
  });

  test('tables that are whole pass the scrub', async () => {
    const store = await openWhole();
    for (let index = 1; index <= 20_000; index += 1) {
      store.apply.put(`k${String(index).padStart(5, '0')}`, Buffer.alloc(300, index));
      store.apply.commitBatch({ index, term: 1, timeMs: 0 });
    }
    await store.flush();
    await close(store);
    const again = await openWhole();
    await scrubUntil(() => again.metrics().scrub.passCount > 0);
    expect(again.metrics().scrub).toMatchObject({ lastPassKeyCount: 20_000, foundDamage: false });
    expect(damaged).toEqual([]);
  });
});

describe('a full disk', () => {
  function mountTmpfs(path: string): boolean {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }

  test('ends the process; what LevelDB acknowledges afterwards is never trusted', async (context) => {
    const mounted = mkdtempSync(join(tmpdir(), 'assent-full-'));
    if (!mountTmpfs(mounted)) {
      rmSync(mounted, { recursive: true });
      context.skip('a small tmpfs cannot be mounted here');
      return;
    }
    try {
      const store = await openWhole(1, mounted);
      let index = 0;
      while (fatals.length === 0 && index < 500) {
        index += 1;
        await applyEntry(store, index, [[`k${String(index).padStart(5, '0')}`, random(3_000)]]);
        await store.flush();
      }
      expect(fatals[0]).toMatchObject({ exitCode: 75 });
      const marked = marks.at(-1)!.appliedIndex;
      expect(marked).toBeGreaterThan(50);
      expect(marked).toBeLessThan(index);
      await close(store);
      // Space returns: the store is opened anew, and whatever it then holds covers the mark.
      execFileSync('mount', ['-o', 'remount,size=8m', mounted], { stdio: 'ignore' });
      const result = await tryOpen(1, mounted);
      if (result.kind === 'open') {
        expect(result.store.appliedIndex).toBeGreaterThanOrEqual(marked);
        expect((await contents(result.store)).size).toBe(result.store.appliedIndex);
        await close(result.store);
      }
    } finally {
      execFileSync('umount', [mounted], { stdio: 'ignore' });
      rmSync(mounted, { recursive: true });
    }
  });

  /** Not compressible, and the same in every run. */
  function random(length: number): string {
    let state = 12_345;
    let characters = '';
    while (characters.length < length) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
      characters += String.fromCharCode(32 + ((state >>> 16) % 90));
    }
    return characters;
  }
});
