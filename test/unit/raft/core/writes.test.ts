import { expect, test } from 'vitest';
import { Writes } from '../../../../src/raft/core/log/writes.ts';

const START = { term: 1, vote: undefined };

test('nothing counts before its write completes', () => {
  const writes = new Writes(3, START);
  const writeId = writes.begin(5, { term: 2, vote: 1 });
  expect([writes.durableIndex, writes.durableHardState.term]).toEqual([3, 1]);
  writes.complete(writeId);
  expect([writes.durableIndex, writes.durableHardState]).toEqual([5, { term: 2, vote: 1 }]);
});

test('completing a write completes those before it, and repeats are harmless', () => {
  const writes = new Writes(0, START);
  const first = writes.begin(1, undefined);
  const second = writes.begin(2, undefined);
  writes.complete(second);
  expect([writes.durableIndex, writes.outstandingCount]).toEqual([2, 0]);
  writes.complete(first);
  expect(writes.durableIndex).toBe(2);
});

test('W2: a write that a truncation overtook does not attest what replaced its entries', () => {
  const writes = new Writes(2, START);
  const overtaken = writes.begin(6, undefined);
  writes.truncateFrom(4);
  const later = writes.begin(5, { term: 2, vote: undefined });
  writes.complete(overtaken);
  expect(writes.durableIndex).toBe(3);
  writes.complete(later);
  expect(writes.durableIndex).toBe(5);
});

test('a truncation of durable entries lowers the durable index at once', () => {
  const writes = new Writes(6, START);
  writes.truncateFrom(4);
  expect(writes.durableIndex).toBe(3);
});

test('a write that was never asked for is a broken invariant', () => {
  expect(() => new Writes(0, START).complete(1)).toThrow(/never asked for/);
});
