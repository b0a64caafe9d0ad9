// What clients ask of transactions, in every state: dtm's words, its defects repaired.

import { describe, expect, test } from 'vitest';
import {
  activeRange,
  type OperationResult,
  validateInput,
} from '../../../../src/engine/machine/index.ts';
import { bareInput, bytes, DAY_MS, DEFAULTS, Replica, result, sagaInput } from './fixtures.ts';

const STRICT = { ...DEFAULTS, strictResubmit: true };

function message(outcome: OperationResult): string {
  return outcome.kind === 'success' ? 'success' : `${outcome.kind}: ${outcome.message}`;
}

function succeeded(replica: Replica, gid: string): void {
  replica.submit(sagaInput(gid, 1));
  replica.advance(gid, 'submitted', [result(1, 'success')], { to: 'succeed' });
}

function aborting(replica: Replica, gid: string): void {
  replica.submit(sagaInput(gid, 1));
  const reason = 'url:http://s0/do return failed: no stock FAILURE';
  const decision = { to: 'aborting', reason, compensate: [] } as const;
  replica.advance(gid, 'submitted', [result(1, 'failure')], decision);
}

function failed(replica: Replica, gid: string): void {
  aborting(replica, gid);
  replica.advance(gid, 'aborting', [result(0, 'success')], { to: 'failed', reason: '' });
}

describe('prepare', () => {
  test('creates a prepared transaction with its rows, compensation before action', () => {
    const replica = new Replica();
    expect(message(replica.prepare(sagaInput('p1', 2)))).toBe('success');
    const { definition, state } = replica.get('p1');
    expect(state.status).toBe('prepared');
    expect(definition.branches.map(({ branchId, op }) => `${branchId} ${op}`)).toEqual([
      '01 compensate',
      '01 action',
      '02 compensate',
      '02 action',
    ]);
    expect(state.dueMs).toBe(replica.nowMs + 7 * DAY_MS);
  });

  test('of a prepared gid succeeds and changes nothing', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('p1', 2));
    const before = replica.get('p1');
    expect(message(replica.prepare(sagaInput('p1', 1)))).toBe('success');
    expect(replica.get('p1')).toEqual(before);
  });

  test('of a gid in any other status is refused with dtm’s text', () => {
    const replica = new Replica();
    replica.submit(sagaInput('p1', 1));
    expect(message(replica.prepare(sagaInput('p1', 1)))).toBe(
      "failure: current status 'submitted', cannot prepare. FAILURE",
    );
  });
});

