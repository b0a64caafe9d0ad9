// When a waiting client is told that the transaction is not finished, from committed state alone.

import { describe, expect, it } from 'vitest';
import { isNotFinishedButIdle } from '../../../../src/engine/scheduler/index.ts';
import { SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

async function look(
  node: SchedulerNode,
  durationMs: number,
): Promise<{ readonly idle: boolean; readonly status: string }> {
  await node.clock.advance(durationMs);
  const transaction = await node.transaction('g');
  if (transaction === undefined) {
    throw new Error('no transaction');
  }
  return {
    idle: isNotFinishedButIdle(transaction, node.clock.nowMs),
    status: transaction.state.status,
  };
}

function leading(): SchedulerNode {
  const node = new SchedulerNode();
  node.lead();
  return node;
}

describe('a wait', () => {
  it('goes on while branches run that have no result yet', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', afterMs: 100 });
    await node.submit(saga('g', 2));
    expect(await look(node, 1)).toEqual({ idle: false, status: 'submitted' });
    expect(await look(node, 130)).toEqual({ idle: false, status: 'submitted' });
    expect(await look(node, 200)).toEqual({ idle: false, status: 'succeed' });
  });

  it.each(['ongoing', 'unknown'] as const)('ends when an attempt ended %s', async (kind) => {
    const node = leading();
    node.caller.answer = ({ branchId }) => ({ kind: branchId === '02' ? kind : 'success' });
    await node.submit(saga('g', 3));
    expect(await look(node, 50)).toEqual({ idle: true, status: 'submitted' });
  });

  it('goes on while another branch still runs', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) =>
      branchId === '01' ? { kind: 'ongoing' } : { kind: 'success', afterMs: 500 };
    await node.submit(saga('g', 2, { customData: '{"concurrent":true}' }));
    expect((await look(node, 100)).idle).toBe(false);
    expect((await look(node, 600)).idle).toBe(true);
  });

  it('goes on through an abort, and ends when a compensation has no result', async () => {
    const node = leading();
    node.caller.answer = ({ op }) =>
      op === 'action' ? { kind: 'failure' } : { kind: 'unknown', afterMs: 100 };
    await node.submit(saga('g', 1));
    expect(await look(node, 50)).toEqual({ idle: false, status: 'aborting' });
    expect(await look(node, 200)).toEqual({ idle: true, status: 'aborting' });
  });

  it('goes on through the hurried retries of retry_limit, to the reason they end with', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    await node.submit(saga('g', 1, { options: { retryLimit: 3 } }));
    for (let tries = 0; tries < 20; tries += 1) {
      expect(await look(node, 5)).toEqual({ idle: false, status: 'submitted' });
    }
    node.caller.answer = ({ op }) => ({ kind: op === 'action' ? 'unknown' : 'success' });
    expect(await look(node, 1_000)).toEqual({ idle: false, status: 'failed' });
  });

  it('goes on while the next attempt is due at once', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    await node.submit(saga('g', 1));
    await look(node, 100);
    const transaction = await node.transaction('g');
    const laterMs = node.clock.nowMs + 60_000;
    expect(transaction && isNotFinishedButIdle(transaction, laterMs)).toBe(false);
  });
});
