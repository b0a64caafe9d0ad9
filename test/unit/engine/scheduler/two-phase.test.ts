// TCC and XA through the real scheduler and machine: calls, timeouts, takeovers, waits.

import { describe, expect, it } from 'vitest';
import type { OperationRequest, TransactionInput } from '../../../../src/engine/machine/index.ts';
import { isNotFinishedButIdle, unfinishedBecause } from '../../../../src/engine/scheduler/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

type Kind = 'tcc' | 'xa';
const COMMIT_MS = 2;

function bare(type: Kind, options: TransactionInput['options'] = {}): TransactionInput {
  return saga('g', 0, { type, steps: undefined, payloads: undefined, options });
}

function operate(node: SchedulerNode, request: OperationRequest) {
  const applied = node.applyNow(node.request(request));
  return applied.operations[0]?.result.kind;
}

/** A leader with a prepared transaction and two branches. */
function prepared(type: Kind, options: TransactionInput['options'] = {}): SchedulerNode {
  const node = new SchedulerNode();
  node.lead();
  const defaults = NODE_DEFAULTS;
  expect(operate(node, { kind: 'prepare', transaction: bare(type, options), defaults })).toBe(
    'success',
  );
  for (const branchId of ['01', '02']) {
    const url = (name: string) => `http://s${branchId}/${name}`;
    const registration =
      type === 'tcc'
        ? ({ kind: 'tcc', confirm: url('ok'), cancel: url('undo') } as const)
        : ({ kind: 'xa', url: url('xa') } as const);
    const payload = new TextEncoder().encode(`{"b":"${branchId}"}`);
    const request = { kind: 'registerBranch', gid: 'g', branchId, registration, payload } as const;
    expect(operate(node, request)).toBe('success');
  }
  return node;
}

function abort(node: SchedulerNode, type: Kind): void {
  expect(operate(node, { kind: 'abort', gid: 'g', type, rollbackReason: 'no stock' })).toBe(
    'success',
  );
}

async function look(node: SchedulerNode, afterMs: number) {
  await node.clock.advance(afterMs);
  const transaction = node.committedNow('g');
  if (transaction === undefined) throw new Error('no transaction');
  return {
    status: transaction.state.status,
    idle: isNotFinishedButIdle(transaction, node.clock.nowMs),
    because: unfinishedBecause(transaction).kind,
  };
}

describe('5.9.1: tcc', () => {
  it('confirms last registered first, with what was registered', async () => {
    const node = prepared('tcc');
    await node.submit(bare('tcc'));
    await node.clock.advance(100);
    expect(node.caller.sequence).toEqual(['confirm 02', 'confirm 01']);
    const bodies = node.caller.written.map(({ call }) => new TextDecoder().decode(call.payload));
    expect(bodies).toEqual(['{"b":"02"}', '{"b":"01"}']);
    expect(await node.statuses('g')).toEqual([
      'succeed',
      'prepared',
      'succeed',
      'prepared',
      'succeed',
    ]);
  });

  it('cancels last registered first, after the abort is committed', async () => {
    const node = prepared('tcc');
    abort(node, 'tcc');
    await node.clock.advance(100);
    expect(node.caller.sequence).toEqual(['cancel 02', 'cancel 01']);
    expect(node.committedNow('g')?.state).toMatchObject({
      status: 'failed',
      rollbackReason: 'no stock',
    });
  });

  it('two branches cost two awaited commits: the submit, and their results with the end', async () => {
    const node = prepared('tcc');
    await node.submit(bare('tcc'));
    await node.clock.advance(100);
    expect(node.advances).toHaveLength(1);
  });

  it('12.1: a second submit in the middle repeats no confirm and skips none', async () => {
    const node = prepared('tcc');
    node.caller.answer = ({ branchId }) => ({
      kind: 'success',
      afterMs: branchId === '02' ? 1 : 80,
    });
    await node.submit(bare('tcc'));
    await node.clock.advance(50);
    await node.submit(bare('tcc'));
    await node.clock.advance(200);
    expect(node.caller.sequence).toEqual(['confirm 02', 'confirm 01']);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });

  it('4.5: a failure is retried with back-off, and never cancels anything', async () => {
    const node = prepared('tcc');
    node.caller.answer = () => ({ kind: 'failure' });
    await node.submit(bare('tcc'));
    await node.clock.advance(70_000);
    expect(new Set(node.caller.sequence)).toEqual(new Set(['confirm 02']));
    expect(node.caller.sequence.length).toBeGreaterThan(1);
    node.caller.answer = () => ({ kind: 'success' });
    await node.clock.advance(400_000);
    expect((await node.statuses('g'))[0]).toBe('succeed');
    expect(node.caller.sequence.some((call) => call.startsWith('cancel'))).toBe(false);
  });
});