describe('submit', () => {
  test('creates a submitted transaction that has a due time', () => {
    const replica = new Replica();
    replica.term = 5;
    expect(replica.submit(sagaInput('s1', 2))).toEqual({
      kind: 'success',
      gid: 's1',
      status: 'submitted',
      count: 1,
      waitResult: false,
    });
    const { state } = replica.get('s1');
    expect(state.acceptedTerm).toBe(5);
    expect(state.dueMs).toBe(replica.nowMs + 10_000);
    expect(replica.state.keys(activeRange())).toHaveLength(1);
  });

  test('a bare submit after a prepare runs what was prepared', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('s1', 2, { options: { timeoutToFailS: 60 } }));
    replica.nowMs += 1000;
    expect(message(replica.submit(bareInput('s1')))).toBe('success');
    const { definition, state } = replica.get('s1');
    expect(definition.steps).toHaveLength(2);
    expect(definition.timeoutMs).toBe(60_000);
    expect(state).toMatchObject({ status: 'submitted', acceptedTerm: 1 });
    expect(state.updateTimeMs - state.createTimeMs).toBe(1000);
  });

  test('what a submit gives overrides what the prepare gave', () => {
    const replica = new Replica();
    const options = { timeoutToFailS: 60, retryLimit: 2, branchHeaders: { a: '1' } };
    replica.prepare(sagaInput('s1', 2, { options }));
    const customData = '{"concurrent":true}';
    const given = { timeoutToFailS: 5, branchHeaders: { b: '2' }, retryLimit: 0 };
    replica.submit(bareInput('s1', { customData, options: given }));
    const { definition } = replica.get('s1');
    expect(definition.concurrent).toBe(true);
    expect(definition.timeoutMs).toBe(5000);
    expect(definition.options).toMatchObject({ retryLimit: 2, branchHeaders: { b: '2' } });
  });

  test('a submit whose steps contradict the prepared ones is refused, never half believed', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('s1', 2));
    expect(message(replica.submit(sagaInput('s1', 3)))).toBe(
      "failure: current status 'prepared', cannot sumbmit. FAILURE",
    );
    expect(message(replica.submit(bareInput('s1', { type: 'tcc' })))).toContain('cannot sumbmit');
    expect(replica.get('s1').state.status).toBe('prepared');
  });

  test('P8: the answer to a type that is none is short, however long the word', () => {
    const replica = new Replica();
    const type = 'x'.repeat(100_000) as 'saga';
    const outcome = replica.submit(bareInput('s1', { type }));
    expect(outcome.kind).toBe('error');
    expect(message(outcome).length).toBeLessThan(5000);
    // The stored results of the session can be read again.
    expect(message(replica.submit(sagaInput('s2', 1)))).toBe('success');
  });

  test('a submit that makes what was prepared impossible is refused and changes nothing', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('s1', 2));
    const before = replica.get('s1');
    const customData = '{"orders":{"7":[0]}}';
    expect(replica.submit(bareInput('s1', { customData })).kind).toBe('error');
    expect(replica.get('s1')).toEqual(before);
  });

  test('defect 12.1: a second submit of a submitted saga keeps its rows', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 2));
    replica.advance('s1', 'submitted', [result(1, 'success')]);
    expect(message(replica.submit(sagaInput('s1', 2)))).toBe('success');
    expect(replica.rows('s1')).toBe('prepared succeed prepared prepared');
  });

  test('bug switch resubmitReruns: a second submit forgets what its rows have done', () => {
    const replica = new Replica(new Set(['resubmitReruns']));
    replica.submit(sagaInput('s1', 2));
    replica.advance('s1', 'submitted', [result(1, 'success')]);
    replica.submit(sagaInput('s1', 2));
    expect(replica.rows('s1')).toBe('prepared prepared prepared prepared');
  });

  test('a second submit brings planned attempts forward, as dtm starts processing again', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 1));
    replica.advance('s1', 'submitted', [result(1, 'unknown', { intervalMs: 20_000 })]);
    replica.nowMs += 100;
    replica.submit(sagaInput('s1', 1));
    const { state } = replica.get('s1');
    expect(state.branches[1]).toMatchObject({ retryAtMs: replica.nowMs, intervalMs: 20_000 });
    expect(state.dueMs).toBe(replica.nowMs);
  });

  test('another transaction under a running gid is refused; strict compatibility accepts it', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 2));
    const other = sagaInput('s1', 2, { payloads: [bytes('1'), bytes('2')] });
    expect(message(replica.submit(other))).toBe(
      "failure: current status 'submitted', cannot sumbmit. FAILURE",
    );
    expect(message(replica.submit(other, STRICT))).toBe('success');
    expect(replica.get('s1').definition.payloads[0]).toEqual(bytes('{"n":0}'));
  });

  test('defect 12.41: a repeated submit of a saga that has succeeded is a success', () => {
    const replica = new Replica();
    succeeded(replica, 's1');
    expect(replica.submit(sagaInput('s1', 1))).toMatchObject({
      kind: 'success',
      status: 'succeed',
    });
    expect(message(replica.submit(bareInput('s1', { options: { waitResult: true } })))).toBe(
      'success',
    );
    expect(message(replica.submit(sagaInput('s1', 2)))).toBe(
      "failure: current status 'succeed', cannot sumbmit. FAILURE",
    );
  });

  test.each([
    { customData: '{"concurrent":true}' },
    { options: { timeoutToFailS: 3 } },
    { options: { branchHeaders: { a: 'b' } } },
    { options: { retryLimit: 1 } },
    { options: { concurrent: true } },
    { queryPrepared: 'http://q' },
    { protocol: 'grpc' as const },
    { payloads: [bytes('{"n":1}')] },
    { payloads: [bytes('')] },
  ])('defect 12.41: a given field that differs is a contradiction: %j', (more) => {
    const replica = new Replica();
    succeeded(replica, 's1');
    expect(message(replica.submit(sagaInput('s1', 1, more)))).toContain('cannot sumbmit');
  });

  test('strict compatibility answers a repeat as dtm does', () => {
    const replica = new Replica();
    succeeded(replica, 's1');
    failed(replica, 's2');
    expect(message(replica.submit(sagaInput('s1', 1), STRICT))).toBe(
      "failure: current status 'succeed', cannot sumbmit. FAILURE",
    );
    expect(message(replica.submit(sagaInput('s2', 1), STRICT))).toBe(
      "failure: current status 'failed', cannot sumbmit. FAILURE",
    );
  });

  test('a repeat of what is rolling or rolled back keeps 409 and tells the stored reason once', () => {
    const replica = new Replica();
    aborting(replica, 's1');
    failed(replica, 's2');
    const reason = 'url:http://s0/do return failed: no stock FAILURE';
    expect(message(replica.submit(sagaInput('s1', 1)))).toBe(
      `failure: current status 'aborting', cannot sumbmit. ${reason}`,
    );
    expect(message(replica.submit(sagaInput('s2', 1)))).toBe(
      `failure: current status 'failed', cannot sumbmit. ${reason}`,
    );
  });
});

