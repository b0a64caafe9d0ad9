import { describe, expect, test } from 'vitest';
import type { Store } from '../../../../src/engine/store/index.ts';
import type { SnapshotMeta } from '../../../../src/raft/index.ts';
import {
  applyEntry,
  bytes,
  contents,
  StoreFixture,
  seededRandom,
  settle,
  text,
} from './harness.ts';

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
  for (const chunk of chunks) {
    await settle();
    yield chunk;
  }
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const collected: Uint8Array[] = [];
  for await (const chunk of chunks) collected.push(new Uint8Array(chunk));
  return collected;
}

/** A store with 30 keys of many sizes, some larger than a chunk. */
async function filled(): Promise<{ fixture: StoreFixture; store: Store }> {
  const fixture = new StoreFixture(1);
  const store = await fixture.open();
  for (let index = 1; index <= 30; index += 1) {
    const size = index % 7 === 0 ? 700 : index;
    await applyEntry(store, index, [
      [`k${index}\xff\x00`, 'x'.repeat(size)],
      ['last', `${index}`],
    ]);
  }
  return { fixture, store };
}

async function sent(): Promise<{
  meta: SnapshotMeta;
  chunks: Uint8Array[];
  digest: bigint;
  expected: Map<string, string>;
}> {
  const { store } = await filled();
  const source = await store.snapshot();
  const chunks = await collect(source.chunks());
  await source.close();
  return {
    meta: source.meta,
    chunks,
    digest: store.apply.digest(),
    expected: await contents(store),
  };
}

