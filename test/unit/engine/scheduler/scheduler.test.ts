// The leader's loop with the real machine and the real saga pattern.

import { describe, expect, it } from 'vitest';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

function leading(options: ConstructorParameters<typeof SchedulerNode>[0] = {}): SchedulerNode {
  const node = new SchedulerNode(options);
  node.lead();
  return node;
}

describe('a saga', () => {
  it('of two quick branches costs two awaited commits and no read of the state', async () => {
    const node = leading();
    await node.submit(saga('g', 2));
    await node.clock.advance(10);
    expect(await node.statuses('g')).toEqual([
      'succeed',
      'prepared',
      'succeed',
      'prepared',
      'succeed',
    ]);
    expect(node.caller.sequence).toEqual(['action 01', 'action 02']);
    expect(node.advances).toHaveLength(1);
    expect(node.advances[0]).toMatchObject({
      results: [{ row: 1, attempt: 1, term: 1 }, { row: 3 }],
      decision: { to: 'succeed' },
    });
    expect(node.loadCount).toBe(0);
    expect(node.scheduler.stats()).toMatchObject({ runningCount: 0, dueEntryCount: 0 });
  });

  it('calls nothing before its submit is applied (P2)', async () => {
    const node = leading({ commitMs: 50 });
    node.append(
      node.request({ kind: 'submit', transaction: saga('g', 1), defaults: NODE_DEFAULTS }),
    );
    await node.clock.advance(49);
    expect(node.caller.askedCount).toBe(0);
    await node.clock.advance(10);
    expect(node.caller.written).toHaveLength(1);
  });

  it('that fails is compensated after its decision is applied, in reverse order (P2)', async () => {
    const node = leading({ commitMs: 5 });
    node.caller.answer = ({ op, branchId }) =>
      op === 'action' && branchId === '02'
        ? { kind: 'failure', detail: 'no' }
        : { kind: 'success' };
    await node.submit(saga('g', 2));
    await node.clock.advance(50);
    expect(await node.statuses('g')).toEqual(['failed', 'succeed', 'succeed', 'succeed', 'failed']);
    expect(node.caller.sequence).toEqual([
      'action 01',
      'action 02',
      'compensate 02',
      'compensate 01',
    ]);
    const decided = node.committed.find(
      ({ command }) => command.kind === 'advance' && command.decision?.to === 'aborting',
    );
    expect(node.caller.written[2]?.atMs).toBeGreaterThanOrEqual(decided?.atMs ?? Infinity);
    expect(node.advances).toHaveLength(2);
    expect((await node.transaction('g'))?.state.rollbackReason).toBe(
      'url:http://s2/act return failed: no FAILURE',
    );
  });

  it('with empty URLs calls nothing and ends', async () => {
    const node = leading();
    const steps = Array.from({ length: 10 }, () => ({ action: '', compensate: '' }));
    await node.submit(saga('g', 10, { steps }));
    await node.clock.advance(40);
    expect((await node.statuses('g'))[0]).toBe('succeed');
    expect(node.caller.askedCount).toBe(0);
  });

  it('is continued as soon as a slow branch ends (defect 12.19)', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', afterMs: 2500 });
    await node.submit(saga('g', 3));
    await node.clock.advance(3 * 2500 + 20);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });

  it('sends headers, payload and time limit of the transaction', async () => {
    const node = leading();
    const options = { branchHeaders: { a: 'b' }, requestTimeoutS: 7 };
    await node.submit(saga('g', 1, { options }));
    await node.clock.advance(5);
    expect(node.caller.written[0]?.call).toMatchObject({
      gid: 'g',
      type: 'saga',
      branchId: '01',
      op: 'action',
      url: 'http://s1/act',
      headers: { a: 'b' },
      timeoutMs: 7000,
      payload: new TextEncoder().encode('{}'),
    });
  });
});