describe('5.9.2: xa', () => {
  it('4.6: commits in order of registration, never with a body', async () => {
    const node = prepared('xa');
    await node.submit(bare('xa'));
    await node.clock.advance(100);
    expect(node.caller.sequence).toEqual(['commit 01', 'commit 02']);
    expect(node.caller.written.map(({ call }) => call.payload.length)).toEqual([0, 0]);
    expect(node.caller.written.map(({ call }) => call.type)).toEqual(['xa', 'xa']);
  });

  it('rolls back in order of registration', async () => {
    const node = prepared('xa');
    abort(node, 'xa');
    await node.clock.advance(100);
    expect(node.caller.sequence).toEqual(['rollback 01', 'rollback 02']);
    expect((await node.statuses('g'))[0]).toBe('failed');
  });
});

describe.each(['tcc', 'xa'] as const)('%s', (type) => {
  it('5.5.2, 5.5.6: rolls back by itself at its limit, with the reason', async () => {
    const node = prepared(type, { timeoutToFailS: 3 });
    await node.clock.advance(2990);
    expect((await node.statuses('g'))[0]).toBe('prepared');
    await node.clock.advance(100);
    expect(node.committedNow('g')?.state).toMatchObject({
      status: 'failed',
      rollbackReason: 'Timeout after 3 seconds',
    });
    expect(node.caller.sequence).toHaveLength(2);
  });

  it('5.5.1: rolls back by itself at the default limit', async () => {
    const node = prepared(type);
    await node.clock.advance(34_900);
    expect((await node.statuses('g'))[0]).toBe('prepared');
    await node.clock.advance(300);
    expect(node.committedNow('g')?.state.rollbackReason).toBe('Timeout after 35 seconds');
  });

  it('a leader that takes over in the middle ends it the same way', async () => {
    for (const way of ['submit', 'abort'] as const) {
      const node = prepared(type);
      node.caller.answer = () => ({ kind: 'success', afterMs: 50 });
      if (way === 'submit') await node.submit(bare(type));
      else abort(node, type);
      await node.clock.advance(60);
      node.leadAgain();
      await node.clock.advance(2000);
      expect((await node.statuses('g'))[0]).toBe(way === 'submit' ? 'succeed' : 'failed');
      const ops = new Set(node.caller.written.map(({ call }) => call.op));
      expect(ops.size).toBe(1);
      const branches = new Set(node.caller.written.map(({ call }) => call.branchId));
      expect(branches.size).toBe(2);
    }
  });

  it('a leader that takes over a prepared one lets it time out', async () => {
    const node = prepared(type, { timeoutToFailS: 3 });
    await node.clock.advance(1000);
    node.leadAgain();
    await node.clock.advance(3000);
    expect((await node.statuses('g'))[0]).toBe('failed');
  });

  it('without branches it ends at once, either way', async () => {
    const node = new SchedulerNode();
    node.lead();
    await node.submit(bare(type));
    await node.clock.advance(10 * COMMIT_MS);
    expect(await node.statuses('g')).toEqual(['succeed']);
    expect(node.caller.written).toEqual([]);
  });

  it.each(['ongoing', 'unknown', 'failure'] as const)(
    '5.4.2: a wait ends when a call ended %s, and knows it',
    async (kind) => {
      const node = prepared(type);
      node.caller.answer = () => ({ kind, afterMs: 20 });
      await node.submit(bare(type));
      expect(await look(node, 10)).toEqual({
        status: 'submitted',
        idle: false,
        because: 'running',
      });
      expect(await look(node, 100)).toEqual({ status: 'submitted', idle: true, because: kind });
      const aborted = prepared(type);
      aborted.caller.answer = () => ({ kind, afterMs: 20 });
      abort(aborted, type);
      expect(await look(aborted, 10)).toMatchObject({ idle: false });
      expect(await look(aborted, 100)).toEqual({ status: 'aborting', idle: true, because: kind });
    },
  );

  it('5.11.1, 12.25: a call that ends after a forced stop is recorded', async () => {
    const node = prepared(type);
    node.caller.answer = () => ({ kind: 'success', afterMs: 50 });
    await node.submit(bare(type));
    await node.clock.advance(10);
    operate(node, { kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    await node.clock.advance(200);
    const statuses = await node.statuses('g');
    expect(statuses[0]).toBe('failed');
    expect(statuses.filter((status) => status === 'succeed')).toHaveLength(1);
    expect(node.caller.written).toHaveLength(1);
  });
});
