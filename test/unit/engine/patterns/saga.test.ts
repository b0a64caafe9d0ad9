// Every statement about sagas (dtm reference §5.7), its consequences, and what this leader knows.

import { describe, expect, test } from 'vitest';
import type {
  BranchResult,
  Transaction,
  TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import { createPatterns, type Knowledge, NO_BUGS } from '../../../../src/engine/patterns/index.ts';
import { DAY_MS, DEFAULTS, Replica, result, START_MS, sagaInput } from '../machine/fixtures.ts';

const saga = createPatterns().saga;

function next(
  transaction: Transaction,
  knowledge: Partial<Knowledge> & { readonly results?: readonly BranchResult[] } = {},
  nowMs = START_MS + 3,
) {
  if (saga === undefined) throw new Error('there is no saga pattern');
  const held = new Map((knowledge.results ?? []).map((one) => [one.row, one]));
  return saga.next(transaction, nowMs, {
    drivenSinceAccepted: true,
    started: new Set(),
    inflight: new Set(),
    held,
    commitEachResult: false,
    ...knowledge,
  });
}

function submitted(steps: number, more: Partial<TransactionInput> = {}): Replica {
  const replica = new Replica();
  const accepted = replica.submit(sagaInput('g', steps, more));
  expect(accepted.kind).toBe('success');
  return replica;
}
const concurrent = (orders: Record<string, number[]> = {}): Partial<TransactionInput> => ({
  customData: JSON.stringify({ concurrent: true, orders }),
});
const ok = (row: number): BranchResult => result(row, 'success');
/** Rows of step n (from 0). */
const action = (step: number): number => 2 * step + 1;
const undo = (step: number): number => 2 * step;
/** Commits successes of actions. */
function acted(replica: Replica, ...steps: readonly number[]): void {
  replica.advance(
    'g',
    'submitted',
    steps.map((step) => ok(action(step))),
  );
}
function aborting(replica: Replica, ...steps: readonly number[]): void {
  const decision = { to: 'aborting', reason: 'r', compensate: steps.map(undo) } as const;
  replica.advance('g', 'submitted', [], decision);
}

describe('forward', () => {
  test('sequential: one step at a time, in order', () => {
    const replica = submitted(3);
    expect(next(replica.get('g')).call).toEqual([action(0)]);
    acted(replica, 0);
    expect(next(replica.get('g')).call).toEqual([action(1)]);
  });

  test('top-level concurrent has no effect; custom_data.concurrent starts all at once', () => {
    expect(next(submitted(3, { options: { concurrent: true } }).get('g')).call).toHaveLength(1);
    expect(next(submitted(3, concurrent()).get('g')).call).toEqual([1, 3, 5]);
  });

  test('orders hold in both modes', () => {
    const inOrder = submitted(3, concurrent({ 2: [0] }));
    expect(next(inOrder.get('g')).call).toEqual([action(0), action(1)]);
    acted(inOrder, 0);
    expect(next(inOrder.get('g')).call).toEqual([action(1), action(2)]);
    const sequential = submitted(3, { customData: '{"orders":{"2":[0]}}' });
    acted(sequential, 0);
    expect(next(sequential.get('g')).call).toEqual([action(1)]);
  });

  test('a call in flight is not made again, nor one whose answer is held', () => {
    const replica = submitted(2, concurrent());
    const inflight = new Set([action(0)]);
    const { call } = next(replica.get('g'), { inflight, results: [result(action(1), 'unknown')] });
    expect(call).toEqual([]);
  });

  test('a two-branch saga takes one command after it was accepted', () => {
    const replica = submitted(2);
    const first = next(replica.get('g'), { results: [ok(action(0))] });
    expect(first).toMatchObject({ call: [action(1)], record: undefined });
    const results = [ok(action(0)), ok(action(1))];
    const second = next(replica.get('g'), { results });
    expect(second.record).toEqual({ results, decision: { to: 'succeed' }, retries: 0 });
    expect(second.call).toEqual([]);
  });

  test('at most one level of successes is uncommitted when a step starts', () => {
    const replica = submitted(3);
    const results = [ok(action(0)), ok(action(1))];
    const blocked = next(replica.get('g'), { results });
    expect(blocked).toMatchObject({ call: [], record: { results, decision: undefined } });
    acted(replica, 0, 1);
    expect(next(replica.get('g')).call).toEqual([action(2)]);
  });

  test('UpdateBranchSync: every result is committed before the next step', () => {
    const replica = submitted(2);
    const results = [ok(action(0))];
    const actions = next(replica.get('g'), { results, commitEachResult: true });
    expect(actions).toMatchObject({ call: [], record: { results, decision: undefined } });
  });

  test('a held success is proposed after 20 ms at the latest', () => {
    const replica = submitted(2);
    const inflight = new Set([action(1)]);
    const results = [ok(action(0))];
    const before = next(replica.get('g'), { results, inflight }, START_MS + 22);
    expect(before).toMatchObject({ record: undefined, waitUntilMs: START_MS + 23 });
    const after = next(replica.get('g'), { results, inflight }, START_MS + 23);
    expect(after.record).toMatchObject({ results, decision: undefined });
  });

  test('an answer without a result is proposed at once, and its row waits for its time', () => {
    const replica = submitted(1);
    const results = [result(action(0), 'ongoing')];
    expect(next(replica.get('g'), { results }).record).toMatchObject({ results });
    replica.advance('g', 'submitted', results);
    const waiting = next(replica.get('g'));
    expect(waiting).toMatchObject({ call: [], waitUntilMs: START_MS + 10_000 });
    expect(next(replica.get('g'), {}, START_MS + 10_000).call).toEqual([action(0)]);
  });

  test('defect 12.19: a slow branch does not hold up others, and the next step follows at once', () => {
    const replica = submitted(3, concurrent({ 2: [1] }));
    const inflight = new Set([action(0)]);
    const { call } = next(replica.get('g'), { inflight, results: [ok(action(1))] });
    expect(call).toEqual([action(2)]);
  });

  test('a saga without steps succeeds', () => {
    const replica = submitted(0, { steps: undefined, payloads: undefined });
    expect(next(replica.get('g')).record?.decision).toEqual({ to: 'succeed' });
  });

  test('rows with empty URLs are called like others: their caller succeeds them', () => {
    const replica = submitted(1, { steps: [{ action: '', compensate: '' }] });
    expect(next(replica.get('g')).call).toEqual([action(0)]);
  });
});

describe('rollback begins', () => {
  test.each([
    ['no stock', 'no stock FAILURE'],
    ['no stock FAILURE', 'no stock FAILURE'],
    ['{"error":"x. FAILURE"}', '{"error":"x. FAILURE"} FAILURE'],
    [' FAILURE ', 'FAILURE FAILURE'],
  ])('with the failed action’s answer as reason: %j', (detail, end) => {
    const replica = submitted(2);
    const results = [ok(action(0)), result(action(1), 'failure', { detail })];
    const { record, call } = next(replica.get('g'), { results });
    expect(call).toEqual([]);
    expect(record?.results).toEqual(results);
    expect(record?.decision).toEqual({
      to: 'aborting',
      reason: `url:http://s1/do return failed: ${end}`,
      compensate: [undo(0), undo(1)],
    });
  });

  test('with a reason of at most 4 KiB and a trace of at most 1 KiB, still ending in FAILURE', () => {
    const replica = submitted(1);
    const detail = 'é'.repeat(40_000);
    const { record } = next(replica.get('g'), { results: [result(1, 'failure', { detail })] });
    const reason = record?.decision?.to === 'aborting' ? record.decision.reason : '';
    expect(reason.endsWith('é FAILURE')).toBe(true);
    expect(new TextEncoder().encode(reason).length).toBeLessThanOrEqual(4096);
    expect(record?.results[0]?.detail).toHaveLength(512);
  });

  test('5.12.3: a failure found on record tells its answer; fail message lost only without one', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'failure', { detail: 'no' })]);
    const found = replica.get('g');
    const decision = next(found).record?.decision;
    expect(decision).toMatchObject({ reason: 'url:http://s0/do return failed: no FAILURE' });
    const branches = found.state.branches.map((row) => ({ ...row, firstAttempts: [] }));
    const lost = { ...found, state: { ...found.state, branches } };
    expect(next(lost).record?.decision).toMatchObject({ reason: 'fail message lost' });
  });

  test('defect 12.14: after the timeout, naming the effective limit; never by default', () => {
    const replica = submitted(2, { options: { timeoutToFailS: 3 } });
    const inflight = new Set([action(0)]);
    const before = next(replica.get('g'), { inflight }, START_MS + 2999);
    expect(before).toMatchObject({ record: undefined, waitUntilMs: START_MS + 3000 });
    const after = next(replica.get('g'), { inflight, started: inflight }, START_MS + 3000);
    expect(after.record?.decision).toEqual({
      to: 'aborting',
      reason: 'Timeout after 3 seconds',
      compensate: [undo(0)],
    });
    expect(next(submitted(1).get('g'), {}, START_MS + 1000 * DAY_MS).record).toBeUndefined();
  });

  test('all actions done beats a timeout that has just passed', () => {
    const replica = submitted(1, { options: { timeoutToFailS: 3 } });
    const { record } = next(replica.get('g'), { results: [ok(1)] }, START_MS + 5000);
    expect(record?.decision).toEqual({ to: 'succeed' });
  });
});