describe('a snapshot', () => {
  test('arrives whole: state, digest and configuration', async () => {
    const { meta, chunks, digest, expected } = await sent();
    expect(chunks.length).toBeGreaterThan(20);
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    await applyEntry(store, 3, [['stale', 'x']]);
    const generation = await store.receive(meta, stream(chunks));
    expect(store.appliedIndex).toBe(3);
    await store.install(meta, generation);
    expect(store.generation).toBe(generation);
    expect(store.appliedIndex).toBe(30);
    expect(store.apply.appliedTerm).toBe(1);
    expect(store.apply.appliedTimeMs).toBe(300);
    expect(store.apply.digest()).toBe(digest);
    expect(await contents(store)).toEqual(expected);
    await settle();
    expect(fixture.disk.paths()).toEqual([`data/state-${generation}`]);

    // It goes on from there, and a crash does not undo the switch.
    await applyEntry(store, 31, [['new', '1']]);
    await store.flush();
    fixture.generation = generation;
    fixture.logBaseIndex = 30;
    fixture.crash();
    const again = await fixture.open();
    expect(again.appliedIndex).toBe(31);
    expect(text(await again.reader.get('new'))).toBe('1');
    const onward = await again.snapshot();
    expect(onward.meta.configuration).toEqual(meta.configuration);
    await onward.close();
  });

  test('is an image of the flushed index; applying and flushing go on meanwhile', async () => {
    const { store } = await filled();
    const expected = await contents(store);
    const source = await store.snapshot();
    expect(source.meta).toMatchObject({ index: 30, term: 1, timeMs: 300 });
    const chunks: Uint8Array[] = [];
    let index = 30;
    for await (const chunk of source.chunks()) {
      index += 1;
      await applyEntry(store, index, [
        ['last', 'changed'],
        [`k${index % 30}\xff\x00`, undefined],
      ]);
      await store.flush();
      chunks.push(chunk);
    }
    await source.close();
    const other = new StoreFixture(3);
    const target = await other.open();
    await target.install(source.meta, await target.receive(source.meta, stream(chunks)));
    expect(await contents(target)).toEqual(expected);
  });

  test('does not wait for a flush that cannot happen', async () => {
    const { fixture, store } = await filled();
    await store.flush();
    fixture.low = true;
    await applyEntry(store, 31, [['a', '1']]);
    const source = await store.snapshot();
    expect(source.meta.index).toBe(30);
    await source.close();
  });

  test('of an empty state is refused', async () => {
    const store = await new StoreFixture(1).open();
    await expect(store.snapshot()).rejects.toMatchObject({ code: 'SNAPSHOT_EMPTY' });
  });

  test('damaged, cut, repeated or swapped chunks are found, and nothing is left of them', async () => {
    const { meta, chunks } = await sent();
    const random = seededRandom(7);
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    const refuse = async (bad: readonly Uint8Array[], code: string): Promise<void> => {
      await expect(store.receive(meta, stream(bad))).rejects.toMatchObject({
        code,
        outcome: 'none',
      });
      expect(fixture.disk.paths()).toEqual([fixture.path]);
    };
    for (let position = 0; position < chunks.length; position += 5) {
      const flipped = chunks.map((chunk) => new Uint8Array(chunk));
      const chunk = flipped[position]!;
      // Past the format version: that one has an error of its own.
      const at = 6 + Math.floor(random.next() * (chunk.length - 6));
      chunk[at] = chunk[at]! ^ 4;
      await refuse(flipped, 'SNAPSHOT_DAMAGED');
      await refuse(chunks.slice(0, position), 'SNAPSHOT_CUT');
      await refuse(
        [...chunks.slice(0, position + 1), ...chunks.slice(position)],
        'SNAPSHOT_DAMAGED',
      );
    }
    await refuse(
      [...chunks.slice(0, 3), chunks[4]!, chunks[3]!, ...chunks.slice(5)],
      'SNAPSHOT_DAMAGED',
    );
    await refuse([...chunks.slice(0, 3), ...chunks.slice(4)], 'SNAPSHOT_DAMAGED');
    await refuse([bytes('hello')], 'SNAPSHOT_DAMAGED');
    const newer = chunks.map((chunk) => new Uint8Array(chunk));
    newer[0]![5] = 9;
    await refuse(newer, 'STATE_FORMAT_UNKNOWN');
    const other = { ...meta, index: meta.index + 1 };
    await expect(store.receive(other, stream(chunks))).rejects.toMatchObject({
      code: 'SNAPSHOT_DAMAGED',
    });
  });

  test('a stream that fails, and a disk that is full, leave nothing behind', async () => {
    const { meta, chunks } = await sent();
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    const broken = async function* (): AsyncGenerator<Uint8Array, void> {
      yield* chunks.slice(0, 4);
      await settle();
      throw new Error('connection lost');
    };
    await expect(store.receive(meta, broken())).rejects.toMatchObject({
      code: 'SNAPSHOT_NOT_STORED',
    });
    const filling = async function* (): AsyncGenerator<Uint8Array, void> {
      for (const [position, chunk] of chunks.entries()) {
        if (position === 5) fixture.disk.full = true;
        await settle();
        yield chunk;
      }
    };
    await expect(store.receive(meta, filling())).rejects.toMatchObject({
      code: 'SNAPSHOT_NOT_STORED',
    });
    fixture.disk.full = false;
    expect(fixture.disk.paths()).toEqual([fixture.path]);
    expect(fixture.fatals).toEqual([]);
    expect(await store.receive(meta, stream(chunks))).toBeGreaterThan(1);
  });

  test('is received one at a time', async () => {
    const { meta, chunks } = await sent();
    const store = await new StoreFixture(2).open();
    const first = store.receive(meta, stream(chunks));
    await expect(store.receive(meta, stream(chunks))).rejects.toMatchObject({
      code: 'SNAPSHOT_BUSY',
    });
    await first;
  });

  test('a discarded generation is deleted, the current one never', async () => {
    const { meta, chunks } = await sent();
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    const generation = await store.receive(meta, stream(chunks));
    await store.discard(generation);
    await store.discard(store.generation);
    expect(fixture.disk.paths()).toEqual([fixture.path]);
  });

  test('received but not installed before a crash is forgotten; the old state stands', async () => {
    const { meta, chunks } = await sent();
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    await applyEntry(store, 3, [['old', 'x']]);
    await store.flush();
    await store.receive(meta, stream(chunks));
    fixture.crash();
    const again = await fixture.open();
    expect(again.appliedIndex).toBe(3);
    expect(fixture.disk.paths()).toEqual([fixture.path]);
  });

  test('once received it survives a power cut before the switch, if the log names it', async () => {
    const { meta, chunks, expected } = await sent();
    for (let seed = 1; seed <= 20; seed += 1) {
      const fixture = new StoreFixture(seed);
      const store = await fixture.open();
      fixture.generation = await store.receive(meta, stream(chunks));
      fixture.logBaseIndex = meta.index;
      fixture.crash();
      expect(await contents(await fixture.open()), `seed ${seed}`).toEqual(expected);
    }
  });

  test('an old generation is closed only after its readers and outgoing snapshots', async () => {
    const { meta, chunks } = await sent();
    const { fixture, store } = await filled();
    const before = await contents(store);
    const source = await store.snapshot();
    const reading = store.reader.range({ gte: '', lt: '\xff', limit: 1_000 });
    const newer = { ...meta };
    await store.install(newer, await store.receive(newer, stream(chunks)));
    expect(new Map((await reading).map(([key, value]) => [key, text(value)]))).toEqual(before);
    expect(await collect(source.chunks())).not.toHaveLength(0);
    expect(fixture.disk.paths()).toHaveLength(2);
    await source.close();
    await settle();
    expect(fixture.disk.paths()).toHaveLength(1);
    await store.close();
  });

  test('a flush of the old generation that was waiting is given up', async () => {
    const { meta, chunks } = await sent();
    const fixture = new StoreFixture(2);
    const store = await fixture.open();
    fixture.durable = 0;
    await applyEntry(store, 3, [['old', 'x']]);
    const flushing = store.flush();
    await settle();
    await store.install(meta, await store.receive(meta, stream(chunks)));
    expect(await flushing).toBe(false);
    await settle();
    expect(fixture.marks).toEqual([]);
    expect(fixture.disk.paths()).toEqual([`data/state-${store.generation}`]);
  });
});
