import { describe, expect, test } from 'vitest';
import { StoreInvariantError } from '../../../../src/engine/store/index.ts';
import {
  applyEntry,
  bytes,
  CONFIGURATION,
  contents,
  DIRECTORY,
  SMALL_CONFIG,
  StoreFixture,
  settle,
  text,
} from './harness.ts';
import { fromLatin1, META_KEY } from './keys.ts';

describe('apply', () => {
  test('reads what was named, wherever it is, and refuses a key that was not', async () => {
    const fixture = new StoreFixture(1, { ...SMALL_CONFIG, readCacheBytesMax: 0 });
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', '1']]);
    expect(store.apply.prefetch(['a'])).toBeUndefined();
    expect(text(store.apply.get('a'))).toBe('1');
    await store.flush();
    expect(() => store.apply.get('b')).toThrow(StoreInvariantError);
    const wait = store.apply.prefetch(['a', 'b', 'a']);
    expect(wait).toBeInstanceOf(Promise);
    await wait;
    expect(text(store.apply.get('a'))).toBe('1');
    expect(store.apply.get('b')).toBeUndefined();
  });

  test('a named key stays readable while flushes pass beneath it', async () => {
    const fixture = new StoreFixture(1, { ...SMALL_CONFIG, readCacheBytesMax: 0 });
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', '1']]);
    await store.apply.prefetch(['a', 'b']);
    store.apply.put('a', bytes('2'));
    store.apply.delete('b');
    store.apply.put('b', bytes('3'));
    store.apply.commitBatch({ index: 2, term: 1, timeMs: 0 });
    await store.flush();
    expect(text(store.apply.get('a'))).toBe('2');
    expect(text(store.apply.get('b'))).toBe('3');
    store.apply.delete('a');
    expect(store.apply.get('a')).toBeUndefined();
    store.apply.commitBatch({ index: 3, term: 1, timeMs: 0 });
    await store.flush();
    expect([...(await contents(store)).keys()]).toEqual(['b']);
  });

  test('refuses keys outside of the keyspace of the machine, and an index that does not grow', async () => {
    const store = await new StoreFixture(1).open();
    expect(() => store.apply.put('\x00x', bytes(''))).toThrow(StoreInvariantError);
    expect(() => store.apply.put('\xffx', bytes(''))).toThrow(StoreInvariantError);
    store.apply.commitBatch({ index: 5, term: 1, timeMs: 0 });
    expect(() => store.apply.commitBatch({ index: 5, term: 1, timeMs: 0 })).toThrow(
      StoreInvariantError,
    );
  });

  test('refuses mutations while a prefetch is under way', async () => {
    const store = await new StoreFixture(1).open();
    const wait = store.apply.prefetch(['a']);
    expect(() => store.apply.put('a', bytes(''))).toThrow(StoreInvariantError);
    expect(() => store.apply.prefetch(['b'])).toThrow(StoreInvariantError);
    await wait;
  });
});

describe('digest', () => {
  test('depends on mutations and their order, not on how entries are batched', async () => {
    const one = await new StoreFixture(1).open();
    const two = await new StoreFixture(2).open();
    const three = await new StoreFixture(3).open();
    await applyEntry(one, 1, [
      ['a', '1'],
      ['b', undefined],
    ]);
    await applyEntry(one, 2, [['c', '2']]);
    await applyEntry(two, 1, [['a', '1']]);
    await two.flush();
    await applyEntry(two, 2, [
      ['b', undefined],
      ['c', '2'],
    ]);
    await applyEntry(three, 2, [
      ['c', '2'],
      ['a', '1'],
      ['b', undefined],
    ]);
    expect(one.apply.digest()).toBe(two.apply.digest());
    expect(one.apply.digest()).not.toBe(three.apply.digest());
  });

  test('is remembered at recent multiples of 1,000', async () => {
    const store = await new StoreFixture(1).open();
    const digests = new Map<number, bigint>();
    for (let index = 1; index <= 70_000; index += 1) {
      store.apply.put('a', bytes(String(index)));
      store.apply.commitBatch({ index, term: 1, timeMs: 0 });
      if (index % 1_000 === 0) digests.set(index, store.apply.digest());
    }
    expect(store.apply.digestAt(69_000)).toBe(digests.get(69_000));
    expect(store.apply.digestAt(7_000)).toBe(digests.get(7_000));
    expect(store.apply.digestAt(6_000)).toBeUndefined();
    expect(store.apply.digestAt(69_500)).toBeUndefined();
    expect(new Set(digests.values()).size).toBe(70);
  });
});