describe('retry_limit', () => {
  const limited = (retryLimit: number, retryCount = 0) =>
    submitted(2, { options: { retryLimit, retryCount } });

  test('L allows L + 1 calls, counting unknown and ongoing, then rolls back that step too', () => {
    const replica = limited(1);
    acted(replica, 0);
    const first = next(replica.get('g'), { results: [result(action(1), 'unknown')] });
    expect(first.record).toMatchObject({ decision: undefined, retries: 1 });
    replica.advance('g', 'submitted', first.record?.results ?? [], undefined, 1);
    expect(next(replica.get('g')).call).toEqual([action(1)]);
    const again = result(action(1), 'ongoing', { attempt: 2 });
    const second = next(replica.get('g'), { results: [again] });
    expect(second.record).toMatchObject({
      decision: {
        reason: 'RetryCount is greater than RetryLimit, RetryLimit: 1',
        compensate: [undo(0), undo(1)],
      },
      retries: 0,
    });
  });

  test('defect 12.17: the count survives leaders, also for results that an older one forwarded', () => {
    const replica = limited(1);
    replica.term = 2;
    replica.advance('g', 'submitted', [result(1, 'unknown', { term: 1 })]);
    const { record } = next(replica.get('g'), {
      drivenSinceAccepted: false,
      results: [result(1, 'unknown', { term: 2, attempt: 2 })],
    });
    expect(record).toMatchObject({ decision: { to: 'aborting' }, retries: 1 });
  });

  test('starts from the submitted retry_count', () => {
    const { record } = next(limited(2, 2).get('g'), { results: [result(1, 'unknown')] });
    expect(record?.decision).toMatchObject({ to: 'aborting' });
  });

  test('defect 12.17: the first retry is immediate, the others are spread', () => {
    const replica = limited(10);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      const answer = result(1, 'unknown', { attempt, atMs: START_MS, durationMs: 0 });
      replica.advance('g', 'submitted', [{ ...answer, retryAtMs: START_MS + 20_000 }]);
      const { call, waitUntilMs } = next(replica.get('g'), {}, START_MS);
      waits.push(call.length > 0 ? 0 : (waitUntilMs ?? 0) - START_MS);
    }
    expect(waits).toEqual([0, 50, 100, 200, 400]);
  });

  test('does not apply to compensations', () => {
    const replica = limited(1);
    aborting(replica, 0);
    for (const attempt of [1, 2, 3]) {
      replica.advance('g', 'aborting', [result(undo(0), 'unknown', { attempt })]);
    }
    const actions = next(replica.get('g'), {}, START_MS + 5);
    expect(actions).toMatchObject({ call: [], record: undefined, waitUntilMs: START_MS + 10_000 });
  });
});

