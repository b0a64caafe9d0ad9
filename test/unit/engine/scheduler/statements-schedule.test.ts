// When a leader looks at transactions, and when it calls again (dtm reference §5.5–§5.7, §5.12; §11.14,
// §11.15; defects 12.9, 12.18).

import { describe, expect, it } from 'vitest';
import type { TransactionInput } from '../../../../src/engine/machine/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const DAY_MS = 86_400_000;

function leading(options: ConstructorParameters<typeof SchedulerNode>[0] = {}): SchedulerNode {
  const node = new SchedulerNode(options);
  node.lead();
  return node;
}

function prepare(node: SchedulerNode, transaction: TransactionInput): void {
  const kind = transaction.type === 'workflow' ? 'prepareWorkflow' : 'prepare';
  node.applyNow(node.request({ kind, transaction, defaults: NODE_DEFAULTS }));
}

function bare(gid: string, over: Partial<TransactionInput> = {}): TransactionInput {
  return saga(gid, 0, { steps: undefined, payloads: undefined, ...over });
}

function reset(node: SchedulerNode, gid: string): void {
  node.applyNow(node.request({ kind: 'resetNextCronTime', gids: [gid], mustExist: true }));
}

describe('limits', () => {
  it('5.5.5: a workflow has no timeout, also where its client gave one', async () => {
    const node = leading();
    prepare(node, bare('w', { type: 'workflow', options: { timeoutToFailS: 5 } }));
    await node.clock.advance(DAY_MS);
    expect(node.committedNow('w')?.state).toMatchObject({ status: 'prepared', rollbackReason: '' });
  });

  it('5.5.1, 11.14: a saga has no timeout by default', async () => {
    const node = leading({ config: { retryIntervalMsMax: 3_600_000 } });
    node.caller.answer = () => ({ kind: 'unknown' });
    await node.submit(saga('s', 1));
    await node.clock.advance(3 * DAY_MS);
    expect(node.committedNow('s')?.state.status).toBe('submitted');
  });

  it('5.5.6, 11.14, 5.12.4: a default limit is noticed as it passes, and named in the reason', async () => {
    const node = leading();
    prepare(node, bare('t', { type: 'tcc' }));
    await node.clock.advance(34_990);
    expect(node.committedNow('t')?.state.status).toBe('prepared');
    await node.clock.advance(30);
    expect(node.committedNow('t')?.state).toMatchObject({
      status: 'failed',
      rollbackReason: 'Timeout after 35 seconds',
    });
  });

  it('5.7.7, 5.7.10: a timeout compensates what is under way, and the saga fails when that is done', async () => {
    const node = leading();
    let undone = false;
    node.caller.answer = ({ op }) => {
      if (op === 'action') return { kind: 'ongoing' };
      return { kind: undone ? 'success' : 'unknown' };
    };
    await node.submit(saga('s', 2, { options: { timeoutToFailS: 5, retryIntervalS: 30 } }));
    await node.clock.advance(4900);
    expect(await node.statuses('s')).toEqual([
      'submitted',
      ...['prepared', 'prepared', 'prepared', 'prepared'],
    ]);
    await node.clock.advance(1000);
    expect(node.caller.sequence).toEqual(['action 01', 'compensate 01']);
    expect(node.committedNow('s')?.state.status).toBe('aborting');
    undone = true;
    await node.clock.advance(70_000);
    expect(await node.statuses('s')).toEqual([
      'failed',
      ...['succeed', 'prepared', 'prepared', 'prepared'],
    ]);
    expect(node.committedNow('s')?.state.rollbackReason).toBe('Timeout after 5 seconds');
  });
});

describe('intervals', () => {
  it('5.6.3, 5.6.4, 5.6.5, 11.15: unknown doubles up to the cap, ongoing keeps, success resets', async () => {
    const node = leading({ config: { retryIntervalMsMax: 60_000 } });
    let kind: 'unknown' | 'ongoing' | 'success' = 'unknown';
    node.caller.answer = ({ branchId }) => ({ kind: branchId === '02' ? 'unknown' : kind });
    const intervals = (): readonly (number | undefined)[] => {
      const { intervalMs, branches } = node.committedNow('s')?.state ?? {};
      return [intervalMs, branches?.[1]?.intervalMs, branches?.[3]?.intervalMs];
    };
    await node.submit(saga('s', 2));
    await node.clock.advance(100);
    expect(intervals().slice(0, 2)).toEqual([20_000, 20_000]);
    await node.clock.advance(25_000);
    expect(intervals().slice(0, 2)).toEqual([40_000, 40_000]);
    kind = 'ongoing';
    await node.clock.advance(50_000);
    expect(intervals().slice(0, 2)).toEqual([40_000, 40_000]);
    kind = 'unknown';
    await node.clock.advance(200_000);
    expect(intervals().slice(0, 2)).toEqual([60_000, 60_000]);
    kind = 'success';
    while (node.committedNow('s')?.state.branches[1]?.status !== 'succeed') {
      await node.clock.advance(100);
    }
    // The next row starts from the base, not from what the one before had come to.
    await node.clock.advance(100);
    expect(intervals()).toEqual([20_000, expect.anything(), 20_000]);
  });

  it('5.6.8: rows of a concurrent message back off each on its own', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) => ({ kind: branchId === '03' ? 'ongoing' : 'unknown' });
    const options = { concurrent: true };
    await node.submit(saga('m', 3, { type: 'msg', options }));
    await node.clock.advance(100);
    const rows = node.committedNow('m')?.state.branches.slice(1) ?? [];
    expect(rows.map(({ intervalMs }) => intervalMs)).toEqual([20_000, 20_000, 10_000]);
  });
});

