// The leader's loop with workflows: callbacks leased while progress arrives, back-off, takeover.
// Names carry the number of the statement or defect of the dtm reference that they defend.

import { describe, expect, it } from 'vitest';
import type { TransactionInput } from '../../../../src/engine/machine/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

function leading(options: ConstructorParameters<typeof SchedulerNode>[0] = {}): SchedulerNode {
  const node = new SchedulerNode(options);
  node.lead();
  return node;
}

const BUY: TransactionInput = saga('w', 0, {
  type: 'workflow',
  steps: undefined,
  payloads: undefined,
  queryPrepared: 'http://ap/resume',
  customData: '{"name":"buy","data":"eyJpZCI6MX0="}',
});

function start(node: SchedulerNode, over: Partial<TransactionInput> = {}): void {
  const transaction = { ...BUY, ...over };
  node.applyNow(node.request({ kind: 'prepareWorkflow', transaction, defaults: NODE_DEFAULTS }));
}

function register(node: SchedulerNode, branchId: string): void {
  const registration = { kind: 'workflow', op: 'action', status: 'succeed' } as const;
  const payload = new Uint8Array();
  node.applyNow(
    node.request({ kind: 'registerBranch', gid: 'w', branchId, registration, payload }),
  );
}

function end(node: SchedulerNode): void {
  const workflowEnd = { status: 'succeed', rollbackReason: '', result: '' } as const;
  const transaction = { ...BUY, queryPrepared: undefined, customData: undefined, workflowEnd };
  node.applyNow(node.request({ kind: 'submit', transaction, defaults: NODE_DEFAULTS }));
}

function secondsOf(node: SchedulerNode, startMs: number): readonly number[] {
  return node.caller.written.map(({ atMs }) => Math.floor((atMs - startMs) / 1000));
}

describe('the callback of a workflow', () => {
  it('5.6.7, 5.10.2, 5.10.5: comes one interval after the start, with the parameters of 4.6', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    start(node);
    await node.clock.advance(9990);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(20);
    expect(secondsOf(node, startMs)).toEqual([10]);
    expect(node.caller.written[0]?.call).toMatchObject({
      gid: 'w',
      type: 'workflow',
      branchId: '00',
      op: 'buy',
      url: 'http://ap/resume',
    });
    const { payload } = node.caller.written[0]?.call ?? {};
    expect(new TextDecoder().decode(payload)).toBe('{"id":1}');
  });

  it('12.8: is leased: each step that is recorded pushes it out', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    start(node);
    for (let step = 1; step <= 10; step += 1) {
      await node.clock.advance(9000);
      register(node, String(step));
    }
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(11_000);
    expect(secondsOf(node, startMs)).toEqual([100]);
  });

  it('11.22: whatever it answers, the workflow goes on, and 12.8: is called ever later', async () => {
    for (const kind of ['success', 'failure', 'unknown'] as const) {
      const node = leading();
      const startMs = node.clock.nowMs;
      node.caller.answer = () => ({ kind });
      start(node);
      await node.clock.advance(200_000);
      const seconds = secondsOf(node, startMs);
      expect(seconds[0]).toBe(10);
      for (const [at, distance] of [20, 40, 80].entries()) {
        const between = (seconds[at + 1] ?? 0) - (seconds[at] ?? 0);
        expect(Math.abs(between - distance)).toBeLessThanOrEqual(1 + distance / 10);
      }
      expect(node.committedNow('w')?.state.status).toBe('prepared');
    }
  });

  it('that says it is ongoing is called again after the same interval', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'ongoing' });
    start(node);
    await node.clock.advance(100_000);
    expect(node.caller.written.length).toBeGreaterThanOrEqual(8);
  });

  it('12.16: is never further away than the cap', async () => {
    const node = leading({ config: { retryIntervalMsMax: 30_000 } });
    node.caller.answer = () => ({ kind: 'unknown' });
    start(node);
    await node.clock.advance(1_000_000);
    expect(node.caller.written.length).toBeGreaterThan(28);
  });

  it('is not made while the one before runs, nor after the end', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', afterMs: 60_000 });
    start(node);
    await node.clock.advance(50_000);
    register(node, '01');
    await node.clock.advance(15_000);
    expect(node.caller.written).toHaveLength(1);
    end(node);
    await node.clock.advance(500_000);
    expect(node.caller.written).toHaveLength(1);
    expect(node.scheduler.stats()).toMatchObject({ runningCount: 0, dueEntryCount: 0 });
  });

  it('12.8: leaves alone a run that made progress while the callback before was answered', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    node.caller.answer = () => ({ kind: 'ongoing', afterMs: 2500 });
    start(node);
    await node.clock.advance(12_450);
    register(node, '01');
    await node.clock.advance(9900);
    expect(secondsOf(node, startMs)).toEqual([10]);
    await node.clock.advance(2000);
    expect(secondsOf(node, startMs)).toHaveLength(2);
  });

  it('12.8: is not written when progress arrived while it queued for its target', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    node.caller.answer = () => ({ kind: 'success', queueMs: 3000 });
    start(node);
    await node.clock.advance(12_000);
    register(node, '01');
    await node.clock.advance(12_500);
    expect(node.caller.askedCount).toBe(2);
    expect(node.caller.written).toHaveLength(0);
    await node.clock.advance(1000);
    expect(secondsOf(node, startMs)).toEqual([25]);
  });

  it('leaves its trace on the transaction', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'failure', detail: 'busy' });
    start(node);
    await node.clock.advance(11_000);
    expect(node.committedNow('w')?.state.branches[0]).toMatchObject({
      status: 'prepared',
      attemptCount: 1,
      firstAttempts: [{ outcome: 'failure', detail: 'busy' }],
    });
  });

  it('P4: survives its leader, and keeps its back-off', async () => {
    const node = leading();
    const startMs = node.clock.nowMs;
    node.caller.answer = () => ({ kind: 'unknown' });
    start(node);
    await node.clock.advance(11_000);
    node.leadAgain();
    await node.clock.advance(15_000);
    expect(secondsOf(node, startMs)).toEqual([10]);
    await node.clock.advance(10_000);
    expect(node.caller.written).toHaveLength(2);
  });

  it('of a client that gave no URL is never made; the workflow waits for its client', async () => {
    const node = leading();
    start(node, { queryPrepared: undefined });
    await node.clock.advance(1_000_000);
    node.leadAgain();
    await node.clock.advance(1_000_000);
    expect(node.caller.askedCount).toBe(0);
    end(node);
    expect(node.committedNow('w')?.state.status).toBe('succeed');
  });
});
