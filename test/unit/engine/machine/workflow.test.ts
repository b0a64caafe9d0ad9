// Workflows as their clients ask for them: prepareWorkflow, registerBranch, submit, in every state.
// Names carry the number of the statement or defect of the dtm reference that they defend.

import { describe, expect, test } from 'vitest';
import {
  describeTransaction,
  type OperationResult,
  type TransactionInput,
  type WorkflowEnd,
} from '../../../../src/engine/machine/index.ts';
import { bareInput, bytes, DEFAULTS, Replica, result, START_MS, sagaInput } from './fixtures.ts';

const STRICT = { ...DEFAULTS, strictResubmit: true };
const SUCCEED: WorkflowEnd = { status: 'succeed', rollbackReason: '', result: 'b2s=' };
const FAILED: WorkflowEnd = { status: 'failed', rollbackReason: 'no stock', result: '' };

function message(outcome: OperationResult): string {
  return outcome.kind === 'success' ? 'success' : `${outcome.kind}: ${outcome.message}`;
}

function workflow(more: Partial<TransactionInput> = {}): TransactionInput {
  return bareInput('w', {
    type: 'workflow',
    queryPrepared: 'http://ap/resume',
    customData: '{"name":"buy","data":"eyJpZCI6MX0="}',
    ...more,
  });
}

function prepare(replica: Replica, input = workflow()): OperationResult {
  return replica.operate({ kind: 'prepareWorkflow', transaction: input, defaults: DEFAULTS });
}

function started(): Replica {
  const replica = new Replica();
  expect(prepare(replica)).toMatchObject({ kind: 'success', gid: 'w', status: 'prepared' });
  return replica;
}

function register(
  replica: Replica,
  branchId: string,
  more: { op?: string; status?: string; data?: string; gid?: string } = {},
): string {
  const { op = 'action', status = 'succeed', data = '{}', gid = 'w' } = more;
  return message(
    replica.operate({
      kind: 'registerBranch',
      gid,
      branchId,
      registration: { kind: 'workflow', op, status },
      payload: bytes(data),
    }),
  );
}

function end(replica: Replica, workflowEnd: WorkflowEnd | undefined, defaults = DEFAULTS): string {
  const input = bareInput('w', {
    type: 'workflow',
    ...(workflowEnd === undefined ? {} : { workflowEnd }),
  });
  return message(replica.submit(input, defaults));
}

function progress(replica: Replica): readonly string[] {
  const { definition, state } = replica.get('w');
  return definition.branches.slice(1).map(({ branchId, op, payload }, at) => {
    const data = payload === undefined ? undefined : definition.payloads[payload];
    const text = new TextDecoder().decode(data);
    return `${branchId}-${op} ${state.branches[at + 1]?.status ?? ''} ${text}`;
  });
}

describe('prepareWorkflow', () => {
  test('5.10.1: creates the record; the first callback is due one interval later', () => {
    const replica = started();
    const { definition, state } = replica.get('w');
    expect(state).toMatchObject({ status: 'prepared', dueMs: START_MS + 10_000 });
    expect(definition.branches).toEqual([
      { branchId: '00', op: 'callback', url: 'http://ap/resume', payload: undefined },
    ]);
    expect(definition.payloads).toEqual([]);
  });

  test('5.10.8, 11.23: finds what exists in any status, and whatever its type', () => {
    const replica = started();
    end(replica, FAILED);
    expect(prepare(replica)).toMatchObject({ kind: 'success', status: 'failed' });
    replica.submit(sagaInput('s', 1));
    expect(prepare(replica, workflow({ gid: 's' }))).toMatchObject({
      kind: 'success',
      status: 'submitted',
    });
  });

  test('5.6.7, 5.10.5: a run that begins keeps the callback away, without hurrying its back-off', () => {
    const replica = started();
    replica.nowMs += 12_000;
    const late = { retryAtMs: START_MS + 52_000, intervalMs: 40_000, atMs: START_MS + 11_000 };
    replica.advance('w', 'prepared', [result(0, 'unknown', late)]);
    replica.nowMs += 39_000;
    prepare(replica);
    expect(replica.get('w').state).toMatchObject({ dueMs: START_MS + 91_000 });
    expect(replica.get('w').state.branches[0]).toMatchObject({ intervalMs: 40_000 });
  });

  test.each([
    [{ type: 'saga' as const }, "error: trans type 'saga' cannot be prepared as a workflow"],
    [{ customData: '{' }, 'error: custom_data: is not JSON'],
    [{ customData: '[]' }, 'error: custom_data: is not a JSON object'],
    [{ customData: '{"name":1}' }, 'error: custom_data: name is not a string'],
    [{ customData: '{"data":"%"}' }, 'error: custom_data: data is not base64'],
    [{ customData: '{"data":[1]}' }, 'error: custom_data: data is not base64'],
    [{ gid: '' }, 'error: gid is empty'],
  ])('12.13: what cannot be called back is refused: case %#', (more, text) => {
    const replica = new Replica();
    expect(message(prepare(replica, workflow(more)))).toBe(text);
  });

  test.each([undefined, 'null', '{}', '{"Name":"buy","DATA":null}'])(
    '12.8: custom_data %j is no reason to refuse',
    (customData) => {
      expect(message(prepare(new Replica(), workflow({ customData })))).toBe('success');
    },
  );
});