describe('results', () => {
  it('that are held are proposed at the latest 20 ms after they arrived', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) => ({
      kind: 'success',
      afterMs: branchId === '02' ? 1000 : 1,
    });
    await node.submit(saga('g', 2));
    const startMs = node.clock.nowMs;
    await node.clock.advance(40);
    expect(node.advances).toHaveLength(1);
    expect(node.advances[0]).toMatchObject({ results: [{ row: 1 }], decision: undefined });
    const committedMs = node.committed.at(-1)?.atMs ?? 0;
    expect(committedMs - startMs).toBeLessThanOrEqual(1 + 20 + 2);
  });

  it('are committed one by one before the next step with UpdateBranchSync', async () => {
    const node = leading({ config: { commitEachResult: true }, commitMs: 5 });
    await node.submit(saga('g', 2));
    await node.clock.advance(40);
    expect(node.advances.map(({ results }) => results.map(({ row }) => row))).toEqual([[1], [3]]);
  });

  it('of refused proposals stay held and are proposed again', async () => {
    const node = leading();
    node.refusing = true;
    await node.submit(saga('g', 1));
    await node.clock.advance(100);
    expect(node.advances).toHaveLength(0);
    node.refusing = false;
    await node.clock.advance(1500);
    expect(node.advances).toHaveLength(1);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });

  it('that arrive after a forced stop are recorded (defect 12.25)', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', afterMs: 100 });
    await node.submit(saga('g', 1));
    await node.clock.advance(10);
    node.applyNow(node.request({ kind: 'forceStop', gid: 'g', by: 'ann', reason: 'stuck' }));
    await node.clock.advance(200);
    expect(await node.statuses('g')).toEqual(['failed', 'prepared', 'succeed']);
    expect(node.scheduler.stats().runningCount).toBe(0);
  });

  it('of a command that a forced stop overtook are proposed again', async () => {
    const node = leading({ commitMs: 10 });
    await node.submit(saga('g', 1));
    await node.clock.advance(3);
    // The advance is appended; the stop is applied before it.
    node.applyNow(node.request({ kind: 'forceStop', gid: 'g', by: 'ann', reason: 'stuck' }));
    await node.clock.advance(100);
    expect(await node.statuses('g')).toEqual(['failed', 'prepared', 'succeed']);
    expect(node.scheduler.stats().runningCount).toBe(0);
  });
});

describe('back-off', () => {
  it('doubles after unknown outcomes up to the cap, from the time of the attempt', async () => {
    const node = leading({ config: { retryIntervalMsMax: 60_000 } });
    node.caller.answer = () => ({ kind: 'unknown', detail: 'broken' });
    await node.submit(saga('g', 1));
    await node.clock.advance(400_000);
    const times = node.caller.written.map(({ atMs }) => atMs);
    const gaps = times.slice(1).map((atMs, i) => atMs - (times[i] ?? 0));
    const expected = [20_000, 40_000, 60_000, 60_000, 60_000];
    for (const [i, gapMs] of expected.entries()) {
      expect(gaps[i]).toBeGreaterThan(gapMs * 0.89);
      expect(gaps[i]).toBeLessThan(gapMs * 1.11 + 1000);
    }
    const row = (await node.transaction('g'))?.state.branches[1];
    expect(row?.lastAttempts.at(-1)?.attempt).toBe(times.length);
    expect(row?.attemptCount).toBe(times.length);
    expect(row?.firstAttempts[0]).toMatchObject({
      attempt: 1,
      outcome: 'unknown',
      detail: 'broken',
    });
  });

  it('keeps the interval after ongoing', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'ongoing' });
    await node.submit(saga('g', 1));
    await node.clock.advance(45_000);
    expect(node.caller.written.length).toBeGreaterThanOrEqual(4);
    expect(node.caller.written.length).toBeLessThanOrEqual(5);
  });

  it('retries a failing compensation for ever, and ends when it succeeds', async () => {
    const node = leading({ config: { retryIntervalMsMax: 20_000 } });
    let healed = false;
    node.caller.answer = ({ op }) =>
      op === 'compensate' && healed ? { kind: 'success' } : { kind: 'failure', detail: 'no' };
    await node.submit(saga('g', 1));
    await node.clock.advance(100_000);
    expect((await node.statuses('g'))[0]).toBe('aborting');
    healed = true;
    await node.clock.advance(30_000);
    expect(await node.statuses('g')).toEqual(['failed', 'succeed', 'failed']);
  });

  it('is cut short by resetNextCronTime', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'unknown' });
    await node.submit(saga('g', 1));
    await node.clock.advance(100);
    node.caller.answer = () => ({ kind: 'success' });
    node.applyNow(node.request({ kind: 'resetNextCronTime', gids: ['g'], mustExist: true }));
    await node.clock.advance(100);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });

  it('applies retry_limit: L + 1 calls, then rollback', async () => {
    const node = leading();
    node.caller.answer = ({ op }) => ({ kind: op === 'action' ? 'unknown' : 'success' });
    await node.submit(saga('g', 1, { options: { retryLimit: 2 } }));
    await node.clock.advance(5000);
    expect(node.caller.sequence).toEqual(['action 01', 'action 01', 'action 01', 'compensate 01']);
    expect((await node.statuses('g'))[0]).toBe('failed');
  });
});