describe('defect 12.13: what can never finish is never accepted, and leaves nothing behind', () => {
  test.each([
    [sagaInput('', 1), 'gid is empty'],
    [sagaInput('x'.repeat(1025), 1), 'gid is longer than 1024 bytes'],
    [sagaInput('g', 2, { payloads: [bytes('1')] }), 'payloads: 1 given for 2 steps'],
    [sagaInput('g', 1, { payloads: undefined }), 'payloads: 0 given for 1 steps'],
    [sagaInput('g', 1, { customData: '{' }), 'custom_data: is not JSON'],
    [sagaInput('g', 1, { customData: '[]' }), 'custom_data: is not a JSON object'],
    [
      sagaInput('g', 1, { customData: '{"concurrent":1}' }),
      'custom_data: concurrent is not a boolean',
    ],
    [sagaInput('g', 1, { customData: '{"orders":3}' }), 'custom_data: orders is not an object'],
    [
      sagaInput('g', 1, { customData: '{"orders":{"a":[0]}}' }),
      'custom_data: orders has a key that is no step number',
    ],
    [
      sagaInput('g', 2, { customData: '{"orders":{"1":["0"]}}' }),
      'custom_data: orders of step 1 has an element that is no step number',
    ],
    [
      sagaInput('g', 2, { customData: '{"orders":{"1":0}}' }),
      'custom_data: orders of step 1 is not an array',
    ],
    [
      sagaInput('g', 2, { customData: '{"orders":{"2":[0]}}' }),
      'custom_data: orders name step 2, but there are 2 steps',
    ],
    [
      sagaInput('g', 2, { customData: '{"orders":{"1":[-1]}}' }),
      'custom_data: orders name step -1, but there are 2 steps',
    ],
    [
      sagaInput('g', 2, { customData: '{"concurrent":true,"orders":{"0":[1],"1":[0]}}' }),
      'custom_data: orders let step 0 wait for itself',
    ],
    [
      sagaInput('g', 2, { customData: '{"orders":{"0":[1]}}' }),
      'custom_data: orders let step 0 wait for itself',
    ],
    [sagaInput('g', 1, { type: 'x' as never }), "unknown trans type: 'x'"],
  ] as const)('case %#', (input, text) => {
    const replica = new Replica();
    for (const kind of ['submit', 'prepare'] as const) {
      const outcome = replica.operate({ kind, transaction: input, defaults: DEFAULTS });
      expect(outcome).toEqual({ kind: 'error', message: text });
      expect(validateInput(input)).toEqual(outcome);
    }
    expect([...replica.state.values.keys()].filter((key) => key < '\x07')).toEqual([]);
  });

  test('a gid that is half a character is refused where it arrives: the log could not tell it', () => {
    const text = 'gid is not well-formed text';
    expect(validateInput(sagaInput('\ud800', 1))).toEqual({ kind: 'error', message: text });
  });

  test('what is unusual but can finish is accepted', () => {
    const replica = new Replica();
    const inputs = [
      sagaInput('a', 0, { steps: undefined, payloads: undefined }),
      sagaInput('b', 100),
      sagaInput('c', 1, { payloads: [bytes(''), bytes('extra')] }),
      sagaInput('d', 2, { customData: '{"Concurrent":true,"ORDERS":{"1":[0,0]},"more":[]}' }),
      sagaInput('e', 1, { customData: 'null', options: { timeoutToFailS: -5, retryLimit: -1 } }),
      sagaInput('f', 1, { steps: [{ action: '', compensate: '' }] }),
    ];
    for (const input of inputs) expect(message(replica.submit(input))).toBe('success');
    expect(replica.get('b').definition.branches.at(-1)?.branchId).toBe('100');
    expect(replica.get('c').definition.payloads).toHaveLength(1);
    expect(replica.get('d').definition.orders).toEqual(new Map([[1, [0]]]));
    expect(replica.get('e').definition.timeoutMs).toBeUndefined();
  });

  test('defect 12.35: orders as PHP sends them are an index map', () => {
    const replica = new Replica();
    replica.submit(sagaInput('g', 2, { customData: '{"concurrent":true,"orders":[]}' }));
    replica.submit(sagaInput('h', 2, { customData: '{"concurrent":true,"orders":[[],[0]]}' }));
    expect(replica.get('g').definition.orders.size).toBe(0);
    expect(replica.get('h').definition.orders).toEqual(new Map([[1, [0]]]));
  });
});