describe('flush', () => {
  test('begins after the interval, in one batch with the applied index, and is marked', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', '1']]);
    await applyEntry(store, 2, [['b', '2']]);
    await fixture.clock.advance(SMALL_CONFIG.flushIntervalMs - 1);
    expect(store.flushedIndex).toBe(0);
    await fixture.clock.advance(1);
    expect(store.flushedIndex).toBe(2);
    expect(fixture.marks).toEqual([{ appliedIndex: 2, ledger: 1, digest: store.apply.digest() }]);
  });

  test('begins at once when enough bytes wait', async () => {
    const fixture = new StoreFixture(1, { ...SMALL_CONFIG, flushBytes: 1_000 });
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', 'x'.repeat(1_000)]]);
    await settle();
    expect(store.flushedIndex).toBe(1);
  });

  test('an idle store does nothing but scrub', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', '1']]);
    await fixture.clock.advance(10_000);
    expect(fixture.marks).toHaveLength(1);
    expect(fixture.clock.timerCount).toBe(1);
    expect(store.metrics().flush.flushCount).toBe(1);
  });

  test('never passes the durable log of its own node', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    fixture.durable = 1;
    await applyEntry(store, 1, [['a', '1']]);
    await applyEntry(store, 2, [['a', '2']]);
    await fixture.clock.advance(5_000);
    expect(store.flushedIndex).toBe(0);
    expect(fixture.disk.contents(fixture.path).size).toBe(0);
    // Entries go on being applied and read meanwhile.
    await applyEntry(store, 3, [['a', '3']]);
    expect(text(await store.reader.get('a'))).toBe('3');
    fixture.durable = 2;
    await fixture.clock.advance(SMALL_CONFIG.flushPollMs);
    expect(store.flushedIndex).toBe(2);
  });

  test('the bug flushPastDurableLog does', async () => {
    const fixture = new StoreFixture(1, SMALL_CONFIG, ['flushPastDurableLog']);
    const store = await fixture.open();
    fixture.durable = 0;
    await applyEntry(store, 1, [['a', '1']]);
    expect(await store.flush()).toBe(true);
  });

  test('waits while space is low, and says so to whoever asked', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    fixture.low = true;
    await applyEntry(store, 1, [['a', '1']]);
    expect(await store.flush()).toBe(false);
    await fixture.clock.advance(5_000);
    expect(store.flushedIndex).toBe(0);
    fixture.low = false;
    await fixture.clock.advance(SMALL_CONFIG.flushIntervalMs);
    expect(store.flushedIndex).toBe(1);
  });

  test('makes the applier wait when the overlay is full and the flush before it is not done', async () => {
    const fixture = new StoreFixture(1, {
      ...SMALL_CONFIG,
      flushBytes: 2_000,
      overlayBytesMax: 3_000,
    });
    const store = await fixture.open();
    fixture.durable = 0;
    let index = 0;
    const fill = async (): Promise<void> => {
      index += 1;
      await applyEntry(store, index, [[`k${index}`, 'x'.repeat(3_000)]]);
      await settle();
    };
    await fill();
    expect(store.apply.backpressure()).toBeUndefined();
    await fill();
    const full = store.apply.backpressure();
    expect(full).toBeInstanceOf(Promise);
    let isAdmitted = false;
    void full?.then(() => (isAdmitted = true));
    await fixture.clock.advance(1_000);
    expect(isAdmitted).toBe(false);
    fixture.durable = 100;
    await fixture.clock.advance(SMALL_CONFIG.flushPollMs);
    expect(isAdmitted).toBe(true);
    expect(store.apply.backpressure()).toBeUndefined();
    expect(store.metrics().overlayBytes).toBeLessThan(3_000);
  });

  test('a key that lives and dies between two flushes is never written', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    await applyEntry(store, 1, [
      ['a', '1'],
      ['short', '1'],
    ]);
    await applyEntry(store, 2, [['short', '2']]);
    await applyEntry(store, 3, [['short', undefined]]);
    expect(store.metrics().overlayKeyCount).toBe(1);
    await store.flush();
    expect(store.metrics().flush.flushedKeyCount).toBe(1);
    // Not so for one that the disk holds: it costs a tombstone.
    await applyEntry(store, 4, [['a', '2']]);
    await applyEntry(store, 5, [['a', undefined]]);
    expect(store.metrics().overlayKeyCount).toBe(1);
    await store.flush();
    expect((await contents(store)).size).toBe(0);
  });

  test('many changes of a key between two flushes cost one write', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    for (let index = 1; index <= 50; index += 1)
      await applyEntry(store, index, [['a', `${index}`]]);
    await store.flush();
    expect(store.metrics().flush.flushedKeyCount).toBe(1);
  });

  test.each([
    ['a full disk', 'ENOSPC', 75],
    ['a failed sync', 'EIO', 74],
  ])(
    '%s ends the process at the first failed write, and nothing is written after it',
    async (_, code, exitCode) => {
      const fixture = new StoreFixture(1);
      const store = await fixture.open();
      await applyEntry(store, 1, [['a', '1']]);
      if (code === 'ENOSPC') fixture.disk.full = true;
      else fixture.disk.failNextSync = true;
      expect(await store.flush()).toBe(false);
      fixture.disk.full = false;
      expect(fixture.fatals).toHaveLength(1);
      expect(fixture.fatals[0]?.error).toMatchObject({ code });
      expect(fixture.fatals[0]?.context).toMatchObject({ exitCode });
      await applyEntry(store, 2, [['a', '2']]);
      await fixture.clock.advance(60_000);
      expect(await store.flush()).toBe(false);
      expect(store.flushedIndex).toBe(0);
      expect(fixture.fatals).toHaveLength(1);
      expect(fixture.marks).toEqual([]);
    },
  );

  test('a graceful close flushes; what cannot be flushed is left to the log', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    await applyEntry(store, 1, [['a', '1']]);
    await Promise.all([store.close(), store.close()]);
    const again = await fixture.open();
    expect(again.appliedIndex).toBe(1);
    fixture.durable = 1;
    await applyEntry(again, 2, [['a', '2']]);
    await again.close();
    expect((await fixture.open()).appliedIndex).toBe(1);
  });

  test('the configuration travels with the applied index', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    const configuration = { ...CONFIGURATION, voters: [1, 2], learners: [3] };
    store.apply.commitBatch({ index: 1, term: 2, timeMs: 7, configuration });
    await store.close();
    const again = await fixture.open();
    const source = await again.snapshot();
    expect(source.meta).toEqual({ index: 1, term: 2, timeMs: 7, configuration });
    await source.close();
  });
});

