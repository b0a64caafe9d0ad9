// Keys: safe for any gid, ordered for the questions asked; pages of the listing.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  activeRange,
  definitionKey,
  definitionRange,
  dueOfKey,
  dueRange,
  expiryRange,
  gidOfDefinitionKey,
  gidOfExpiryKey,
  type Key,
  type ListQuery,
  listRanges,
  mergeListing,
  stateKey,
  stuckOfKey,
  stuckRange,
  targetOf,
} from '../../../../src/engine/machine/index.ts';
import {
  dueKey,
  expiryKey,
  listingKey,
  sessionKey,
  sessionResultsKey,
  stuckKey,
} from '../../../../src/engine/machine/keyspace.ts';
import { START_MS } from './fixtures.ts';

const gid = fc.oneof(
  fc.string({ minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  fc.constantFrom('order1', 'order10', 'order1\x00', '\x00', 'ü', '\ufeffbom', '🦊', '\xff\xff'),
);
const timeMs = fc.integer({ min: 0, max: 2 ** 48 - 1 });

function within(key: Key, range: { readonly gte: Key; readonly lt: Key }): boolean {
  return key >= range.gte && key < range.lt;
}

describe('keys', () => {
  test('defect 12.5: every gid has keys of its own and comes back from each of them', () => {
    fc.assert(
      fc.property(gid, gid, timeMs, (a, b, at) => {
        expect(definitionKey(a) === definitionKey(b)).toBe(a === b);
        expect(stateKey(a)).not.toBe(definitionKey(b));
        expect(gidOfDefinitionKey(definitionKey(a))).toBe(a);
        expect(dueOfKey(dueKey(at, a))).toEqual({ gid: a, dueMs: at });
        expect(gidOfExpiryKey(expiryKey(at, a))).toBe(a);
        expect(dueKey(at, a) === dueKey(at, b)).toBe(a === b);
      }),
    );
  });

  test('are bytes with a prefix that is not the store’s, each kind within its own range', () => {
    fc.assert(
      fc.property(gid, timeMs, (a, at) => {
        const keys = [
          definitionKey(a),
          stateKey(a),
          listingKey('failed', 'saga', at, a),
          dueKey(at, a),
          expiryKey(at, a),
          stuckKey('http://x', 'ongoing', a),
          sessionKey(3),
          sessionResultsKey(3, 4, 5),
        ];
        expect(new Set(keys.map((key) => key.charCodeAt(0))).size).toBe(keys.length);
        for (const key of keys) {
          expect(key.charCodeAt(0)).toBeGreaterThan(0);
          for (let position = 0; position < key.length; position += 1) {
            expect(key.charCodeAt(position)).toBeLessThan(256);
          }
        }
        expect(keys.filter((key) => within(key, definitionRange()))).toEqual([definitionKey(a)]);
        expect(keys.filter((key) => within(key, activeRange()))).toEqual([dueKey(at, a)]);
        expect(keys.filter((key) => within(key, stuckRange()))).toHaveLength(1);
      }),
    );
  });

  test('due and expiry keys are ordered by time, and their ranges are exact', () => {
    fc.assert(
      fc.property(gid, gid, timeMs, timeMs, (a, b, at, other) => {
        if (at !== other) expect(dueKey(at, a) < dueKey(other, b)).toBe(at < other);
        expect(within(dueKey(at, a), dueRange(0, other))).toBe(at < other);
        expect(within(dueKey(at, a), dueRange(other, 2 ** 48))).toBe(
          at >= other && at < 2 ** 48 - 1,
        );
        if (other < 2 ** 48 - 1) {
          expect(within(expiryKey(at, a), expiryRange(other))).toBe(at <= other);
        }
      }),
    );
  });

  test('what is stuck comes back, and no target is taken for another', () => {
    const target = fc.oneof(gid, fc.constantFrom('http://a', 'http://a\x00', 'http://a\x00\x01b'));
    fc.assert(
      fc.property(target, target, gid, (one, other, a) => {
        const key = stuckKey(one, 'failure', a);
        expect(stuckOfKey(key)).toEqual({ target: one, errorClass: 'failure', gid: a });
        expect(within(key, stuckRange(other))).toBe(one === other);
      }),
    );
  });

  test('a target is scheme and authority', () => {
    expect(targetOf('http://a:80/x?y')).toBe('http://a:80');
    expect(targetOf('https://b?z')).toBe('https://b');
    expect(targetOf('service/method')).toBe('service/method');
  });
});

describe('the listing', () => {
  interface Row {
    readonly gid: string;
    readonly status: 'prepared' | 'submitted' | 'succeed';
    readonly type: 'saga' | 'tcc';
    readonly createTimeMs: number;
  }
  const rows = fc.uniqueArray(
    fc.record({
      gid,
      status: fc.constantFrom('prepared' as const, 'submitted' as const, 'succeed' as const),
      type: fc.constantFrom('saga' as const, 'tcc' as const),
      createTimeMs: fc.integer({ min: START_MS, max: START_MS + 5 }),
    }),
    { selector: (row) => row.gid, maxLength: 30 },
  );
  const filter = fc.record({
    status: fc.option(fc.constantFrom('prepared' as const, 'succeed' as const), { nil: undefined }),
    type: fc.option(fc.constantFrom('saga' as const), { nil: undefined }),
    createdFromMs: fc.option(fc.constantFrom(0, START_MS + 2), { nil: undefined }),
    createdToMs: fc.option(fc.constantFrom(START_MS + 4), { nil: undefined }),
  });

  function page(keys: readonly Key[], query: ListQuery, limit: number) {
    const ranges = listRanges(query);
    if (ranges === undefined) throw new Error('bad position');
    const read = ranges.map((range) =>
      keys
        .filter((key) => within(key, range))
        .sort()
        .slice(0, limit + 1),
    );
    return mergeListing(read, limit);
  }
  const keyOf = (row: Row): Key => listingKey(row.status, row.type, row.createTimeMs, row.gid);

  test('pages give every match once, newest first, with exact limits', () => {
    fc.assert(
      fc.property(rows, filter, fc.integer({ min: 1, max: 7 }), (all, asked, limit) => {
        const keys = all.map(keyOf);
        const seen: string[] = [];
        let position = '';
        do {
          const { gids, nextPosition } = page(keys, { ...asked, position }, limit);
          expect(gids.length).toBeLessThanOrEqual(limit);
          if (nextPosition !== '') expect(gids).toHaveLength(limit);
          expect(nextPosition).toMatch(/^[A-Za-z0-9_-]*$/);
          seen.push(...gids);
          position = nextPosition;
        } while (position !== '');
        const matching = all.filter(
          (row) =>
            (asked.status ?? row.status) === row.status &&
            (asked.type ?? row.type) === row.type &&
            row.createTimeMs >= (asked.createdFromMs ?? 0) &&
            row.createTimeMs <= (asked.createdToMs ?? Number.POSITIVE_INFINITY),
        );
        expect([...seen].sort()).toEqual(matching.map((row) => row.gid).sort());
        const times = seen.map((one) => all.find((row) => row.gid === one)?.createTimeMs ?? 0);
        expect(times).toEqual([...times].sort((a, b) => b - a));
      }),
    );
  });

  test('a scan is stable while transactions come, finish and go', () => {
    const row = (n: number, status: Row['status']): Row => ({
      gid: `g${n}`,
      status,
      type: 'saga',
      createTimeMs: START_MS + n,
    });
    const query = {
      status: undefined,
      type: undefined,
      createdFromMs: undefined,
      createdToMs: undefined,
    };
    const before = [1, 2, 3, 4, 5].map((n) => keyOf(row(n, 'submitted')));
    const first = page(before, { ...query, position: '' }, 2);
    expect(first.gids).toEqual(['g5', 'g4']);
    const after = [6, 4, 3, 1].map((n) => keyOf(row(n, 'succeed')));
    const second = page(after, { ...query, position: first.nextPosition }, 2);
    expect(second).toEqual({ gids: ['g3', 'g1'], nextPosition: '' });
  });

  test.each(['x', '1', '1!', '1AAAA', '2AAAAAAAAAAAA', '1____________'])(
    'a position that was never given out is refused: %s',
    (position) => {
      const open = { createdFromMs: undefined, createdToMs: undefined };
      expect(listRanges({ status: undefined, type: undefined, ...open, position })).toBeUndefined();
    },
  );
});