describe('registerBranch', () => {
  test('1.4: keeps each step with its status and data, in the order of arrival', () => {
    const replica = started();
    expect(register(replica, '01', { data: '{"ok":1}' })).toBe('success');
    expect(register(replica, '02', { status: 'failed', data: 'no stock' })).toBe('success');
    expect(register(replica, '01', { op: 'rollback', data: '' })).toBe('success');
    expect(register(replica, '03', { op: 'business' })).toBe('success');
    expect(register(replica, '03', { op: 'commit' })).toBe('success');
    expect(progress(replica)).toEqual([
      '01-action succeed {"ok":1}',
      '02-action failed no stock',
      '01-rollback succeed ',
      '03-business succeed {}',
      '03-commit succeed {}',
    ]);
    expect(replica.get('w').state.branches[2]).toMatchObject({ finishTimeMs: START_MS });
  });

  test('5.6.7, 5.10.5: progress keeps the callback away and brings the base interval back', () => {
    const replica = started();
    const late = { retryAtMs: START_MS + 52_000, intervalMs: 40_000, atMs: START_MS + 11_000 };
    replica.advance('w', 'prepared', [result(0, 'unknown', late)]);
    replica.nowMs += 30_000;
    register(replica, '01');
    expect(replica.get('w').state).toMatchObject({ dueMs: START_MS + 40_000, intervalMs: 10_000 });
  });

  test('12.11: the same step again is a success, even after the end', () => {
    const replica = started();
    register(replica, '01');
    const before = replica.get('w');
    expect(register(replica, '01')).toBe('success');
    expect(replica.get('w')).toEqual(before);
    end(replica, SUCCEED);
    expect(register(replica, '01')).toBe('success');
  });

  test.each([{ data: 'other' }, { status: 'failed' }, { data: '' }])(
    '12.11: another result of a step is an error, no business failure; the first stands: %j',
    (more) => {
      const replica = started();
      register(replica, '01');
      expect(register(replica, '01', more)).toBe(
        'error: action of branch 01 is on record with another result, which stands',
      );
      expect(progress(replica)).toEqual(['01-action succeed {}']);
    },
  );

  test('1.4: of an unknown gid, or of another type, is refused with dtm’s text', () => {
    const replica = started();
    replica.prepare(bareInput('t', { type: 'tcc' }));
    for (const gid of ['none', 't']) {
      expect(register(replica, '01', { gid })).toBe(
        `failure: no trans with gid: ${gid} status: prepared found FAILURE`,
      );
    }
    const registration = { kind: 'tcc', confirm: 'u', cancel: 'v' } as const;
    const request = { kind: 'registerBranch', gid: 'w', branchId: '01', registration } as const;
    expect(message(replica.operate({ ...request, payload: bytes('') }))).toContain(
      'failure: no trans',
    );
  });

  test('a step of a workflow that has ended is an error: a failure would make its client roll back', () => {
    const replica = started();
    end(replica, SUCCEED);
    expect(register(replica, '09')).toBe('error: no trans with gid: w status: prepared found');
    expect(progress(replica)).toEqual([]);
  });

  test.each([
    [{ op: 'confirm' }, 'error: op must be one of action, commit, rollback, business'],
    [{ op: 'callback' }, 'error: op must be one of action, commit, rollback, business'],
    [{ status: 'prepared' }, 'error: status must be succeed or failed'],
  ])('what is no step is refused: %j', (more, text) => {
    expect(register(started(), '01', more)).toBe(text);
  });
});

