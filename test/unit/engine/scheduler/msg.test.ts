// The leader's loop with messages: check-back, delay, delivery, takeover, and what waits are told.
// Names carry the number of the statement or defect of the dtm reference that they defend.

import { describe, expect, it } from 'vitest';
import type { TransactionInput } from '../../../../src/engine/machine/index.ts';
import { isNotFinishedButIdle, unfinishedBecause } from '../../../../src/engine/scheduler/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

type Options = ConstructorParameters<typeof SchedulerNode>[0];

function leading(options: Options = {}): SchedulerNode {
  const node = new SchedulerNode(options);
  node.lead();
  return node;
}

function msg(stepCount: number, over: Partial<TransactionInput> = {}): TransactionInput {
  return saga('g', stepCount, { type: 'msg', queryPrepared: 'http://ap/check', ...over });
}

function prepare(node: SchedulerNode, transaction: TransactionInput): void {
  node.applyNow(node.request({ kind: 'prepare', transaction, defaults: NODE_DEFAULTS }));
}

function status(node: SchedulerNode): string | undefined {
  return node.committedNow('g')?.state.status;
}

/** Times of the calls of `op`, since `startMs`, in seconds. */
function secondsOf(node: SchedulerNode, op: string, startMs: number): readonly number[] {
  return node.caller.written
    .filter(({ call }) => call.op === op)
    .map(({ atMs }) => Math.floor((atMs - startMs) / 1000));
}

describe('delivery', () => {
  it('5.8.3, 5.8.4: calls the rows in order and ends, at the cost of two awaited commits', async () => {
    const node = leading();
    await node.submit(msg(2));
    await node.clock.advance(10);
    expect(node.caller.sequence).toEqual(['action 01', 'action 02']);
    expect(await node.statuses('g')).toEqual(['succeed', 'prepared', 'succeed', 'succeed']);
    expect(node.advances).toHaveLength(1);
  });

  it('5.8.3: stops at the first row that does not succeed, and retries it', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) => ({ kind: branchId === '02' ? 'unknown' : 'success' });
    await node.submit(msg(3));
    await node.clock.advance(5000);
    expect(node.caller.sequence).toEqual(['action 01', 'action 02']);
    node.caller.answer = () => ({ kind: 'success' });
    await node.clock.advance(30_000);
    expect(node.caller.sequence.slice(2)).toEqual(['action 02', 'action 03']);
    expect(status(node)).toBe('succeed');
  });

  it('5.5.3, 5.8.4, 11.17: a failure is retried for ever, and never ends the message', async () => {
    const node = leading({ config: { retryIntervalMsMax: 10_000 } });
    node.caller.answer = () => ({ kind: 'failure', detail: 'no' });
    await node.submit(msg(1));
    await node.clock.advance(600_000);
    expect(node.caller.written.length).toBeGreaterThan(50);
    expect(status(node)).toBe('submitted');
    node.caller.answer = () => ({ kind: 'success' });
    await node.clock.advance(12_000);
    expect(status(node)).toBe('succeed');
  });

  it('11.10, 5.8.3: calls all rows at once where `concurrent` says so; custom_data does not', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) =>
      branchId === '01' ? { kind: 'unknown', afterMs: 50 } : { kind: 'success', afterMs: 100 };
    await node.submit(msg(3, { options: { concurrent: true } }));
    await node.clock.advance(1);
    expect(node.caller.sequence).toEqual(['action 01', 'action 02', 'action 03']);
    await node.clock.advance(200);
    expect((await node.statuses('g')).slice(2)).toEqual(['prepared', 'succeed', 'succeed']);
    const other = leading();
    other.caller.answer = () => ({ kind: 'success', afterMs: 50 });
    await other.submit(msg(2, { customData: '{"concurrent":true}' }));
    await other.clock.advance(10);
    expect(other.caller.sequence).toEqual(['action 01']);
  });

  it('11.3: an empty URL succeeds without a call', async () => {
    const node = leading();
    await node.submit(msg(1, { steps: [{ action: '', compensate: '' }] }));
    await node.clock.advance(10);
    expect(node.caller.askedCount).toBe(0);
    expect(status(node)).toBe('succeed');
  });

  it('UpdateBranchSync: 1 commits each result before the next row is called', async () => {
    const node = leading({ config: { commitEachResult: true } });
    await node.submit(msg(3));
    await node.clock.advance(50);
    expect(node.advances.map(({ results }) => results.length)).toEqual([1, 1, 1]);
  });

  it('holds at most one uncommitted success when the next row is called', async () => {
    const node = leading({ commitMs: 5 });
    node.caller.onWrite = (call) => {
      const rows = node.committedNow('g')?.state.branches ?? [];
      const before = Number(call.branchId) - 1;
      const open = rows.slice(1, before + 1).filter((row) => row.status !== 'succeed');
      expect(open.length).toBeLessThanOrEqual(1);
    };
    await node.submit(msg(6));
    await node.clock.advance(100);
    expect(status(node)).toBe('succeed');
  });
});

