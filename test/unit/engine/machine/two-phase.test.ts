// TCC and XA as clients ask for them: prepare, registerBranch, submit, abort, in every state.
// Names carry the number of the statement or defect of the dtm reference that they defend.

import { describe, expect, test } from 'vitest';
import {
  activeRange,
  definitionKey,
  describeTransaction,
  type OperationRequest,
  type OperationResult,
  type Registration,
  stateKey,
  type TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import { encodeDefinition, encodeState } from '../../../../src/engine/machine/record-codec.ts';
import { BRANCH_ID_BYTES_MAX } from '../../../../src/engine/machine/register-branch.ts';
import {
  REGISTERED_BYTES_MAX,
  REGISTERED_ROWS_MAX,
} from '../../../../src/engine/machine/registered-rows.ts';
import { bareInput, bytes, DEFAULTS, Replica, result, sagaInput } from './fixtures.ts';

const STRICT = { ...DEFAULTS, strictResubmit: true };

type Kind = 'tcc' | 'xa';

function message(outcome: OperationResult): string {
  return outcome.kind === 'success' ? 'success' : `${outcome.kind}: ${outcome.message}`;
}

function bare(type: Kind, more: Partial<TransactionInput> = {}): TransactionInput {
  return bareInput('g', { type, ...more });
}

function registration(type: Kind, name: string): Registration {
  return type === 'tcc'
    ? { kind: 'tcc', confirm: `http://${name}/ok`, cancel: `http://${name}/undo` }
    : { kind: 'xa', url: `http://${name}/xa` };
}

function register(
  replica: Replica,
  type: Kind,
  branchId: string,
  more: Partial<Extract<OperationRequest, { readonly kind: 'registerBranch' }>> = {},
): OperationResult {
  return replica.operate({
    kind: 'registerBranch',
    gid: 'g',
    branchId,
    registration: registration(type, `s${branchId}`),
    payload: type === 'tcc' ? bytes(`{"b":"${branchId}"}`) : bytes(''),
    ...more,
  });
}

/** A prepared transaction with branches 01 and 02. */
function prepared(type: Kind, options: TransactionInput['options'] = {}): Replica {
  const replica = new Replica();
  expect(message(replica.prepare(bare(type, { options })))).toBe('success');
  for (const branchId of ['01', '02']) {
    expect(message(register(replica, type, branchId))).toBe('success');
  }
  return replica;
}

function abort(replica: Replica, type: string, reason = '', strict = false): OperationResult {
  return replica.operate({ kind: 'abort', gid: 'g', type, rollbackReason: reason, strict });
}

const finish = (replica: Replica): void => {
  const rows = replica.get('g').definition.branches;
  const { status } = replica.get('g').state;
  const forward = status === 'submitted';
  const ops = forward ? ['confirm', 'commit'] : ['cancel', 'rollback'];
  const results = rows.flatMap(({ op }, row) => (ops.includes(op) ? [result(row, 'success')] : []));
  const decision = forward ? { to: 'succeed' as const } : { to: 'failed' as const, reason: '' };
  replica.advance('g', status, results, decision);
};

describe.each(['tcc', 'xa'] as const)('%s', (type) => {
  test('1.4: a prepare creates it without rows, and is repeatable', () => {
    const replica = new Replica();
    expect(message(replica.prepare(bare(type)))).toBe('success');
    expect(message(replica.prepare(bare(type)))).toBe('success');
    expect(replica.get('g').definition.branches).toEqual([]);
    expect(replica.get('g').state.status).toBe('prepared');
  });

  test('5.5.1: a prepared one is due at its own limit, by default at TimeoutToFail', () => {
    const replica = new Replica();
    replica.prepare(bare(type));
    expect(replica.get('g').state.dueMs).toBe(replica.nowMs + 35_000);
    replica.prepare(bareInput('h', { type, options: { timeoutToFailS: 3 } }));
    expect(replica.get('h').state.dueMs).toBe(replica.nowMs + 3000);
  });

  test('5.1.6: a bare submit without any prepare is accepted, branchless, and may succeed at once', () => {
    const replica = new Replica();
    expect(message(replica.submit(bare(type)))).toBe('success');
    replica.advance('g', 'submitted', [], { to: 'succeed' });
    expect(replica.get('g').state.status).toBe('succeed');
    expect(replica.state.keys(activeRange())).toHaveLength(0);
  });

  test('5.2.5, 11.12: each branch adds two rows, backward first', () => {
    const { definition, state } = prepared(type).get('g');
    const shown = definition.branches.map(({ branchId, op, url }) => `${branchId} ${op} ${url}`);
    expect(shown).toEqual(
      type === 'tcc'
        ? [
            '01 cancel http://s01/undo',
            '01 confirm http://s01/ok',
            '02 cancel http://s02/undo',
            '02 confirm http://s02/ok',
          ]
        : [
            '01 rollback http://s01/xa',
            '01 commit http://s01/xa',
            '02 rollback http://s02/xa',
            '02 commit http://s02/xa',
          ],
    );
    expect(state.branches.map(({ status }) => status)).toEqual(Array(4).fill('prepared'));
  });

  test('5.3.1: a bare submit keeps the registered rows, and what it gives besides overrides', () => {
    const replica = prepared(type, { timeoutToFailS: 60, branchHeaders: { a: '1' } });
    const before = replica.get('g').definition;
    replica.nowMs += 500;
    const given = { retryIntervalS: 2 };
    expect(message(replica.submit(bare(type, { options: given })))).toBe('success');
    const { definition, state } = replica.get('g');
    expect(definition.branches).toEqual(before.branches);
    expect(definition.payloads).toEqual(before.payloads);
    expect(definition.timeoutMs).toBe(60_000);
    expect(definition.options.branchHeaders).toEqual({ a: '1' });
    expect(state.branches.map(({ intervalMs }) => intervalMs)).toEqual(Array(4).fill(2000));
    expect(state).toMatchObject({ status: 'submitted', acceptedTerm: 1 });
    expect(state.updateTimeMs - state.createTimeMs).toBe(500);
  });

  test('12.1: a second submit keeps rows and progress, so that no confirm or commit is skipped', () => {
    const replica = prepared(type);
    replica.submit(bare(type));
    replica.advance('g', 'submitted', [result(1, 'success')]);
    expect(message(replica.submit(bare(type)))).toBe('success');
    expect(replica.rows('g')).toBe('prepared succeed prepared prepared');
    replica.advance('g', 'submitted', [], { to: 'succeed' });
    expect(replica.get('g').state.status).toBe('submitted');
  });

  test('12.41: a submit of one that succeeded is a success, unless dtm’s answer is asked for', () => {
    const replica = prepared(type);
    replica.submit(bare(type));
    finish(replica);
    expect(message(replica.submit(bare(type)))).toBe('success');
    expect(message(replica.submit(bare(type), STRICT))).toBe(
      "failure: current status 'succeed', cannot sumbmit. FAILURE",
    );
  });

  test('12.12: a submit that states another type commits nothing, however strict', () => {
    for (const defaults of [DEFAULTS, STRICT]) {
      const replica = prepared(type);
      for (const other of ['saga', 'msg', type === 'tcc' ? 'xa' : 'tcc'] as const) {
        const submit = bareInput('g', { type: other });
        expect(message(replica.submit(submit, defaults))).toBe(
          "failure: current status 'prepared', cannot sumbmit. FAILURE",
        );
      }
      expect(replica.get('g').state.status).toBe('prepared');
    }
  });

  test('1.4: a submit of one that rolls back, or has, is a failure with the stored reason', () => {
    const replica = prepared(type);
    abort(replica, type, 'stock gone');
    expect(message(replica.submit(bare(type)))).toBe(
      "failure: current status 'aborting', cannot sumbmit. stock gone FAILURE",
    );
    finish(replica);
    expect(message(replica.submit(bare(type)))).toBe(
      "failure: current status 'failed', cannot sumbmit. stock gone FAILURE",
    );
  });

  test('11.6: a submit that states the other type is refused', () => {
    const replica = prepared(type);
    const other = type === 'tcc' ? 'xa' : 'tcc';
    expect(message(replica.submit(bare(other)))).toBe(
      "failure: current status 'prepared', cannot sumbmit. FAILURE",
    );
  });

  test('1.4: an abort rolls back, keeps the reason exactly, and wants every backward row', () => {
    const replica = prepared(type);
    expect(message(abort(replica, type, 'stock gone. FAILURE '))).toBe('success');
    const { state } = replica.get('g');
    expect(state.status).toBe('aborting');
    expect(state.rollbackReason).toBe('stock gone. FAILURE ');
    expect(state.branches.map(({ wanted }) => wanted)).toEqual([true, false, true, false]);
  });

  test('12.24: an abort of one that rolls back is a success, and hurries its attempts', () => {
    const replica = prepared(type);
    abort(replica, type, 'first');
    replica.advance('g', 'aborting', [result(2, 'unknown')]);
    expect(replica.get('g').state.dueMs).toBe(replica.nowMs + 10_000);
    expect(message(abort(replica, type))).toBe('success');
    expect(replica.get('g').state).toMatchObject({
      status: 'aborting',
      rollbackReason: 'first',
      dueMs: replica.nowMs,
    });
    expect(message(abort(replica, type, 'second'))).toBe('success');
    expect(replica.get('g').state.rollbackReason).toBe('second');
  });

  test('P6: an abort of one that ended by abort is a success, unless dtm’s answer is asked for', () => {
    const replica = prepared(type);
    abort(replica, type);
    finish(replica);
    expect(replica.get('g').state.status).toBe('failed');
    expect(message(abort(replica, type))).toBe('success');
    expect(message(abort(replica, type, '', true))).toBe(
      `failure: trans type: '${type}' current status 'failed', cannot abort. FAILURE`,
    );
  });

  test('an abort of one that was stopped by force is refused: nothing was rolled back', () => {
    const replica = prepared(type);
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    expect(message(abort(replica, type))).toBe(
      `failure: trans type: '${type}' current status 'failed', cannot abort. FAILURE`,
    );
  });

  test('P3: after a forced stop it says which branches were not undone', () => {
    const replica = prepared(type);
    abort(replica, type);
    replica.advance('g', 'aborting', [result(2, 'success')]);
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    expect(describeTransaction(replica.get('g'), replica.nowMs).notUndone).toEqual(['01']);
  });

  test('P4: what it waits for is named', () => {
    const replica = prepared(type);
    const description = () => describeTransaction(replica.get('g'), replica.nowMs);
    expect(description()).toMatchObject({ waitingFor: 'its submit or abort', notUndone: [] });
    replica.submit(bare(type));
    const row = type === 'tcc' ? 3 : 1;
    replica.advance('g', 'submitted', [result(row, 'unknown')]);
    expect(description().stuck).toHaveLength(1);
    expect(description().waitingFor).toMatch(/^the next attempt of (confirm 02|commit 01)$/);
  });

  test('P3: an abort of what is submitted or has succeeded is refused', () => {
    const replica = prepared(type);
    replica.submit(bare(type));
    for (const status of ['submitted', 'succeed']) {
      expect(message(abort(replica, type))).toBe(
        `failure: trans type: '${type}' current status '${status}', cannot abort. FAILURE`,
      );
      finish(replica);
    }
  });

  test('12.12: an abort must state the stored type', () => {
    const replica = prepared(type);
    for (const stated of ['', 'saga', 'workflow', type === 'tcc' ? 'xa' : 'tcc']) {
      expect(message(abort(replica, stated))).toBe(
        `failure: trans type: '${type}' current status 'prepared', cannot abort. FAILURE`,
      );
    }
    expect(replica.get('g').state.status).toBe('prepared');
  });

  test('11.7: an abort answers with the wait_result that was stored', () => {
    const replica = prepared(type, { waitResult: true });
    expect(abort(replica, type)).toMatchObject({ kind: 'success', waitResult: true });
  });

  test('5.5.2: a timeout is believed only of a prepared one whose limit has passed', () => {
    const replica = prepared(type);
    const reason = 'Timeout after 35 seconds';
    const decision = { to: 'aborting', reason, compensate: [] } as const;
    replica.advance('g', 'prepared', [], decision);
    expect(replica.get('g').state.status).toBe('prepared');
    replica.nowMs += 35_000;
    replica.submit(bare(type));
    replica.advance('g', 'submitted', [], decision);
    expect(replica.get('g').state.status).toBe('submitted');
  });

  test('12.14: a timeout rolls back with the effective limit as its reason', () => {
    const replica = prepared(type);
    replica.nowMs += 35_000;
    const reason = 'Timeout after 35 seconds';
    replica.advance('g', 'prepared', [], { to: 'aborting', reason, compensate: [] });
    const { state } = replica.get('g');
    expect(state).toMatchObject({ status: 'aborting', rollbackReason: reason });
    expect(state.branches.map(({ wanted }) => wanted)).toEqual([true, false, true, false]);
  });

  test('P3: it ends only when every row of its direction has succeeded', () => {
    const forward = prepared(type);
    forward.submit(bare(type));
    forward.advance('g', 'submitted', [result(3, 'success')], { to: 'succeed' });
    expect(forward.get('g').state.status).toBe('submitted');
    const backward = prepared(type);
    abort(backward, type);
    backward.advance('g', 'aborting', [result(2, 'success')], { to: 'failed', reason: '' });
    expect(backward.get('g').state.status).toBe('aborting');
  });

  test('5.9.3: a failure does not end a row', () => {
    const replica = prepared(type);
    replica.submit(bare(type));
    replica.advance('g', 'submitted', [result(3, 'failure')]);
    expect(replica.rows('g')).toBe('prepared prepared prepared prepared');
    expect(replica.get('g').state.branches[3]).toMatchObject({ attemptCount: 1, unknownCount: 1 });
  });

  test('12.25: a result that arrives after a forced stop is recorded', () => {
    const replica = prepared(type);
    replica.submit(bare(type));
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    replica.advance('g', 'submitted', [result(3, 'success')], { to: 'succeed' });
    expect(replica.rows('g')).toBe('prepared prepared prepared succeed');
    expect(replica.get('g').state.status).toBe('failed');
  });
});

describe('registerBranch', () => {
  test.each(['tcc', 'xa'] as const)(
    '12.11: the same content again is a success and changes nothing (%s)',
    (type) => {
      const replica = prepared(type);
      const before = replica.get('g');
      replica.nowMs += 100;
      expect(register(replica, type, '01')).toMatchObject({
        kind: 'success',
        status: 'prepared',
      });
      expect(replica.get('g')).toEqual(before);
    },
  );

  test.each([
    ['tcc', { payload: bytes('{}') }],
    ['tcc', { registration: { kind: 'tcc', confirm: 'http://s01/ok', cancel: '' } }],
    ['tcc', { registration: { kind: 'tcc', confirm: '', cancel: 'http://s01/undo' } }],
    ['xa', { registration: { kind: 'xa', url: 'http://other/xa' } }],
    ['xa', { payload: bytes('x') }],
  ] as const)(
    '12.11: different content is a failure and changes nothing (%s, %#)',
    (type, more) => {
      const replica = prepared(type);
      const before = replica.get('g');
      expect(message(register(replica, type, '01', more))).toBe(
        'failure: branch 01 is registered with different content. FAILURE',
      );
      expect(replica.get('g')).toEqual(before);
    },
  );

  test('5.2.7, 11.32: nested and oddly padded ids are opaque', () => {
    const replica = prepared('tcc');
    for (const branchId of ['0201', '10', '1', '01-01', '支店', ' ']) {
      expect(message(register(replica, 'tcc', branchId))).toBe('success');
    }
    expect(replica.get('g').definition.branches).toHaveLength(16);
  });

  test('5.2.5: empty URLs and an empty payload are accepted', () => {
    const replica = new Replica();
    replica.prepare(bare('tcc'));
    const empty = { registration: { kind: 'tcc', confirm: '', cancel: '' }, payload: bytes('') };
    expect(message(register(replica, 'tcc', '01', empty as never))).toBe('success');
    expect(message(register(replica, 'tcc', '01', empty as never))).toBe('success');
    const { definition } = replica.get('g');
    expect(definition.branches.map(({ payload }) => payload)).toEqual([undefined, undefined]);
  });

  const notFound = 'failure: no trans with gid: g status: prepared found FAILURE';

  test('1.4: an unknown gid is a failure with dtm’s text', () => {
    expect(message(register(new Replica(), 'tcc', '01'))).toBe(notFound);
  });

  test.each(['submitted', 'succeed', 'aborting', 'failed'] as const)(
    '5.9.5: of one that is %s it is a failure with dtm’s text, known or not',
    (status) => {
      const replica = prepared('tcc');
      if (status === 'submitted' || status === 'succeed') replica.submit(bare('tcc'));
      else abort(replica, 'tcc');
      if (status === 'succeed' || status === 'failed') finish(replica);
      expect(replica.get('g').state.status).toBe(status);
      expect(message(register(replica, 'tcc', '03'))).toBe(notFound);
      expect(message(register(replica, 'tcc', '01'))).toBe(notFound);
    },
  );

  test.each([
    ['tcc', 'xa'],
    ['xa', 'tcc'],
    ['saga', 'tcc'],
    ['saga', 'xa'],
  ] as const)('12.12: a prepared %s takes no branch of %s', (stored, stated) => {
    const replica = new Replica();
    replica.prepare(stored === 'saga' ? sagaInput('g', 1) : bare(stored));
    const before = replica.get('g');
    expect(message(register(replica, stated, '01'))).toBe(notFound);
    expect(replica.get('g')).toEqual(before);
  });

  test('impossible branch ids are refused, and are no answer about the transaction', () => {
    const replica = prepared('tcc');
    const longest = '1'.repeat(BRANCH_ID_BYTES_MAX);
    expect(message(register(replica, 'tcc', longest))).toBe('success');
    expect(message(register(replica, 'tcc', `${longest}1`))).toBe(
      'error: branch_id is longer than 1024 bytes',
    );
    expect(message(register(replica, 'tcc', ''))).toBe('error: branch_id is empty');
  });

  test('P8: rows are bounded, and the bound is a clear error', () => {
    const replica = prepared('xa');
    const { definition, state } = replica.get('g');
    const repeat = <T>(rows: readonly T[]): T[] =>
      Array.from({ length: REGISTERED_ROWS_MAX / 4 }, () => rows)
        .flat()
        .slice(2);
    const full = { ...definition, branches: repeat(definition.branches) };
    const rows = { ...state, branches: repeat(state.branches) };
    replica.state.values.set(definitionKey('g'), encodeDefinition(full));
    replica.state.values.set(stateKey('g'), encodeState(rows));
    expect(message(register(replica, 'xa', '03'))).toBe('success');
    expect(message(register(replica, 'xa', '04'))).toBe(
      'error: branches: a transaction has at most 4096 rows, 4096 are registered',
    );
    expect(message(register(replica, 'xa', '03'))).toBe('success');
  });

  test('P8: bytes are bounded, and the bound is a clear error', () => {
    const replica = prepared('tcc');
    const payload = new Uint8Array(REGISTERED_BYTES_MAX);
    expect(message(register(replica, 'tcc', '03', { payload }))).toMatch(
      /^error: branches: a transaction has at most 4194304 bytes of registered branches/,
    );
    expect(message(register(replica, 'tcc', '03'))).toBe('success');
  });

  test('11.12: rows of one entry keep the order of their registration', () => {
    const replica = prepared('tcc');
    register(replica, 'tcc', '0101');
    register(replica, 'tcc', '03');
    const ids = replica.get('g').definition.branches.map(({ branchId }) => branchId);
    expect(ids).toEqual(['01', '01', '02', '02', '0101', '0101', '03', '03']);
  });

  test('bug switch registerAfterDecision: a branch is added to what is decided', () => {
    const replica = new Replica(new Set(['registerAfterDecision']));
    replica.submit(bare('tcc'));
    expect(message(register(replica, 'tcc', '01'))).toBe('success');
  });
});