describe('opening', () => {
  /** Twenty flushes of one key each. */
  async function history(fixture: StoreFixture): Promise<void> {
    const store = await fixture.open();
    for (let index = 1; index <= 20; index += 1) {
      await applyEntry(store, index, [[`k${index}`, `v${index}`]]);
      await store.flush();
    }
  }

  test('finds a flush that is missing in the middle (L4, L5)', async () => {
    let found = 0;
    for (let back = 1; back < 20; back += 1) {
      const fixture = new StoreFixture(back);
      await history(fixture);
      if (!fixture.disk.dropBatch(fixture.path, back)) continue;
      fixture.kill();
      expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale', reason: 'ledgerHole' });
      found += 1;
    }
    expect(found).toBeGreaterThan(5);
  });

  test('finds that the end is missing, by the mark in the log (L2)', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    expect(fixture.disk.dropBatch(fixture.path, 0)).toBe(true);
    fixture.kill();
    expect(await fixture.tryOpen()).toMatchObject({
      kind: 'stale',
      reason: 'lostTail',
      appliedIndex: 19,
      detail: expect.stringContaining('lost acknowledged synced writes') as unknown,
    });
    // Without the mark the loss cannot be seen: that is what the mark is for.
    expect(await fixture.tryOpen({ lastMark: undefined })).toMatchObject({ kind: 'open' });
  });

  test('finds that the directory was emptied', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.kill();
    await fixture.disk.removeDirectory(fixture.path);
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale', reason: 'lostTail' });
  });

  test('finds that the log no longer holds what comes next', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.kill();
    fixture.logBaseIndex = 21;
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale', reason: 'behindLog' });
    fixture.logBaseIndex = 20;
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'open' });
  });

  test('finds a state of another history', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.kill();
    const lastMark = { appliedIndex: 20, ledger: 20, digest: 1n };
    expect(await fixture.tryOpen({ lastMark })).toMatchObject({ reason: 'digestMismatch' });
    const earlier = { appliedIndex: 18, ledger: 18, digest: 1n };
    expect(await fixture.tryOpen({ lastMark: earlier })).toMatchObject({
      reason: 'digestMismatch',
    });
  });

  test('finds damage in its own values', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.kill();
    fixture.disk.flipValueBit(fixture.path, META_KEY);
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale' });
  });

  test('a format that it does not know is refused, not guessed', async () => {
    const fixture = new StoreFixture(1);
    const kv = await fixture.disk.opener.open(fixture.path);
    const { seal } = await import('../../../../src/engine/store/sealed-value.ts');
    const value = seal(META_KEY, Uint8Array.of(0, 9));
    await kv.batch([{ type: 'put', key: META_KEY, value }], { sync: true });
    await kv.close();
    await expect(fixture.open()).rejects.toMatchObject({ code: 'STATE_FORMAT_UNKNOWN' });
  });

  test('a rebuild begins with nothing, and a crash in it leaves the state stale again', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.disk.dropBatch(fixture.path, 0);
    fixture.kill();
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale' });
    const store = await fixture.open({ rebuild: true });
    expect(store.appliedIndex).toBe(0);
    fixture.kill();
    expect(await fixture.tryOpen()).toMatchObject({ kind: 'stale' });
    const again = await fixture.open({ rebuild: true });
    await applyEntry(again, 1, [['k1', 'v1']]);
    await again.flush();
    fixture.crash();
    expect((await fixture.open()).appliedIndex).toBe(1);
  });

  test('two processes cannot hold one state', async () => {
    const fixture = new StoreFixture(1);
    await fixture.open();
    await expect(fixture.open()).rejects.toMatchObject({ code: 'STATE_LOCKED' });
  });

  test('the ledger forgets old flushes, but none that a write-ahead log may still hold', async () => {
    const fixture = new StoreFixture(1, { ...SMALL_CONFIG, writeBufferBytes: 400 });
    const store = await fixture.open();
    for (let index = 1; index <= 300; index += 1) {
      await applyEntry(store, index, [['k', `${index}`]]);
      await store.flush();
    }
    const ledger = [...fixture.disk.contents(fixture.path).keys()].filter((name) =>
      name.startsWith('\x00ledger/'),
    );
    expect(ledger.length).toBeLessThan(120);
    expect(ledger.length).toBeGreaterThanOrEqual(SMALL_CONFIG.ledgerKeepMin);
    fixture.kill();
    expect((await fixture.open()).appliedIndex).toBe(300);
  });

  test('deletes other generations and leaves other files alone', async () => {
    const fixture = new StoreFixture(1);
    await history(fixture);
    fixture.kill();
    await fixture.disk.opener.open(`${DIRECTORY}/state-7`);
    await fixture.disk.opener.open(`${DIRECTORY}/log`);
    fixture.kill();
    await fixture.open();
    expect(fixture.disk.paths()).toEqual([`${DIRECTORY}/log`, fixture.path]);
  });
});