describe('abort', () => {
  test('of an unknown gid is an error, not an answer about a transaction', () => {
    const request = { kind: 'abort', gid: 'x', type: 'tcc', rollbackReason: '' } as const;
    expect(new Replica().operate(request)).toEqual({
      kind: 'error',
      message: 'no TransGlobal with gid: x found',
    });
  });

  test('defect 12.12: a saga is not aborted by stating another type', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('s1', 1));
    const request = { kind: 'abort', gid: 's1', type: 'tcc', rollbackReason: 'r' } as const;
    expect(message(replica.operate(request))).toBe(
      "failure: trans type: 'saga' current status 'prepared', cannot abort. FAILURE",
    );
    expect(replica.get('s1').state.status).toBe('prepared');
  });
});

describe('forceStop', () => {
  const stop = { kind: 'forceStop', gid: 's1', by: 'ops', reason: 'bank is down' } as const;

  test('5.12.7, defect 12.15: ends a transaction and stores by whom and why', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 1));
    expect(replica.operate(stop)).toMatchObject({ kind: 'success', status: 'failed' });
    expect(replica.get('s1').state).toMatchObject({
      status: 'failed',
      rollbackTimeMs: replica.nowMs,
      finishTimeMs: undefined,
      rollbackReason: 'force stopped by ops: bank is down',
      forced: { by: 'ops', reason: 'bank is down' },
      dueMs: undefined,
    });
    expect(replica.state.keys(activeRange())).toEqual([]);
  });

  test('keeps the reason of a rollback under way', () => {
    const replica = new Replica();
    aborting(replica, 's1');
    replica.operate(stop);
    expect(replica.get('s1').state.rollbackReason).toContain('no stock');
  });

  test('of what ended by itself is refused with dtm’s text', () => {
    const replica = new Replica();
    succeeded(replica, 's1');
    expect(message(replica.operate(stop))).toBe(
      'failure: global transaction force stop error. status: succeed. error: FAILURE',
    );
  });

  test('5.11.2, defect 12.24: a repeat is a success, and a race with a submit is never an error', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('s1', 1));
    replica.operate(stop);
    expect(message(replica.operate(stop))).toBe('success');
    expect(message(replica.operate({ ...stop, strict: true }))).toBe(
      'failure: global transaction force stop error. status: failed. error: FAILURE',
    );
    expect(replica.submit(bareInput('s1')).kind).toBe('failure');
  });

  test('of an unknown gid is an error', () => {
    expect(new Replica().operate(stop).kind).toBe('error');
  });
});

describe('resetNextCronTime', () => {
  test('makes planned attempts due now and counts what exists, whatever its status', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 1));
    replica.advance('s1', 'submitted', [result(1, 'unknown')]);
    succeeded(replica, 's2');
    replica.nowMs += 5;
    const request = {
      kind: 'resetNextCronTime',
      gids: ['s1', 's2', 'x'],
      mustExist: false,
    } as const;
    expect(replica.operate(request)).toMatchObject({ kind: 'success', gid: 's1', count: 2 });
    expect(replica.get('s1').state.dueMs).toBe(replica.nowMs);
    expect(replica.get('s1').state.branches[1]?.retryAtMs).toBe(replica.nowMs);
    expect(replica.get('s2').state.dueMs).toBeUndefined();
  });

  test('of an unknown gid that must exist is an error and changes nothing', () => {
    const replica = new Replica();
    replica.submit(sagaInput('s1', 1));
    const before = replica.get('s1');
    replica.nowMs += 5;
    const request = { kind: 'resetNextCronTime', gids: ['s1', 'x'], mustExist: true } as const;
    expect(replica.operate(request).kind).toBe('error');
    expect(replica.get('s1')).toEqual(before);
  });
});
