// Goal: whatever happens to the disk, an opened store equals the state at one applied index, at or
// above the last flush mark; otherwise it says that it is stale.
// Method: random histories against a Map, with power cuts, kills, full disks and flipped bits.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyEntry, contents, StoreFixture, seededRandom, settle, text } from './harness.ts';

type Mutation = readonly [string, string | undefined];

const key = fc.constantFrom(...['a', 'b', 'c', 'd', 'e', 'f', 'ü', '\xfe'].map((k) => `t${k}`));
const mutation: fc.Arbitrary<Mutation> = fc.tuple(
  key,
  fc.option(fc.string({ maxLength: 12, unit: 'binary-ascii' }), { nil: undefined }),
);
type Step =
  | { readonly kind: 'apply'; readonly mutations: readonly Mutation[] }
  | { readonly kind: 'flush' | 'crash' | 'kill' | 'startFlush' | 'read' }
  | { readonly kind: 'range'; readonly reverse: boolean; readonly limit: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('apply' as const),
      mutations: fc.array(mutation, { maxLength: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('flush' as const, 'startFlush' as const, 'read' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('crash' as const, 'kill' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      reverse: fc.boolean(),
      limit: fc.integer({ min: 1, max: 9 }),
    }),
  },
);

function mutate(
  model: ReadonlyMap<string, string>,
  mutations: readonly Mutation[],
): Map<string, string> {
  const next = new Map(model);
  for (const [name, value] of mutations) {
    if (value === undefined) next.delete(name);
    else next.set(name, value);
  }
  return next;
}

function sorted(model: ReadonlyMap<string, string>): [string, string][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1));
}

describe('the store against a map', () => {
  test('equals the model through flushes, power cuts and kills, and never goes behind a mark', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.integer(), async (steps, seed) => {
        const fixture = new StoreFixture(seed);
        let store = await fixture.open();
        // The model at every index: what a crash may go back to.
        const history: Map<string, string>[] = [new Map<string, string>()];
        const digests: bigint[] = [store.apply.digest()];
        for (const action of steps) {
          const model = history.at(-1)!;
          switch (action.kind) {
            case 'apply': {
              const wait = store.apply.prefetch(action.mutations.map(([name]) => name));
              if (wait !== undefined) await wait;
              for (const [name] of action.mutations) {
                expect(text(store.apply.get(name))).toBe(model.get(name));
              }
              let current = model;
              for (const [name, value] of action.mutations) {
                if (value === undefined) store.apply.delete(name);
                else store.apply.put(name, Buffer.from(value, 'latin1'), !current.has(name));
                current = mutate(current, [[name, value]]);
                expect(text(store.apply.get(name))).toBe(value);
              }
              store.apply.commitBatch({ index: history.length, term: 1, timeMs: 0 });
              history.push(new Map(current));
              digests.push(store.apply.digest());
              break;
            }
            case 'flush':
              expect(await store.flush()).toBe(true);
              expect(store.flushedIndex).toBe(history.length - 1);
              break;
            case 'startFlush':
              void store.flush();
              for (let i = 0; i < seed % 5; i += 1) await Promise.resolve();
              break;
            case 'read':
              expect(sorted(await contents(store))).toEqual(sorted(model));
              for (const [name, value] of model)
                expect(text(await store.reader.get(name))).toBe(value);
              break;
            case 'range': {
              const pairs = await store.reader.range({
                gte: 'tb',
                lt: 'tü',
                reverse: action.reverse,
                limit: action.limit,
              });
              const expected = sorted(model).filter(([name]) => name >= 'tb' && name < 'tü');
              if (action.reverse) expected.reverse();
              expect(pairs.map(([name, value]) => [name, text(value)])).toEqual(
                expected.slice(0, action.limit),
              );
              break;
            }
            case 'crash':
            case 'kill': {
              if (action.kind === 'crash') fixture.crash();
              else fixture.kill();
              store = await fixture.open();
              const index = store.appliedIndex;
              expect(index).toBeGreaterThanOrEqual(fixture.marks.at(-1)?.appliedIndex ?? 0);
              expect(sorted(await contents(store))).toEqual(sorted(history[index]!));
              expect(store.apply.digest()).toBe(digests[index]);
              history.splice(index + 1);
              digests.splice(index + 1);
              break;
            }
          }
        }
        expect(fixture.fatals).toEqual([]);
        expect(fixture.damaged).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test('after any fault of LevelDB is whole, or says that it is stale', async () => {
    let staleCount = 0;
    for (let seed = 1; seed <= 150; seed += 1) {
      const random = seededRandom(seed);
      const fixture = new StoreFixture(seed);
      const store = await fixture.open();
      const history: Map<string, string>[] = [new Map<string, string>()];
      for (let index = 1; index <= 40; index += 1) {
        const mutations: Mutation[] = [
          [`t${Math.floor(random.next() * 20)}`, random.next() < 0.2 ? undefined : `v${index}`],
        ];
        // A full disk for a while: the store stops by itself at the first failed write.
        fixture.disk.full = random.next() < 0.02;
        await applyEntry(store, index, mutations);
        history.push(mutate(history.at(-1)!, mutations));
        if (random.next() < 0.6) await Promise.race([store.flush(), settle()]);
        if (fixture.fatals.length > 0) break;
      }
      fixture.disk.full = false;
      if (random.next() < 0.7) fixture.disk.flipWalBit(fixture.path);
      if (random.next() < 0.5) fixture.crash();
      else fixture.kill();
      const result = await fixture.tryOpen();
      if (result.kind === 'stale') {
        staleCount += 1;
        continue;
      }
      const index = result.store.appliedIndex;
      expect(index, `seed ${seed}`).toBeGreaterThanOrEqual(fixture.marks.at(-1)?.appliedIndex ?? 0);
      expect(sorted(await contents(result.store)), `seed ${seed}`).toEqual(sorted(history[index]!));
    }
    expect(staleCount).toBeGreaterThan(20);
  });

  test('with the ledger check switched off, a history with a hole is opened (the bug is findable)', async () => {
    let holes = 0;
    for (let seed = 1; seed <= 60 && holes === 0; seed += 1) {
      const fixture = new StoreFixture(seed, undefined, ['noLedgerCheck']);
      const store = await fixture.open();
      const history: Map<string, string>[] = [new Map<string, string>()];
      for (let index = 1; index <= 20; index += 1) {
        const mutations: Mutation[] = [[`t${index}`, `v${index}`]];
        await applyEntry(store, index, mutations);
        history.push(mutate(history.at(-1)!, mutations));
        await store.flush();
      }
      fixture.disk.flipWalBit(fixture.path);
      fixture.kill();
      const reopened = await fixture.open();
      const found = sorted(await contents(reopened));
      if (JSON.stringify(found) !== JSON.stringify(sorted(history[reopened.appliedIndex]!)))
        holes += 1;
    }
    expect(holes).toBe(1);
  });
});
