// A hundred thousand waiting transactions are taken over without being kept.

import { expect, it } from 'vitest';
import type { Transaction } from '../../../../src/engine/machine/index.ts';
import { createPatterns } from '../../../../src/engine/patterns/index.ts';
import type { TransactionSource } from '../../../../src/engine/scheduler/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const COUNT = 100_000;
const START_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

/** Waiting for its next attempt: the sooner the smaller its number. */
function waiting(number: number): Transaction {
  const pattern = createPatterns().saga;
  const at = { timeMs: START_MS - HOUR_MS, term: 1, submitted: true };
  const created = pattern?.create(saga(`w${number}`, 1), NODE_DEFAULTS, at);
  if (created === undefined) {
    throw new Error('no saga pattern');
  }
  const retryAtMs = START_MS + 30_000 + number * 100;
  const branches = created.state.branches.map((progress, row) =>
    row === 1 ? { ...progress, attemptCount: 1, unknownCount: 1, retryAtMs } : progress,
  );
  return { ...created, state: { ...created.state, dueMs: retryAtMs, branches } };
}

function dueOf(number: number): number {
  return START_MS + 30_000 + number * 100;
}

it('leaves what only waits in the index', async () => {
  let loads = 0;
  let loading = 0;
  let loadingMost = 0;
  const source: TransactionSource = {
    load: async (gid) => {
      loads += 1;
      loading += 1;
      loadingMost = Math.max(loadingMost, loading);
      await Promise.resolve();
      loading -= 1;
      return waiting(Number(gid.slice(1)));
    },
    due: async (range, after, limit) => {
      await Promise.resolve();
      const items = [];
      let number = after === undefined ? 0 : Number(after) + 1;
      for (; number < COUNT && items.length < limit; number += 1) {
        if (dueOf(number) >= range.fromMs && dueOf(number) < range.toMs) {
          items.push({ gid: `w${number}`, dueMs: dueOf(number) });
        }
      }
      return { items, next: items.length < limit ? undefined : String(number - 1) };
    },
    active: async (after, limit) => {
      await Promise.resolve();
      const from = after === undefined ? 0 : Number(after) + 1;
      const to = Math.min(COUNT, from + limit);
      const items = Array.from({ length: to - from }, (_, i) => `w${from + i}`);
      return { items, next: to >= COUNT ? undefined : String(to - 1) };
    },
    expired: async () => [],
  };
  const node = new SchedulerNode({ source });
  node.caller.answer = () => ({ kind: 'hang' });
  node.lead();
  let most = 0;
  for (let step = 0; step < 1000 && node.scheduler.stats().takingOver; step += 1) {
    await node.clock.advance(5);
    const { runningCount, dueEntryCount, resumingCount } = node.scheduler.stats();
    most = Math.max(most, runningCount + dueEntryCount + resumingCount);
  }
  expect(node.scheduler.stats()).toMatchObject({ takingOver: false, runningCount: 0 });
  expect(loads).toBe(COUNT);
  expect(loadingMost).toBeLessThanOrEqual(64);
  // Those of the next minute, and a page under way.
  expect(most).toBeLessThan(1500);
  await node.clock.advance(31_000);
  expect(node.caller.askedCount).toBeGreaterThan(0);
});