describe('damage in a value', () => {
  async function damaged(bugs: ConstructorParameters<typeof StoreFixture>[2] = []) {
    const fixture = new StoreFixture(5, { ...SMALL_CONFIG, readCacheBytesMax: 0 }, bugs);
    const store = await fixture.open();
    for (let index = 1; index <= 12; index += 1)
      await applyEntry(store, index, [[`k${index}`, 'value']]);
    await store.flush();
    fixture.disk.flipValueBit(fixture.path, fromLatin1('k5'));
    return { fixture, store };
  }

  test('is found at the first read, of whatever kind', async () => {
    const { fixture, store } = await damaged();
    await expect(store.reader.get('k5')).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
    await expect(store.apply.prefetch(['k4', 'k5'])).rejects.toMatchObject({
      code: 'STATE_DAMAGED',
    });
    await expect(contents(store)).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
    const source = await store.snapshot();
    const read = async (): Promise<void> => {
      for await (const chunk of source.chunks()) expect(chunk.length).toBeGreaterThan(0);
    };
    await expect(read()).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
    expect(fixture.damaged).toEqual(Array(4).fill({ key: 'k5', generation: 1 }));
    expect(text(await store.reader.get('k4'))).toBe('value');
  });

  test('is found by the scrub', async () => {
    const { fixture, store } = await damaged();
    await fixture.clock.advance(SMALL_CONFIG.scrubIntervalMs * 10);
    expect(fixture.damaged).toEqual([{ key: 'k5', generation: 1 }]);
    expect(store.metrics().scrub.foundDamage).toBe(true);
  });

  test('passes when the checksum is switched off (the bug is findable)', async () => {
    const { store } = await damaged(['skipValueChecksum']);
    expect(text(await store.reader.get('k5'))).not.toBe('value');
  });

  test('a value under the key of another is damage', async () => {
    const { fixture, store } = await damaged();
    const stored = fixture.disk.contents(fixture.path).get('k1');
    await store.close();
    const kv = await fixture.disk.opener.open(fixture.path);
    await kv.batch([{ type: 'put', key: fromLatin1('k2'), value: stored! }], { sync: true });
    await kv.close();
    const again = await fixture.open();
    await expect(again.reader.get('k2')).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
  });
});