describe('what may have run', () => {
  const timedOut = { options: { timeoutToFailS: 1 } };
  const wanted = (replica: Replica, knowledge: Partial<Knowledge>): readonly number[] => {
    const { record } = next(replica.get('g'), knowledge, START_MS + 5000);
    return record?.decision?.to === 'aborting' ? record.decision.compensate : [];
  };

  test('every action on record, whatever it answered', () => {
    const replica = submitted(3, { ...timedOut, ...concurrent() });
    replica.advance('g', 'submitted', [ok(action(0)), result(action(1), 'ongoing')]);
    expect(wanted(replica, {})).toEqual([undo(0), undo(1)]);
  });

  test('every action that this leader started', () => {
    const replica = submitted(3, { ...timedOut, ...concurrent() });
    expect(wanted(replica, { started: new Set([action(2)]) })).toEqual([undo(2)]);
    expect(wanted(replica, { inflight: new Set([action(1)]) })).toEqual([undo(1)]);
  });

  test('defect 12.20: a late error does not undo that it was started', () => {
    const replica = submitted(3, { ...timedOut, ...concurrent({ 2: [0] }) });
    const results = [result(action(0), 'unknown')];
    const knowledge = { started: new Set([action(0), action(1)]) };
    const held = new Map(results.map((one) => [one.row, one]));
    expect(wanted(replica, { ...knowledge, held })).toEqual([undo(0), undo(1)]);
  });

  test('nothing else, when this leader has driven it since it was accepted', () => {
    const replica = submitted(3, timedOut);
    acted(replica, 0);
    expect(wanted(replica, { drivenSinceAccepted: true })).toEqual([undo(0)]);
  });

  test('after a takeover: what is runnable, and what would be if that had succeeded', () => {
    const inherited = { drivenSinceAccepted: false };
    const sequential = submitted(5, timedOut);
    acted(sequential, 0);
    expect(wanted(sequential, inherited)).toEqual([undo(0), undo(1), undo(2)]);
    const ordered = submitted(4, { ...timedOut, ...concurrent({ 1: [0], 2: [1], 3: [2] }) });
    expect(wanted(ordered, inherited)).toEqual([undo(0), undo(1)]);
    const wide = submitted(4, { ...timedOut, ...concurrent({ 3: [0, 1] }) });
    expect(wanted(wide, inherited)).toEqual([undo(0), undo(1), undo(2), undo(3)]);
  });

  test('the bug switch forgets it', () => {
    const buggy = createPatterns(new Set(['compensateOnlyRecorded'])).saga;
    const replica = submitted(3, timedOut);
    const knowledge: Knowledge = {
      drivenSinceAccepted: false,
      started: new Set(),
      inflight: new Set(),
      held: new Map(),
      commitEachResult: false,
    };
    const actions = buggy?.next(replica.get('g'), START_MS + 5000, knowledge);
    expect(actions?.record?.decision).toMatchObject({ compensate: [] });
    expect(NO_BUGS.size).toBe(0);
  });
});

