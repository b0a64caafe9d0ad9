// Which statuses follow which, and what they write (dtm reference §5.1, §5.2, §5.6; §12.28, 12.38, 12.40).
//
// Method: random commands of clients and leaders on one replica; every edge that any of them causes must
// be one that the reference has, and each of those must be seen. Then examples.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type {
  BranchResult,
  Command,
  Decision,
  OperationRequest,
  Registration,
  Transaction,
  TransactionInput,
  TransactionStatus,
  TransactionType,
} from '../../../../src/engine/machine/index.ts';
import { activeRange, dueOfKey } from '../../../../src/engine/machine/index.ts';
import { bareInput, DAY_MS, DEFAULTS, Replica, result, START_MS, sagaInput } from './fixtures.ts';

const TYPES = ['saga', 'tcc', 'xa', 'msg', 'workflow'] as const;
const STATUSES = ['prepared', 'submitted', 'aborting', 'succeed', 'failed'] as const;
const OUTCOMES = ['success', 'failure', 'ongoing', 'unknown'] as const;

/** §5.1, with forceStop: `before>after`; a dash for what does not exist yet. */
const EDGES: Readonly<Record<TransactionType, readonly string[]>> = {
  saga: [
    '->prepared',
    '->submitted',
    'aborting>failed',
    // Never submitted (defect 12.34), or stopped.
    'prepared>failed',
    'prepared>submitted',
    'submitted>aborting',
    'submitted>failed',
    'submitted>succeed',
  ],
  tcc: [
    '->prepared',
    '->submitted',
    'aborting>failed',
    'prepared>aborting',
    'prepared>failed',
    'prepared>submitted',
    'submitted>failed',
    'submitted>succeed',
  ],
  xa: [
    '->prepared',
    '->submitted',
    'aborting>failed',
    'prepared>aborting',
    'prepared>failed',
    'prepared>submitted',
    'submitted>failed',
    'submitted>succeed',
  ],
  msg: [
    '->prepared',
    '->submitted',
    'prepared>failed',
    'prepared>submitted',
    'submitted>failed',
    'submitted>succeed',
  ],
  workflow: ['->prepared', 'prepared>failed', 'prepared>succeed'],
};

/** One random thing that a client, a leader or time does. */
interface Move {
  readonly kind: 'prepare' | 'submit' | 'abort' | 'stop' | 'register' | 'advance' | 'wait';
  readonly status: TransactionStatus;
  readonly to: Decision['to'];
  readonly row: number;
  readonly outcome: BranchResult['outcome'];
  readonly decides: boolean;
  readonly waitMs: number;
}

const move: fc.Arbitrary<Move> = fc.record({
  kind: fc.constantFrom(
    ...(['prepare', 'submit', 'abort', 'stop', 'register', 'wait'] as const),
    ...(['advance', 'advance', 'advance', 'advance', 'advance', 'advance'] as const),
  ),
  status: fc.constantFrom(...STATUSES),
  to: fc.constantFrom('submitted', 'aborting', 'succeed', 'failed'),
  row: fc.nat(4),
  outcome: fc.constantFrom(...OUTCOMES),
  decides: fc.boolean(),
  waitMs: fc.constantFrom(100, 40_000, 8 * DAY_MS),
});

function inputOf(type: TransactionType): TransactionInput {
  if (type === 'saga') return sagaInput('g', 2, { options: { timeoutToFailS: 5 } });
  if (type === 'msg') return sagaInput('g', 2, { type, queryPrepared: 'http://ap/check' });
  return bareInput('g', { type, options: { timeoutToFailS: 5 } });
}

function registrationOf(type: TransactionType, given: Move): Registration {
  if (type === 'xa') return { kind: 'xa', url: 'http://s/xa' };
  if (type !== 'workflow') return { kind: 'tcc', confirm: 'http://s/ok', cancel: 'http://s/undo' };
  const status = given.outcome === 'failure' ? 'failed' : 'succeed';
  return { kind: 'workflow', op: 'action', status };
}