describe('calls that are not sent', () => {
  it('are tried again after the hint without counting as attempts', async () => {
    const node = leading();
    let refusals = 3;
    node.caller.answer = () => {
      refusals -= 1;
      return refusals >= 0
        ? { kind: 'notSent', reason: 'circuitOpen', retryAfterMs: 200 }
        : { kind: 'success' };
    };
    await node.submit(saga('g', 1));
    const startMs = node.clock.nowMs;
    await node.clock.advance(2000);
    expect(node.caller.askedCount).toBe(4);
    expect(node.caller.written[0]?.atMs).toBeGreaterThanOrEqual(startMs + 600);
    expect((await node.transaction('g'))?.state.branches[1]?.attemptCount).toBe(1);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });

  it('become attempts on record when memory has no room for their times', async () => {
    const node = leading({ config: { dueEntriesMax: 2 } });
    node.caller.answer = () => ({ kind: 'notSent', reason: 'circuitOpen', retryAfterMs: 30_000 });
    for (let i = 0; i < 6; i += 1) {
      await node.submit(saga(`g${i}`, 1));
    }
    await node.clock.advance(100);
    const attempts = await Promise.all(
      Array.from({ length: 6 }, (_, i) => node.transaction(`g${i}`)),
    );
    const counts = attempts.map((one) => one?.state.branches[1]?.unknownCount);
    expect(counts.filter((count) => count === 1).length).toBeGreaterThanOrEqual(3);
    expect(node.scheduler.stats().runningCount).toBe(0);
  });

  it('wait for the lease, and go on when it is back', async () => {
    const node = leading();
    node.lease = false;
    await node.submit(saga('g', 2));
    await node.clock.advance(500);
    expect(node.caller.askedCount).toBe(0);
    expect(node.scheduler.explain('g')).toMatchObject({
      kind: 'running',
      waitingFor: 'the dispatch lease',
      lease: false,
    });
    node.lease = true;
    await node.clock.advance(50);
    expect((await node.statuses('g'))[0]).toBe('succeed');
    expect(node.scheduler.stats().leaseWaitingCount).toBe(0);
  });

  it('because the lease ended in the queue are not attempts', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', queueMs: 50 });
    await node.submit(saga('g', 1));
    node.lease = false;
    await node.clock.advance(200);
    expect(node.caller.written).toHaveLength(0);
    node.lease = true;
    await node.clock.advance(200);
    expect(node.caller.written).toHaveLength(1);
    expect((await node.transaction('g'))?.state.branches[1]?.attemptCount).toBe(1);
  });

  it('still queued when the saga aborts are never written', async () => {
    const node = leading();
    node.caller.answer = ({ branchId, op }) =>
      op === 'action' && branchId === '02'
        ? { kind: 'success', queueMs: 500 }
        : { kind: op === 'action' ? 'failure' : 'success' };
    const customData = '{"concurrent":true}';
    await node.submit(saga('g', 2, { customData }));
    await node.clock.advance(1000);
    expect(node.caller.sequence).not.toContain('action 02');
    expect(node.caller.sequence).toContain('compensate 02');
    expect((await node.statuses('g'))[0]).toBe('failed');
  });
});