describe('backward', () => {
  test('sequential: in reverse order, the failed step included', () => {
    const replica = submitted(3);
    acted(replica, 0);
    aborting(replica, 0, 1);
    expect(next(replica.get('g')).call).toEqual([undo(1)]);
    const second = next(replica.get('g'), { results: [ok(undo(1))] });
    expect(second.call).toEqual([undo(0)]);
    const results = [ok(undo(0)), ok(undo(1))];
    const end = next(replica.get('g'), { results });
    expect(end.record).toEqual({ results, decision: { to: 'failed', reason: '' }, retries: 0 });
  });

  test('concurrent without orders: all at once; with orders: followers first', () => {
    const all = submitted(3, concurrent());
    aborting(all, 0, 1, 2);
    expect(next(all.get('g')).call).toEqual([undo(0), undo(1), undo(2)]);
    const ordered = submitted(3, concurrent({ 1: [0], 2: [0] }));
    aborting(ordered, 0, 1);
    expect(next(ordered.get('g')).call).toEqual([undo(1)]);
    expect(next(ordered.get('g'), { results: [ok(undo(1))] }).call).toEqual([undo(0)]);
  });

  test('a compensation waits for its own action in flight, and for no other', () => {
    const replica = submitted(2, concurrent());
    aborting(replica, 0, 1);
    const { call } = next(replica.get('g'), { inflight: new Set([action(0)]) });
    expect(call).toEqual([undo(1)]);
    expect(next(replica.get('g')).call).toEqual([undo(0), undo(1)]);
  });

  test('a failed compensation is retried for ever, and nothing times out', () => {
    const replica = submitted(1, { options: { timeoutToFailS: 1 } });
    aborting(replica, 0);
    const failure = result(undo(0), 'failure', { retryAtMs: START_MS + 9000 });
    expect(next(replica.get('g'), { results: [failure] }).record?.decision).toBeUndefined();
    replica.advance('g', 'aborting', [failure]);
    const later = next(replica.get('g'), {}, START_MS + 9000);
    expect(later).toMatchObject({ call: [undo(0)], record: undefined });
  });

  test('at most one level of compensations is uncommitted when one starts', () => {
    const replica = submitted(3);
    aborting(replica, 0, 1, 2);
    const results = [ok(undo(1)), ok(undo(2))];
    expect(next(replica.get('g'), { results })).toMatchObject({ call: [], record: { results } });
  });

  test.each([
    ['step 2 fails', [0], 1, 'succeed succeed succeed failed'],
    ['step 1 fails', [], 0, 'succeed failed prepared prepared'],
  ] as const)('leaves the rows that dtm leaves: %s', (_, done, failing, rows) => {
    const replica = submitted(2);
    acted(replica, ...done);
    const begin = next(replica.get('g'), { results: [result(action(failing), 'failure')] });
    replica.advance('g', 'submitted', begin.record?.results ?? [], begin.record?.decision);
    for (let turn = 0; replica.get('g').state.status === 'aborting' && turn < 9; turn += 1) {
      const { call, record } = next(replica.get('g'));
      const results = call.map(ok);
      replica.advance('g', 'aborting', results, record?.decision);
    }
    expect(replica.get('g').state.status).toBe('failed');
    expect(replica.rows('g')).toBe(rows);
  });

  test('timeout while step 1 is ongoing leaves [succeed, prepared, prepared, prepared]', () => {
    const replica = submitted(2, { options: { timeoutToFailS: 1 } });
    replica.advance('g', 'submitted', [result(action(0), 'ongoing')]);
    const { record } = next(replica.get('g'), {}, START_MS + 1000);
    replica.advance('g', 'submitted', [], record?.decision);
    replica.advance('g', 'aborting', [ok(undo(0))], { to: 'failed', reason: '' });
    expect(replica.rows('g')).toBe('succeed prepared prepared prepared');
    expect(replica.get('g').state.status).toBe('failed');
  });
});