describe('submit', () => {
  test('1.4, 5.10.4: moves a prepared workflow to the end that its client says; 12.7: and keeps the rest', () => {
    const replica = started();
    register(replica, '01');
    replica.nowMs += 100;
    expect(end(replica, SUCCEED)).toBe('success');
    const { definition, state } = replica.get('w');
    expect(state).toMatchObject({
      status: 'succeed',
      result: 'b2s=',
      createTimeMs: START_MS,
      finishTimeMs: START_MS + 100,
      rollbackTimeMs: undefined,
      dueMs: undefined,
    });
    expect(definition).toMatchObject({ queryPrepared: 'http://ap/resume' });
    expect(progress(replica)).toHaveLength(1);
  });

  test('5.12.6: a failed one keeps exactly the reason that its client gives', () => {
    const replica = started();
    expect(end(replica, FAILED)).toBe('success');
    expect(replica.get('w').state).toMatchObject({
      status: 'failed',
      rollbackReason: 'no stock',
      rollbackTimeMs: START_MS,
      finishTimeMs: undefined,
    });
  });

  test('1.4: of a missing one creates nothing', () => {
    const replica = new Replica();
    expect(end(replica, SUCCEED)).toBe('error: storage: NotFound');
    expect(replica.find('w')).toBeUndefined();
    replica.submit(sagaInput('w', 1));
    expect(end(replica, SUCCEED)).toBe('error: storage: NotFound');
  });

  test('P6: the same end again is a success, another one is not; strict compatibility knows none', () => {
    const replica = started();
    end(replica, SUCCEED);
    expect(end(replica, SUCCEED)).toBe('success');
    expect(end(replica, { ...SUCCEED, result: '' })).toBe('success');
    expect(end(replica, { ...SUCCEED, result: 'eA==' })).toBe('error: storage: NotFound');
    expect(end(replica, FAILED)).toBe('error: storage: NotFound');
    expect(end(replica, SUCCEED, STRICT)).toBe('error: storage: NotFound');
    expect(replica.get('w').state).toMatchObject({ status: 'succeed', result: 'b2s=' });
  });

  test('P6: a resumed run that words its failure anew is told the same; the first reason stands', () => {
    const replica = started();
    end(replica, FAILED);
    expect(end(replica, { ...FAILED, rollbackReason: 'in other words' })).toBe('success');
    expect(replica.get('w').state).toMatchObject({
      status: 'failed',
      rollbackReason: FAILED.rollbackReason,
    });
    expect(end(replica, SUCCEED)).toBe('error: storage: NotFound');
  });

  test('P3: a workflow that was stopped by force stays so', () => {
    const replica = started();
    replica.operate({ kind: 'forceStop', gid: 'w', by: 'ops', reason: '' });
    expect(end(replica, FAILED)).toBe('error: storage: NotFound');
    expect(replica.get('w').state.rollbackReason).toBe('force stopped by ops');
  });

  test('an end that is none, or that of another type, ends nothing', () => {
    const replica = started();
    expect(end(replica, undefined)).toBe('error: req_extra: status must be succeed or failed');
    const saga = sagaInput('w', 1);
    for (const defaults of [DEFAULTS, STRICT]) {
      expect(message(replica.submit(saga, defaults))).toBe(
        "failure: current status 'prepared', cannot sumbmit. FAILURE",
      );
    }
    expect(replica.get('w').state.status).toBe('prepared');
  });
});

describe('what else might end it', () => {
  test.each(['workflow', 'tcc', 'xa', 'msg', ''])(
    '5.10.6, 12.12: an abort that states %j is refused',
    (type) => {
      const replica = started();
      const request = { kind: 'abort', gid: 'w', type, rollbackReason: 'r' } as const;
      expect(message(replica.operate(request))).toBe(
        "failure: trans type: 'workflow' current status 'prepared', cannot abort. FAILURE",
      );
      expect(replica.get('w').state.status).toBe('prepared');
    },
  );

  test('5.10.5: no answer of its callback, and no leader, decides', () => {
    const replica = started();
    replica.advance('w', 'prepared', [result(0, 'success')], { to: 'succeed' });
    replica.advance('w', 'prepared', [result(0, 'failure', { attempt: 2 })], {
      to: 'failed',
      reason: '',
    });
    replica.advance('w', 'prepared', [], { to: 'submitted' });
    replica.advance('w', 'prepared', [], { to: 'aborting', reason: '', compensate: [] });
    const { state } = replica.get('w');
    expect(state.status).toBe('prepared');
    expect(state.branches[0]).toMatchObject({
      status: 'prepared',
      attemptCount: 2,
      unknownCount: 1,
    });
  });
});

test('12.6: resetNextCronTime calls back at once', () => {
  const replica = started();
  replica.nowMs += 1000;
  replica.operate({ kind: 'resetNextCronTime', gids: ['w'], mustExist: true });
  const { state } = replica.get('w');
  expect(state.dueMs).toBe(replica.nowMs);
  expect(state.branches[0]?.retryAtMs).toBe(replica.nowMs);
});

test('after a forced stop, the steps that its client did not undo are told', () => {
  const replica = started();
  register(replica, '01');
  register(replica, '02');
  register(replica, '02', { op: 'rollback' });
  replica.operate({ kind: 'forceStop', gid: 'w', by: 'ops', reason: '' });
  expect(describeTransaction(replica.get('w'), replica.nowMs).notUndone).toEqual(['01']);
});

test('after a forced stop, a local XA that its client did not roll back is told, once', () => {
  const replica = started();
  register(replica, '01', { op: 'business' });
  register(replica, '01', { op: 'commit' });
  register(replica, '02', { op: 'business' });
  register(replica, '03', { op: 'business' });
  register(replica, '03', { op: 'rollback' });
  replica.operate({ kind: 'forceStop', gid: 'w', by: 'ops', reason: '' });
  expect(describeTransaction(replica.get('w'), replica.nowMs).notUndone).toEqual(['01', '02']);
});