describe('the check-back', () => {
  it('5.5.3, 5.8.1: comes after the timeout, with the parameters of 4.6, and success delivers at once', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    prepare(node, msg(2));
    await node.clock.advance(34_990);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(100);
    expect(node.caller.sequence).toEqual(['msg 00', 'action 01', 'action 02']);
    expect(secondsOf(node, 'msg', startMs)).toEqual([35]);
    expect(node.caller.written[0]?.call).toMatchObject({
      gid: 'g',
      type: 'msg',
      branchId: '00',
      op: 'msg',
      url: 'http://ap/check',
      payload: new Uint8Array(),
    });
    expect(status(node)).toBe('succeed');
  });

  it('5.8.1: a failure ends the message, delivers nothing, and 12.15: stores why', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'failure', detail: 'rolled back' });
    prepare(node, msg(2));
    await node.clock.advance(36_000);
    expect(node.caller.sequence).toEqual(['msg 00']);
    expect(node.committedNow('g')?.state).toMatchObject({
      status: 'failed',
      rollbackReason: 'url:http://ap/check return failed: rolled back FAILURE',
    });
  });

  it('4.5, 5.6.6: ongoing asks again at the base interval, unknown ever later', async () => {
    for (const [kind, distances] of [
      ['ongoing', [10, 10, 10]],
      ['unknown', [20, 40, 80]],
    ] as const) {
      const node = leading();
      const startMs = node.clock.nowMs;
      node.caller.answer = () => ({ kind });
      prepare(node, msg(1));
      await node.clock.advance(200_000);
      const seconds = secondsOf(node, 'msg', startMs);
      expect(seconds[0]).toBe(35);
      for (const [at, distance] of distances.entries()) {
        const between = (seconds[at + 1] ?? 0) - (seconds[at] ?? 0);
        expect(Math.abs(between - distance)).toBeLessThanOrEqual(1 + distance / 10);
      }
      expect(status(node)).toBe('prepared');
    }
  });

  it('4.5, 5.6.6: ongoing after unknown asks at the base interval again', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    prepare(node, msg(1));
    await node.clock.advance(100_000);
    node.caller.answer = () => ({ kind: 'ongoing' });
    await node.clock.advance(100_000);
    expect(node.committedNow('g')?.state.branches[0]).toMatchObject({ intervalMs: 10_000 });
  });

  it('11.18: an empty query_prepared counts as success, after the timeout', async () => {
    const node = leading();
    prepare(node, msg(1, { queryPrepared: undefined }));
    await node.clock.advance(34_000);
    expect(status(node)).toBe('prepared');
    await node.clock.advance(2000);
    expect(node.caller.sequence).toEqual(['action 01']);
    expect(status(node)).toBe('succeed');
  });

  it('11.18: that nobody is asked for lets clients have their chance after a takeover', async () => {
    const node = new SchedulerNode({ config: { timeoutGraceMs: 300 } });
    prepare(node, msg(1, { queryPrepared: undefined }));
    await node.clock.advance(36_000);
    node.lead();
    await node.clock.advance(200);
    expect(status(node)).toBe('prepared');
    node.applyNow(node.request({ kind: 'abort', gid: 'g', type: 'msg', rollbackReason: '' }));
    await node.clock.advance(1000);
    expect(status(node)).toBe('failed');
    expect(node.caller.askedCount).toBe(0);
  });

  it('is not made for a message that its client submits or aborts in time', async () => {
    for (const kind of ['submit', 'abort'] as const) {
      const node = leading();
      prepare(node, msg(1));
      await node.clock.advance(1000);
      if (kind === 'submit') await node.submit(msg(1));
      else node.applyNow(node.request({ kind, gid: 'g', type: 'msg', rollbackReason: '' }));
      await node.clock.advance(100_000);
      expect(node.caller.sequence).toEqual(kind === 'submit' ? ['action 01'] : []);
    }
  });

  it('that is under way when its client submits loses: the message is delivered once', async () => {
    const node = leading();
    node.caller.answer = ({ op }) =>
      op === 'msg' ? { kind: 'failure', afterMs: 500 } : { kind: 'success' };
    prepare(node, msg(1));
    await node.clock.advance(35_100);
    expect(node.caller.sequence).toEqual(['msg 00']);
    await node.submit(msg(1));
    await node.clock.advance(1000);
    expect(status(node)).toBe('succeed');
    expect(node.caller.sequence).toEqual(['msg 00', 'action 01']);
  });

  it('that answers after its client aborted changes nothing', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', afterMs: 500 });
    prepare(node, msg(1));
    await node.clock.advance(35_100);
    node.applyNow(node.request({ kind: 'abort', gid: 'g', type: 'msg', rollbackReason: 'no' }));
    await node.clock.advance(60_000);
    expect(status(node)).toBe('failed');
    expect(node.caller.sequence).toEqual(['msg 00']);
  });

  it('P4: survives its leader: the next one asks again', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'hang' });
    prepare(node, msg(1));
    await node.clock.advance(35_500);
    node.caller.answer = () => ({ kind: 'success' });
    node.leadAgain();
    await node.clock.advance(10_000);
    expect(node.caller.sequence).toEqual(['msg 00', 'msg 00', 'action 01']);
    expect(status(node)).toBe('succeed');
  });

  it('keeps its back-off over a takeover', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    prepare(node, msg(1));
    await node.clock.advance(36_000);
    node.leadAgain();
    await node.clock.advance(10_000);
    expect(node.caller.written).toHaveLength(1);
    await node.clock.advance(15_000);
    expect(node.caller.written).toHaveLength(2);
  });

  it('whose answer reaches a former leader decides all the same', async () => {
    const node = leading();
    node.deliverForwarded = true;
    node.caller.answer = ({ op }) => ({ kind: 'success', afterMs: op === 'msg' ? 1000 : 1 });
    prepare(node, msg(1));
    await node.clock.advance(35_500);
    node.caller.answer = ({ op }) => (op === 'msg' ? { kind: 'hang' } : { kind: 'success' });
    node.leadAgain();
    await node.clock.advance(2000);
    expect(status(node)).toBe('succeed');
  });
});