describe('prepared and finished', () => {
  test('defect 12.34: a prepared saga calls nothing, and fails when it was never submitted', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('g', 1), { ...DEFAULTS, preparedExpiryMs: 60_000 });
    const waiting = next(replica.get('g'));
    expect(waiting).toMatchObject({ call: [], waitUntilMs: START_MS + 60_000 });
    const { record } = next(replica.get('g'), {}, START_MS + 60_000);
    expect(record?.decision).toEqual({
      to: 'failed',
      reason: 'Not submitted within 60 seconds',
    });
  });

  test('defect 12.25: a finished saga only records what still arrives', () => {
    const replica = submitted(1);
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    expect(next(replica.get('g'))).toMatchObject({ call: [], record: undefined });
    const { record } = next(replica.get('g'), { results: [ok(1)] });
    expect(record).toEqual({ results: [ok(1)], decision: undefined, retries: 0 });
  });
});

describe('due times', () => {
  test('every unfinished saga has one: the earliest of plan, interval and timeout', () => {
    const plain = submitted(1);
    expect(plain.get('g').state.dueMs).toBe(START_MS + 10_000);
    const timed = submitted(1, { options: { timeoutToFailS: 60, retryIntervalS: 90 } });
    expect(timed.get('g').state.dueMs).toBe(START_MS + 60_000);
    const short = submitted(1, { options: { timeoutToFailS: 3 } });
    expect(short.get('g').definition.baseIntervalMs).toBe(3000);
    plain.advance('g', 'submitted', [result(1, 'unknown', { retryAtMs: START_MS + 25_000 })]);
    expect(plain.get('g').state.dueMs).toBe(START_MS + 25_000);
  });

  test('steps whose turn has not come do not hurry one that backs off', () => {
    const replica = submitted(3);
    const retryAtMs = START_MS + 3_600_000;
    replica.advance('g', 'submitted', [result(1, 'unknown', { retryAtMs })]);
    expect(replica.get('g').state.dueMs).toBe(retryAtMs);
  });

  test('compensations whose turn has not come do not hurry one that backs off', () => {
    const replica = submitted(2);
    replica.advance('g', 'submitted', [ok(1), result(3, 'failure')], {
      to: 'aborting',
      reason: 'refused',
      compensate: [0, 2],
    });
    const retryAtMs = START_MS + 3_600_000;
    replica.advance('g', 'aborting', [result(2, 'unknown', { retryAtMs })]);
    expect(replica.get('g').state.dueMs).toBe(retryAtMs);
  });
});