function requestOf(type: TransactionType, given: Move): OperationRequest | undefined {
  const transaction = inputOf(type);
  switch (given.kind) {
    case 'prepare': {
      const kind = type === 'workflow' ? 'prepareWorkflow' : 'prepare';
      return { kind, transaction, defaults: DEFAULTS };
    }
    case 'submit': {
      const status = given.outcome === 'failure' ? 'failed' : 'succeed';
      const workflowEnd = { status, rollbackReason: '', result: '' } as const;
      const ending = type === 'workflow' ? { ...transaction, workflowEnd } : transaction;
      return { kind: 'submit', transaction: ending, defaults: DEFAULTS };
    }
    case 'abort':
      return { kind: 'abort', gid: 'g', type, rollbackReason: 'no' };
    case 'stop':
      // Rare, or nothing else would ever end.
      return given.row === 0 ? { kind: 'forceStop', gid: 'g', by: 'ops', reason: '' } : undefined;
    case 'register': {
      const registration = registrationOf(type, given);
      const payload = new Uint8Array();
      return { kind: 'registerBranch', gid: 'g', branchId: `0${given.row}`, registration, payload };
    }
    case 'advance':
    case 'wait':
      return undefined;
  }
}

function commandOf(given: Move, attempt: number): Command {
  const decision: Decision =
    given.to === 'aborting'
      ? { to: 'aborting', reason: 'why', compensate: [given.row] }
      : given.to === 'failed'
        ? { to: 'failed', reason: 'why' }
        : { to: given.to };
  return {
    kind: 'advance',
    gid: 'g',
    expectStatus: given.status,
    results: [result(given.row, given.outcome, { attempt })],
    decision: given.decides ? decision : undefined,
    retries: 0,
  };
}

function expectRowsOnlyEnd(before: Transaction | undefined, after: Transaction): void {
  const { type, status } = after.state;
  for (const [row, progress] of after.state.branches.entries()) {
    const was = before?.state.branches[row]?.status ?? 'prepared';
    if (was !== 'prepared') expect(progress.status).toBe(was);
    const op = after.definition.branches[row]?.op;
    const mayFail = (type === 'saga' || type === 'workflow') && op === 'action';
    // The check-back of a message is a row of ours that dtm does not have; its no is the end.
    const isCheckBack = type === 'msg' && op === 'msg';
    if (progress.status === 'failed') expect(mayFail || isCheckBack).toBe(true);
    expect(progress.finishTimeMs !== undefined).toBe(progress.status !== 'prepared');
  }
  expect(after.state.finishTimeMs !== undefined).toBe(status === 'succeed');
  expect(after.state.rollbackTimeMs !== undefined).toBe(status === 'failed');
}

function runMoves(type: TransactionType, moves: readonly Move[], seen: Set<string>): void {
  const replica = new Replica();
  for (const [at, given] of moves.entries()) {
    const before = replica.find('g');
    const request = requestOf(type, given);
    replica.nowMs += given.kind === 'wait' ? given.waitMs : 10;
    if (request !== undefined) replica.operate(request);
    else if (given.kind === 'advance') replica.apply(commandOf(given, at));
    const after = replica.find('g');
    if (after === undefined) continue;
    expectRowsOnlyEnd(before, after);
    const was = before?.state.status;
    if (was === 'succeed' || was === 'failed') {
      const { status, rollbackReason, finishTimeMs, rollbackTimeMs } = before?.state ?? {};
      expect(after.state).toMatchObject({ status, rollbackReason });
      expect([after.state.finishTimeMs, after.state.rollbackTimeMs]).toEqual([
        finishTimeMs,
        rollbackTimeMs,
      ]);
    }
    if (was === after.state.status) continue;
    seen.add(`${was ?? '-'}>${after.state.status}`);
    expect(after.state.updateTimeMs).toBe(replica.nowMs);
  }
}