describe('no two attempts at once', () => {
  it.each(['saga', 'msg', 'tcc'] as const)(
    '5.6.2, 5.7.11: of a row of a %s, whoever asks for the next attempt meanwhile',
    async (type) => {
      const node = leading();
      node.caller.answer = () => ({ kind: 'success', afterMs: 60_000 });
      const options = { requestTimeoutS: 100 };
      const input = type === 'tcc' ? bare('g', { type, options }) : saga('g', 1, { type, options });
      if (type === 'tcc') {
        prepare(node, input);
        const registration = { kind: 'tcc', confirm: 'http://s/ok', cancel: '' } as const;
        const branch = { branchId: '01', registration, payload: new Uint8Array() };
        node.applyNow(node.request({ kind: 'registerBranch', gid: 'g', ...branch }));
      }
      await node.submit(input);
      for (let second = 0; second < 59; second += 1) {
        await node.clock.advance(1000);
        reset(node, 'g');
        if (second % 10 === 0) await node.submit(input);
        expect(node.caller.inflightCount).toBe(1);
      }
      await node.clock.advance(2000);
      expect(node.caller.written).toHaveLength(1);
      expect(node.committedNow('g')?.state.status).toBe('succeed');
    },
  );
});

describe('12.18: many transactions', () => {
  it('12.18: run at once, and one that is slow holds up no other', async () => {
    const node = leading();
    node.caller.answer = ({ gid }) => ({ kind: 'success', afterMs: gid === 's0' ? 2500 : 20 });
    for (let number = 0; number < 200; number += 1) {
      node.applyNow(
        node.request({
          kind: 'submit',
          transaction: saga(`s${number}`, 1),
          defaults: NODE_DEFAULTS,
        }),
      );
    }
    await node.clock.advance(200);
    const ended = Array.from({ length: 200 }, (_, at) => node.committedNow(`s${at}`)?.state.status);
    expect(ended.filter((status) => status === 'succeed')).toHaveLength(199);
    expect(ended[0]).toBe('submitted');
  });

  it('12.18: where there is room for one at a time, the one that is due first goes first', async () => {
    const node = leading({ config: { transactionsInFlightMax: 1 } });
    node.caller.answer = () => ({ kind: 'unknown' });
    for (const gid of ['c', 'a', 'b']) {
      await node.submit(saga(gid, 1));
      await node.clock.advance(3000);
    }
    node.scheduler.stopLeading();
    await node.clock.advance(60_000);
    node.caller.written.splice(0);
    node.caller.answer = () => ({ kind: 'success', afterMs: 50 });
    node.leadAgain();
    await node.clock.advance(1000);
    expect(node.caller.written.map(({ call }) => call.gid)).toEqual(['c', 'a', 'b']);
  });
});

describe('12.9: a concurrent message', () => {
  it('12.9: that is stopped during its calls records what they answer, and harms no other', async () => {
    const node = leading();
    node.caller.answer = ({ gid, branchId }) =>
      gid === 'm' && branchId !== '03'
        ? { kind: branchId === '01' ? 'failure' : 'success', afterMs: 1000 }
        : { kind: 'success' };
    const options = { concurrent: true };
    await node.submit(saga('m', 4, { type: 'msg', options }));
    await node.clock.advance(100);
    node.applyNow(node.request({ kind: 'forceStop', gid: 'm', by: 'ops', reason: 'mistake' }));
    await node.submit(saga('other', 1));
    await node.clock.advance(2000);
    const { status, branches } = node.committedNow('m')?.state ?? {};
    expect(status).toBe('failed');
    expect(branches?.slice(1).map((row) => [row.status, row.attemptCount])).toEqual([
      ['prepared', 1],
      ['succeed', 1],
      ['succeed', 1],
      ['succeed', 1],
    ]);
    expect(node.committedNow('other')?.state.status).toBe('succeed');
    expect(node.caller.written).toHaveLength(5);
  });
});

describe('attributes', () => {
  it('5.3.4: attempts of a later leader go by what prepare and submit stored', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    const branchHeaders = { 'x-tenant': '7' };
    const stored = saga('m', 1, {
      type: 'msg',
      protocol: 'grpc',
      steps: [{ action: 'a:1/p.S/M', compensate: '' }],
      options: { branchHeaders, requestTimeoutS: 9, retryIntervalS: 5 },
    });
    prepare(node, stored);
    // Bare, as PHP, Python and Node submit; what it gives besides overrides.
    await node.submit(bare('m', { type: 'msg', options: { requestTimeoutS: 4 } }));
    await node.clock.advance(100);
    node.leadAgain();
    await node.clock.advance(15_000);
    expect(node.caller.written).toHaveLength(2);
    for (const { call } of node.caller.written) {
      expect(call).toMatchObject({
        protocol: 'grpc',
        url: 'a:1/p.S/M',
        headers: branchHeaders,
        timeoutMs: 4000,
      });
    }
    expect(node.committedNow('m')?.definition.baseIntervalMs).toBe(5000);
  });
});

describe('reasons', () => {
  it('5.12.2: a failed action of gRPC names its URL and the message of the status', async () => {
    const node = leading();
    node.caller.answer = ({ op }) =>
      op === 'action' ? { kind: 'failure', detail: 'Insufficient balance' } : { kind: 'success' };
    const steps = [{ action: 'b:1/busi.Busi/TransIn', compensate: '' }];
    await node.submit(saga('s', 1, { protocol: 'grpc', steps }));
    await node.clock.advance(100);
    expect(node.committedNow('s')?.state).toMatchObject({
      status: 'failed',
      rollbackReason: 'url:b:1/busi.Busi/TransIn return failed: Insufficient balance FAILURE',
    });
  });
});
