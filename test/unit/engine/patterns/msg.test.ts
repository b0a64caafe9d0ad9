// What a message does next, asked of the pattern alone.

import { expect, test } from 'vitest';
import type { BranchResult } from '../../../../src/engine/machine/index.ts';
import { createPatterns, type Knowledge } from '../../../../src/engine/patterns/index.ts';
import { bareInput, bytes, DEFAULTS, START_MS } from '../machine/fixtures.ts';

const knowledge = {
  drivenSinceAccepted: true,
  started: new Set<number>(),
  inflight: new Set<number>(),
  held: new Map<number, BranchResult>(),
  commitEachResult: false,
} satisfies Knowledge;

test('P8: rows without a URL come together, not one look each; what is behind them waits', () => {
  const { msg } = createPatterns();
  const actions = ['', '', '', 'http://a/in', ''];
  const input = {
    ...bareInput('g', { type: 'msg' }),
    steps: actions.map((action) => ({ action, compensate: '' })),
    payloads: actions.map(() => bytes('1')),
  };
  const at = { timeMs: START_MS, term: 1, submitted: true };
  const transaction = msg?.create(input, DEFAULTS, at);
  if (msg === undefined || transaction === undefined) throw new Error('there is no such pattern');
  const next = () => msg.next(transaction, START_MS, knowledge).call;
  const succeed = (row: number): void => {
    knowledge.held.set(row, {
      row,
      attempt: 1,
      term: 1,
      atMs: START_MS,
      durationMs: 0,
      outcome: 'success',
      detail: '',
      retryAtMs: undefined,
      intervalMs: 10_000,
    });
  };
  expect(next()).toEqual([1, 2, 3]);
  for (const row of [1, 2, 3]) succeed(row);
  expect(next()).toEqual([4]);
  succeed(4);
  expect(next()).toEqual([5]);
});