describe('statuses', () => {
  test.each(TYPES)(
    '5.1.1, 5.1.2, 5.1.3, 5.1.5: %s: only the edges of the reference, rows that only end, times',
    (type) => {
      const seen = new Set<string>();
      // A fixed seed, because the edges seen are compared as well.
      fc.assert(
        fc.property(fc.array(move, { minLength: 5, maxLength: 60 }), (moves) =>
          runMoves(type, moves, seen),
        ),
        { numRuns: 500, seed: 7 },
      );
      expect([...seen].sort()).toEqual(EDGES[type].map((edge) => edge));
    },
  );

  test.each([
    ['submitted', ['prepared', 'succeed']],
    ['aborting', ['succeed', 'prepared']],
  ] as const)('5.1.4: of a tcc that was %s the other rows stay prepared', (status, rows) => {
    const replica = new Replica();
    replica.prepare(bareInput('g', { type: 'tcc' }));
    replica.operate({
      kind: 'registerBranch',
      gid: 'g',
      branchId: '01',
      registration: { kind: 'tcc', confirm: 'http://s/ok', cancel: 'http://s/undo' },
      payload: new Uint8Array(),
    });
    if (status === 'submitted') replica.submit(bareInput('g', { type: 'tcc' }));
    else replica.operate({ kind: 'abort', gid: 'g', type: 'tcc', rollbackReason: '' });
    const end: Decision = status === 'submitted' ? { to: 'succeed' } : { to: 'failed', reason: '' };
    replica.advance('g', status, [result(status === 'submitted' ? 1 : 0, 'success')], end);
    expect(replica.get('g').state.status).toBe(end.to);
    expect(replica.rows('g').split(' ')).toEqual(rows);
  });

  test('5.2.6, 5.10.3: rows of a workflow stand in the order of their arrival, with what was given', () => {
    const replica = new Replica();
    const transaction = bareInput('g', { type: 'workflow' });
    replica.operate({ kind: 'prepareWorkflow', transaction, defaults: DEFAULTS });
    for (const [branchId, op, status] of [
      ['02', 'action', 'succeed'],
      ['01', 'action', 'failed'],
      ['01', 'business', 'succeed'],
      ['02', 'rollback', 'succeed'],
      ['02', 'commit', 'succeed'],
    ] as const) {
      const registration = { kind: 'workflow', op, status } as const;
      const payload = new TextEncoder().encode(`${branchId}-${op}`);
      const request = {
        kind: 'registerBranch',
        gid: 'g',
        branchId,
        registration,
        payload,
      } as const;
      expect(replica.operate(request).kind).toBe('success');
    }
    const { definition, state } = replica.get('g');
    const shown = definition.branches.slice(1).map(({ branchId, op, payload }, at) => {
      const data = new TextDecoder().decode(definition.payloads[payload ?? -1]);
      return `${branchId} ${op} ${state.branches[at + 1]?.status} ${data}`;
    });
    expect(shown).toEqual([
      '02 action succeed 02-action',
      '01 action failed 01-action',
      '01 business succeed 01-business',
      '02 rollback succeed 02-rollback',
      '02 commit succeed 02-commit',
    ]);
  });
});

describe('intervals and due times', () => {
  test.each([
    [{}, 10_000],
    [{ retryIntervalS: 7 }, 7000],
    [{ retryIntervalS: 20, timeoutToFailS: 4 }, 20_000],
    [{ timeoutToFailS: 4 }, 4000],
    [{ timeoutToFailS: 10 }, 10_000],
    [{ timeoutToFailS: 60 }, 10_000],
  ])('5.6.1: the base interval of %j is %d ms', (options, intervalMs) => {
    const replica = new Replica();
    replica.submit(sagaInput('g', 1, { options }));
    expect(replica.get('g').definition.baseIntervalMs).toBe(intervalMs);
    expect(replica.get('g').state.intervalMs).toBe(intervalMs);
    replica.submit(sagaInput('m', 1, { type: 'msg', options }));
    expect(replica.get('m').state).toMatchObject({ intervalMs, dueMs: START_MS + intervalMs });
  });

  test('5.6.9: a delay sets the next time and leaves the interval alone', () => {
    const replica = new Replica();
    replica.submit(sagaInput('g', 1, { type: 'msg', customData: '{"delay":77}' }));
    expect(replica.get('g').state).toMatchObject({
      dueMs: START_MS + 77_000,
      intervalMs: 10_000,
    });
  });

  test('5.6.10: a reset makes the next time now, and leaves intervals and counts alone', () => {
    const replica = new Replica();
    replica.submit(sagaInput('g', 1));
    const late = { retryAtMs: START_MS + 40_000, intervalMs: 40_000 };
    replica.advance('g', 'submitted', [result(1, 'unknown', late)]);
    const before = replica.get('g').state;
    expect(before.dueMs).toBe(START_MS + 40_000);
    replica.nowMs += 1000;
    replica.operate({ kind: 'resetNextCronTime', gids: ['g'], mustExist: true });
    const after = replica.get('g').state;
    expect(after.dueMs).toBe(START_MS + 1000);
    expect(after.intervalMs).toBe(before.intervalMs);
    expect(after.branches[1]).toEqual({ ...before.branches[1], retryAtMs: START_MS + 1000 });
  });

  test('12.38: after prepare, submit, attempts and the end no earlier schedule is left behind', () => {
    const replica = new Replica();
    const schedule = () =>
      replica.state.keys(activeRange()).map((key) => dueOfKey(key).dueMs - START_MS);
    const input = sagaInput('g', 1, { type: 'msg' });
    replica.prepare(input);
    expect(schedule()).toEqual([35_000]);
    replica.nowMs += 1000;
    replica.submit(input);
    expect(schedule()).toEqual([11_000]);
    replica.advance('g', 'submitted', [result(1, 'unknown', { retryAtMs: START_MS + 21_000 })]);
    expect(schedule()).toEqual([21_000]);
    replica.advance('g', 'submitted', [result(1, 'success', { attempt: 2 })], { to: 'succeed' });
    expect(schedule()).toEqual([]);
  });
});