describe('scrub', () => {
  test('goes through everything at a bounded rate, rests, and goes on where it was after a restart', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    for (let index = 1; index <= 10; index += 1)
      await applyEntry(store, index, [[`k${index}`, 'v']]);
    await store.flush();
    await fixture.clock.advance(SMALL_CONFIG.scrubIntervalMs);
    expect(store.metrics().scrub).toMatchObject({ passKeyCount: 4, passCount: 0 });
    const { position } = store.metrics().scrub;
    await applyEntry(store, 11, [['k1', 'w']]);
    await store.close();
    fixture.clock.clear();
    const again = await fixture.open();
    expect(again.metrics().scrub.position).toBe(position);
    await fixture.clock.advance(SMALL_CONFIG.scrubIntervalMs * 3);
    expect(again.metrics().scrub).toMatchObject({ passCount: 1, lastPassKeyCount: 6 });
    await fixture.clock.advance(SMALL_CONFIG.scrubRestMs - 1);
    expect(again.metrics().scrub).toMatchObject({ passCount: 1, passKeyCount: 0 });
    await fixture.clock.advance(SMALL_CONFIG.scrubIntervalMs * 4);
    expect(again.metrics().scrub).toMatchObject({ passCount: 2, lastPassKeyCount: 10 });
  });
});

describe('readers', () => {
  test('a long range sees one applied index, whatever is applied and flushed meanwhile', async () => {
    const fixture = new StoreFixture(1);
    const store = await fixture.open();
    for (let index = 1; index <= 20; index += 1) {
      await applyEntry(store, index, [[`k${String(index).padStart(2, '0')}`, 'old']]);
    }
    await store.flush();
    await applyEntry(store, 21, [
      ['k03', undefined],
      ['k04x', 'old'],
    ]);
    const reading = store.reader.range({ gte: 'k', lt: 'l', limit: 100 });
    await applyEntry(store, 22, [
      ['k20', 'new'],
      ['k01', undefined],
      ['k19', 'new'],
    ]);
    void store.flush();
    const pairs = await reading;
    expect(pairs).toHaveLength(20);
    expect(new Set(pairs.map(([, value]) => text(value)))).toEqual(new Set(['old']));
  });

  test('never see the keys of the store itself', async () => {
    const store = await new StoreFixture(1).open();
    await applyEntry(store, 1, [['k', 'v']]);
    await store.flush();
    expect(await contents(store)).toEqual(new Map([['k', 'v']]));
    const limited = await store.reader.range({ gte: '', lt: '\xff', limit: 0 });
    expect(limited).toEqual([]);
  });

  test('are refused after a close', async () => {
    const store = await new StoreFixture(1).open();
    await store.close();
    await expect(store.reader.get('x')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });
});