describe('a change of leader', () => {
  it('hands held results and those of running calls to the new leader', async () => {
    const node = leading();
    node.caller.answer = ({ branchId }) => ({
      kind: 'success',
      afterMs: branchId === '01' ? 1 : 300,
    });
    await node.submit(saga('g', 2));
    await node.clock.advance(10);
    node.scheduler.stopLeading();
    expect(node.forwarded).toEqual([{ gid: 'g', outcome: 'success' }]);
    await node.clock.advance(400);
    expect(node.forwarded).toHaveLength(2);
    expect(node.advances).toHaveLength(0);
    expect(node.scheduler.stats()).toMatchObject({ leading: false, inflightCallCount: 0 });
    expect(node.scheduler.explain('g')).toEqual({ kind: 'notLeading' });
  });

  it('writes no queued call once it stopped leading', async () => {
    const node = leading();
    node.caller.answer = () => ({ kind: 'success', queueMs: 100 });
    await node.submit(saga('g', 1));
    node.scheduler.stopLeading();
    await node.clock.advance(500);
    expect(node.caller.written).toHaveLength(0);
  });

  it('resumes every active transaction at once', async () => {
    const node = new SchedulerNode();
    for (let i = 0; i < 50; i += 1) {
      await node.submit(saga(`g${i}`, 2, { options: { retryIntervalS: 600 } }));
    }
    node.lead();
    await node.clock.advance(200);
    const statuses = await Promise.all(
      Array.from({ length: 50 }, (_, i) => node.statuses(`g${i}`)),
    );
    expect(statuses.every(([status]) => status === 'succeed')).toBe(true);
    expect(node.scheduler.stats()).toMatchObject({ takingOver: false, runningCount: 0 });
  });

  it('compensates what the old leader may have started, which its own term need not', async () => {
    const options = { timeoutToFailS: 1 };
    const compensated: (readonly number[])[] = [];
    for (const takenOver of [false, true]) {
      const node = leading();
      node.caller.answer = ({ op }) => ({ kind: op === 'action' ? 'hang' : 'success' });
      await node.submit(saga('g', 3, { options }));
      await node.clock.advance(100);
      if (takenOver) {
        node.caller.answer = ({ op }) => ({ kind: op === 'action' ? 'hang' : 'success' });
        node.leadAgain();
      }
      await node.clock.advance(20_000);
      const abort = node.advances.find(({ decision }) => decision?.to === 'aborting');
      compensated.push(abort?.decision?.to === 'aborting' ? abort.decision.compensate : []);
    }
    // Step 1 was started; after a takeover step 2 may have been, had step 1 succeeded unrecorded.
    expect(compensated).toEqual([[0], [0, 2]]);
  });

  it('lets no timeout decide before clients had their chance', async () => {
    const node = new SchedulerNode({ config: { timeoutGraceMs: 300 } });
    await node.submit(saga('g', 1, { options: { timeoutToFailS: 1 } }));
    await node.clock.advance(5000);
    node.lead();
    await node.clock.advance(299);
    expect(node.advances).toHaveLength(0);
    await node.clock.advance(50);
    expect(node.advances[0]?.decision?.to).toBe('aborting');
  });

  it('ramps resumed transactions up, and lets new ones pass', async () => {
    const config = { rampInitial: 10, rampMs: 1000, transactionsInFlightMax: 500 };
    const node = new SchedulerNode({ config });
    for (let i = 0; i < 400; i += 1) {
      node.applyNow(
        node.request({ kind: 'submit', transaction: saga(`g${i}`, 1), defaults: NODE_DEFAULTS }),
      );
    }
    node.caller.answer = ({ gid }) => ({ kind: gid === 'new' ? 'success' : 'hang' });
    node.lead();
    await node.clock.advance(5);
    expect(node.caller.inflightCount).toBeGreaterThanOrEqual(10);
    expect(node.caller.inflightCount).toBeLessThanOrEqual(13);
    await node.submit(saga('new', 1));
    await node.clock.advance(10);
    expect((await node.statuses('new'))[0]).toBe('succeed');
    await node.clock.advance(500);
    expect(node.caller.inflightCount).toBeGreaterThan(150);
    expect(node.caller.inflightCount).toBeLessThan(300);
    await node.clock.advance(600);
    expect(node.caller.inflightCount).toBe(400);
  });

  it('takes the results that a former leader forwards', async () => {
    const node = new SchedulerNode();
    await node.submit(saga('g', 1));
    node.caller.answer = () => ({ kind: 'hang' });
    node.term = 3;
    node.lead();
    node.scheduler.acceptResult('g', {
      row: 1,
      attempt: 1,
      term: 1,
      atMs: node.clock.nowMs,
      durationMs: 1,
      outcome: 'success',
      detail: '',
      retryAtMs: undefined,
      intervalMs: 10_000,
    });
    await node.clock.advance(50);
    expect((await node.statuses('g'))[0]).toBe('succeed');
  });
});