describe('texts', () => {
  test('5.12.6, 12.23: a long result of a workflow is kept whole, a long reason is cut and kept', () => {
    const replica = new Replica();
    const transaction = bareInput('g', { type: 'workflow' });
    replica.operate({ kind: 'prepareWorkflow', transaction, defaults: DEFAULTS });
    const result = 'r'.repeat(1_000_000);
    const rollbackReason = 'é'.repeat(5000);
    const workflowEnd = { status: 'failed', rollbackReason, result } as const;
    const ended = { ...transaction, workflowEnd };
    expect(replica.submit(ended)).toMatchObject({ kind: 'success', status: 'failed' });
    expect(replica.get('g').state.result).toBe(result);
    expect(replica.get('g').state.rollbackReason).toBe('é'.repeat(2048));
    expect(replica.submit(ended)).toMatchObject({ kind: 'success', status: 'failed' });
  });
});

describe('gids', () => {
  test('12.28: a gid is data: what quotes, wildcards and paths it holds changes nothing else', () => {
    const replica = new Replica();
    const gids = ["x' or '1'='1", 'x" or ""="', 'x%', 'x_', 'x*', '../x', 'x\\', 'x--', 'x'];
    for (const gid of gids) replica.submit(sagaInput(gid, 1));
    const late = { retryAtMs: START_MS + 40_000, intervalMs: 40_000 };
    for (const gid of gids) replica.advance(gid, 'submitted', [result(1, 'unknown', late)]);
    for (const [at, gid] of gids.entries()) {
      replica.operate({ kind: 'resetNextCronTime', gids: [gid], mustExist: true });
      const reset = gids.filter((other) => replica.get(other).state.dueMs === START_MS);
      expect(reset).toEqual(gids.slice(0, at + 1));
    }
  });

  test('12.40: a gid is new again after its retention, which is a day at least, and not before', () => {
    const replica = new Replica();
    const defaults = { ...DEFAULTS, retentionMs: 1000 };
    replica.submit(sagaInput('g', 1), defaults);
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    const other = sagaInput('g', 2);
    for (const passedMs of [1000, DAY_MS - 2000]) {
      replica.nowMs += passedMs;
      replica.apply({ kind: 'purge', gids: ['g'] });
      expect(replica.submit(other, defaults)).toMatchObject({ kind: 'failure' });
      expect(replica.prepare(other, defaults)).toMatchObject({ kind: 'failure' });
    }
    replica.nowMs += 1000;
    replica.apply({ kind: 'purge', gids: ['g'] });
    expect(replica.submit(other, defaults)).toMatchObject({ kind: 'success' });
    expect(replica.rows('g')).toBe('prepared prepared prepared prepared');
  });
});