describe('12.21: a delay', () => {
  it('5.8.2: delivers when it is over, not before', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    await node.submit(msg(2, { customData: '{"delay":20}' }));
    await node.clock.advance(19_900);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(1000);
    expect(secondsOf(node, 'action', startMs)).toEqual([20, 20]);
    expect(status(node)).toBe('succeed');
  });

  it('is armed with its remainder when it is looked at early', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    await node.submit(msg(1, { customData: '{"delay":20}' }));
    await node.clock.advance(15_000);
    const reset = { kind: 'resetNextCronTime', gids: ['g'], mustExist: true } as const;
    node.applyNow(node.request(reset));
    await node.clock.advance(4000);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(2000);
    expect(secondsOf(node, 'action', startMs)).toEqual([20]);
  });

  it('survives a takeover, and a submit that comes again', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    prepare(node, msg(1));
    await node.clock.advance(2000);
    await node.submit(msg(1, { customData: '{"delay":20}' }));
    await node.clock.advance(5000);
    node.leadAgain();
    await node.submit(msg(1, { customData: '{"delay":20}' }));
    await node.clock.advance(30_000);
    expect(secondsOf(node, 'action', startMs)).toEqual([20]);
  });

  it('may be an absolute time', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    await node.submit(msg(1, { customData: `{"deliver_at":${startMs + 90_000}}` }));
    await node.clock.advance(89_900);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(200);
    expect(secondsOf(node, 'action', startMs)).toEqual([90]);
  });

  it('is over for a message that the check-back submits later', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    prepare(node, msg(1, { customData: '{"delay":20}' }));
    await node.clock.advance(40_000);
    expect(secondsOf(node, 'action', startMs)).toEqual([35]);
  });
});

describe('5.4.6: a wait for a message', () => {
  function look(node: SchedulerNode) {
    const transaction = node.committedNow('g');
    if (transaction === undefined) throw new Error('no transaction');
    const idle = isNotFinishedButIdle(transaction, node.clock.nowMs);
    return { idle, because: unfinishedBecause(transaction) };
  }

  it.each(['ongoing', 'unknown', 'failure'] as const)('ends when a row ended %s', async (kind) => {
    const node = leading();
    node.caller.answer = ({ branchId }) =>
      branchId === '02' ? { kind, detail: 'cause' } : { kind: 'success' };
    await node.submit(msg(3));
    await node.clock.advance(50);
    const because = { kind, url: 'http://s2/act', detail: 'cause' };
    expect(look(node)).toEqual({ idle: true, because });
  });

  it('5.4.6, 12.21: ends at once where the message is accepted for later', async () => {
    const node = leading();
    await node.submit(msg(1, { customData: '{"delay":20}' }));
    expect(look(node)).toEqual({ idle: true, because: { kind: 'delayed' } });
  });

  it('goes on while a row runs, whatever its check-back answered before', async () => {
    const node = leading();
    node.caller.answer = ({ op }) =>
      op === 'msg' ? { kind: 'unknown' } : { kind: 'success', afterMs: 1000 };
    prepare(node, msg(1));
    await node.clock.advance(36_000);
    await node.submit(msg(1));
    await node.clock.advance(100);
    expect(look(node)).toEqual({ idle: false, because: { kind: 'running' } });
  });
});