describe('limits', () => {
  it('one hung service delays no other', async () => {
    const node = leading({ config: { transactionsInFlightMax: 400 } });
    let hungInflight = 0;
    node.caller.answer = ({ url }) => {
      if (!url.startsWith('http://s1/')) {
        return { kind: 'success' };
      }
      // As the real caller does: so many in flight and queued, the others are refused.
      hungInflight += 1;
      return hungInflight <= 100 ? { kind: 'hang' } : { kind: 'notSent', reason: 'queueFull' };
    };
    for (let i = 0; i < 1000; i += 1) {
      node.applyNow(
        node.request({ kind: 'submit', transaction: saga(`h${i}`, 1), defaults: NODE_DEFAULTS }),
      );
    }
    await node.clock.advance(5);
    const steps = [{ action: 'http://quick/act', compensate: '' }];
    const startMs = node.clock.nowMs;
    await node.submit(saga('quick', 1, { steps }));
    await node.clock.advance(10);
    expect((await node.statuses('quick'))[0]).toBe('succeed');
    expect(node.clock.nowMs - startMs).toBeLessThan(20);
    expect(node.scheduler.stats().runningCount).toBeLessThanOrEqual(400);
  });

  it('never drives more transactions at once than allowed, and loses none', async () => {
    const node = leading({ config: { transactionsInFlightMax: 5, readyMax: 3 } });
    node.caller.answer = () => ({ kind: 'success', afterMs: 50 });
    for (let i = 0; i < 30; i += 1) {
      node.applyNow(
        node.request({ kind: 'submit', transaction: saga(`g${i}`, 1), defaults: NODE_DEFAULTS }),
      );
    }
    let most = 0;
    for (let i = 0; i < 200; i += 1) {
      await node.clock.advance(100);
      most = Math.max(most, node.caller.inflightCount, node.scheduler.stats().runningCount);
    }
    expect(most).toBeLessThanOrEqual(5);
    const statuses = await Promise.all(
      Array.from({ length: 30 }, (_, i) => node.statuses(`g${i}`)),
    );
    expect(statuses.every(([status]) => status === 'succeed')).toBe(true);
  });

  it('keeps no more payload in memory than allowed', async () => {
    const node = leading({ config: { payloadBytesMax: 4000 } });
    node.caller.answer = () => ({ kind: 'success', afterMs: 50 });
    const payloads = [new Uint8Array(1000)];
    for (let i = 0; i < 20; i += 1) {
      node.applyNow(
        node.request({
          kind: 'submit',
          transaction: saga(`g${i}`, 1, { payloads }),
          defaults: NODE_DEFAULTS,
        }),
      );
    }
    expect(node.scheduler.stats().payloadBytes).toBeLessThanOrEqual(5000);
    await node.clock.advance(2000);
    expect(node.caller.written).toHaveLength(20);
    expect(node.scheduler.stats().payloadBytes).toBe(0);
  });
});

describe('retention', () => {
  it('proposes to forget what has expired, in bounded batches', async () => {
    const node = leading({ config: { purgeIntervalMs: 60_000, purgeBatchMax: 4 } });
    for (let i = 0; i < 10; i += 1) {
      await node.submit(saga(`g${i}`, 1));
    }
    await node.clock.advance(1000);
    await node.clock.advance(86_400_000 + 120_000);
    const purges = node.committed.flatMap(({ command }) =>
      command.kind === 'purge' ? [command.gids.length] : [],
    );
    expect(purges).toEqual([4, 4, 2]);
    expect(await node.transaction('g0')).toBeUndefined();
  });

  it('fails a prepared saga that is never submitted (P4)', async () => {
    const node = leading();
    const defaults = { ...NODE_DEFAULTS, preparedExpiryMs: 600_000 };
    node.applyNow(node.request({ kind: 'prepare', transaction: saga('g', 1), defaults }));
    await node.clock.advance(599_000);
    expect((await node.statuses('g'))[0]).toBe('prepared');
    await node.clock.advance(3000);
    expect((await node.statuses('g'))[0]).toBe('failed');
    expect(node.caller.askedCount).toBe(0);
  });
});

describe('the deliberate bugs', () => {
  it('callBeforeCommit calls when the submit is proposed', async () => {
    const node = leading({ bugs: new Set(['callBeforeCommit']), commitMs: 100 });
    const command = node.request({
      kind: 'submit',
      transaction: saga('g', 1),
      defaults: NODE_DEFAULTS,
    });
    node.scheduler.onProposed(command);
    node.append(command);
    await node.clock.advance(50);
    expect(node.caller.written).toHaveLength(1);
  });

  it('compensateBeforeDecision calls when the decision is proposed', async () => {
    const node = leading({ bugs: new Set(['compensateBeforeDecision']), commitMs: 100 });
    node.caller.answer = ({ op }) => ({ kind: op === 'action' ? 'failure' : 'success' });
    await node.submit(saga('g', 1));
    await node.clock.advance(50);
    expect(node.caller.sequence).toContain('compensate 01');
    expect((await node.statuses('g'))[0]).toBe('submitted');
  });

  it('dropHeldOnTimer loses results', async () => {
    const node = leading({ bugs: new Set(['dropHeldOnTimer']) });
    node.caller.answer = () => ({ kind: 'unknown' });
    await node.submit(saga('g', 1));
    await node.clock.advance(60_000);
    expect((await node.transaction('g'))?.state.branches[1]?.attemptCount).toBe(0);
  });

  it('ignoreLease calls without a lease', async () => {
    const node = leading({ bugs: new Set(['ignoreLease']) });
    node.lease = false;
    await node.submit(saga('g', 1));
    await node.clock.advance(50);
    expect(node.caller.written).toHaveLength(1);
  });
});
