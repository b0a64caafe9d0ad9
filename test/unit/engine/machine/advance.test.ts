// Results, decisions and retention as apply takes them: it trusts no leader.

import { describe, expect, test } from 'vitest';
import {
  activeRange,
  describeTransaction,
  expiryRange,
  gidOfExpiryKey,
  stuckOfKey,
  stuckRange,
} from '../../../../src/engine/machine/index.ts';
import { DAY_MS, DEFAULTS, Replica, result, START_MS, sagaInput } from './fixtures.ts';

function submitted(steps: number, more = {}): Replica {
  const replica = new Replica();
  replica.submit(sagaInput('g', steps, more));
  return replica;
}
const ABORT = { to: 'aborting', reason: 'because', compensate: [] } as const;

describe('results', () => {
  test('are recorded with their trace, and only while their row is open', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'unknown', { detail: 'refused' })]);
    const [, row] = replica.get('g').state.branches;
    expect(row).toMatchObject({ status: 'prepared', attemptCount: 1, unknownCount: 1 });
    expect(row?.firstAttempts).toMatchObject([{ detail: 'refused', retryAtMs: START_MS + 10_000 }]);
    replica.advance('g', 'submitted', [result(1, 'success', { attempt: 2 })]);
    replica.advance('g', 'submitted', [result(1, 'failure', { attempt: 3 })]);
    expect(replica.get('g').state.branches[1]).toMatchObject({
      status: 'succeed',
      finishTimeMs: replica.nowMs,
      attemptCount: 2,
      retryAtMs: undefined,
    });
  });

  test('are recorded once, however often they are proposed', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'ongoing')]);
    const applied = replica.advance('g', 'submitted', [result(1, 'ongoing')], undefined, 1);
    expect(applied.changes).toEqual([]);
    expect(replica.get('g').state.branches[1]?.attemptCount).toBe(1);
    expect(replica.get('g').state.retryCount).toBe(0);
  });

  test('keep the first two and the last five attempts, with bounded texts', () => {
    const replica = submitted(1);
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      const detail = `${attempt} ${'é'.repeat(5000)}`;
      replica.advance('g', 'submitted', [result(1, 'ongoing', { attempt, detail })]);
    }
    const [, row] = replica.get('g').state.branches;
    expect(row?.firstAttempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(row?.lastAttempts.map(({ attempt }) => attempt)).toEqual([8, 9, 10, 11, 12]);
    expect(new TextEncoder().encode(row?.lastAttempts[0]?.detail).length).toBeLessThanOrEqual(1024);
    expect(row).toMatchObject({ attemptCount: 12, ongoingCount: 12 });
  });

  test('a failure ends a saga action, and counts as unknown for a compensation', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'failure')], ABORT);
    replica.advance('g', 'aborting', [result(0, 'failure', { retryAtMs: START_MS + 20_000 })]);
    expect(replica.rows('g')).toBe('prepared failed');
    expect(replica.get('g').state.branches[0]).toMatchObject({ unknownCount: 1, attemptCount: 1 });
    expect(replica.get('g').state.dueMs).toBe(START_MS + 20_000);
  });

  test('of a row that does not exist, or a gid that does not, change nothing', () => {
    const replica = submitted(1);
    expect(replica.advance('g', 'submitted', [result(9, 'success')]).changes).toEqual([]);
    expect(replica.advance('x', 'submitted', [result(1, 'success')]).changes).toEqual([]);
  });

  test('an older leader’s late result is recorded, and while aborting its compensation is wanted', () => {
    const replica = submitted(2);
    replica.advance('g', 'submitted', [], { ...ABORT, compensate: [0] });
    replica.advance('g', 'submitted', [result(3, 'success')]);
    expect(replica.rows('g')).toBe('prepared prepared prepared succeed');
    expect(replica.get('g').state.branches.map(({ wanted }) => wanted)).toEqual([
      true,
      false,
      true,
      false,
    ]);
    const end = { to: 'failed', reason: '' } as const;
    replica.advance('g', 'aborting', [result(0, 'success')], end);
    expect(replica.get('g').state.status).toBe('aborting');
  });

  test('defect 12.25: are recorded after a forced stop, whose decision is not', () => {
    const replica = submitted(1);
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    expect(replica.rows('g')).toBe('prepared succeed');
    expect(replica.get('g').state.status).toBe('failed');
    expect(describeTransaction(replica.get('g'), replica.nowMs).notUndone).toEqual(['01']);
  });
});

describe('decisions', () => {
  test('succeed needs every action', () => {
    const replica = submitted(2);
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    expect(replica.get('g').state.status).toBe('submitted');
    replica.advance('g', 'submitted', [result(3, 'success')], { to: 'succeed' });
    expect(replica.get('g').state).toMatchObject({
      status: 'succeed',
      finishTimeMs: replica.nowMs,
      rollbackTimeMs: undefined,
    });
  });

  test('aborting adds every action on record to what it names', () => {
    const replica = submitted(3);
    replica.advance('g', 'submitted', [result(1, 'success')]);
    const decision = { to: 'aborting', reason: 'r', compensate: [4, 5, 99] } as const;
    replica.advance('g', 'submitted', [result(3, 'failure')], decision);
    const { state } = replica.get('g');
    expect(state).toMatchObject({ status: 'aborting', rollbackReason: 'r' });
    expect(state.branches.flatMap(({ wanted }, row) => (wanted ? [row] : []))).toEqual([0, 2, 4]);
  });

  test('failed needs every wanted compensation, and keeps the reason', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'failure')], ABORT);
    const end = { to: 'failed', reason: '' } as const;
    replica.advance('g', 'aborting', [], end);
    expect(replica.get('g').state.status).toBe('aborting');
    replica.advance('g', 'aborting', [result(0, 'success')], end);
    expect(replica.get('g').state).toMatchObject({
      status: 'failed',
      rollbackReason: 'because',
      rollbackTimeMs: replica.nowMs,
      finishTimeMs: undefined,
    });
  });

  test('P3: what began to abort never succeeds, and what ended never changes', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [], ABORT);
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    replica.advance('g', 'aborting', [], { to: 'succeed' });
    expect(replica.get('g').state.status).toBe('aborting');
    replica.advance('g', 'aborting', [result(0, 'success')], { to: 'failed', reason: '' });
    replica.advance('g', 'failed', [], { to: 'succeed' });
    replica.advance('g', 'failed', [], ABORT);
    expect(replica.get('g').state.status).toBe('failed');
  });

  test('of a status that no longer holds are not taken', () => {
    const replica = submitted(1);
    expect(replica.advance('g', 'prepared', [], ABORT).changes).toEqual([]);
    expect(replica.get('g').state.status).toBe('submitted');
  });

  test('defect 12.34: a prepared saga fails at its expiry, and not before', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('g', 1));
    const decision = { to: 'failed', reason: 'never submitted' } as const;
    replica.nowMs += 7 * DAY_MS - 1;
    replica.advance('g', 'prepared', [], decision);
    expect(replica.get('g').state.status).toBe('prepared');
    replica.nowMs += 1;
    replica.advance('g', 'prepared', [], decision);
    expect(replica.get('g').state).toMatchObject({
      status: 'failed',
      rollbackReason: 'never submitted',
    });
  });

  test('defect 12.23: a long reason is cut, and does not block the rollback', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [], { ...ABORT, reason: 'x'.repeat(100_000) });
    expect(replica.get('g').state.status).toBe('aborting');
    expect(replica.get('g').state.rollbackReason).toHaveLength(4096);
  });

  test('defect 12.17: retries are counted in the state', () => {
    const replica = submitted(1, { options: { retryLimit: 2, retryCount: 1 } });
    replica.advance('g', 'submitted', [result(1, 'unknown')], undefined, 1);
    expect(replica.get('g').state.retryCount).toBe(2);
  });
});

describe('retention', () => {
  const end = { to: 'succeed' } as const;

  test('forgets a finished transaction after its retention, and everything of it', () => {
    const replica = new Replica();
    const empty = replica.state.values.size;
    replica.submit(sagaInput('g', 1), { ...DEFAULTS, retentionMs: 1 });
    replica.advance('g', 'submitted', [result(1, 'success')], end);
    replica.nowMs += DAY_MS - 1;
    expect(replica.state.keys(expiryRange(replica.nowMs))).toEqual([]);
    expect(replica.apply({ kind: 'purge', gids: ['g'] }).changes).toEqual([]);
    replica.nowMs += 1;
    expect(replica.state.keys(expiryRange(replica.nowMs)).map(gidOfExpiryKey)).toEqual(['g']);
    const { changes } = replica.apply({ kind: 'purge', gids: ['g', 'x'] });
    expect(changes).toEqual([{ gid: 'g', before: 'succeed', after: undefined, opId: undefined }]);
    // The result of the submit is still open at its sender.
    expect(replica.state.values.size).toBe(empty + 1);
  });

  test('never forgets what is unresolved', () => {
    const replica = submitted(1);
    replica.nowMs += 1000 * DAY_MS;
    replica.apply({ kind: 'purge', gids: ['g'] });
    expect(replica.find('g')).toBeDefined();
  });
});

describe('indexes and explanations', () => {
  test('what is stuck is found by its target while it is, and no longer', () => {
    const replica = submitted(1);
    replica.advance('g', 'submitted', [result(1, 'unknown', { detail: 'ECONNREFUSED' })]);
    expect(replica.state.keys(stuckRange()).map(stuckOfKey)).toEqual([
      { target: 'http://s0', errorClass: 'unknown', gid: 'g' },
    ]);
    expect(describeTransaction(replica.get('g'), replica.nowMs)).toMatchObject({
      waitingFor: 'the next attempt of action 01',
      untilMs: START_MS + 10_000,
      unblock: 'action 01 at http://s0 answering success; its last answer was unknown',
      stuck: [{ branchId: '01', lastDetail: 'ECONNREFUSED' }],
    });
    replica.advance('g', 'submitted', [result(1, 'success', { attempt: 2 })], { to: 'succeed' });
    expect(replica.state.keys(stuckRange('http://s0'))).toEqual([]);
    expect(replica.state.keys(activeRange())).toEqual([]);
  });

  test('a short transaction leaves four keys', () => {
    const replica = submitted(2);
    const before = [...replica.state.values.keys()].filter((key) => key >= '\x07').length;
    const results = [result(1, 'success'), result(3, 'success')];
    replica.advance('g', 'submitted', results, { to: 'succeed' });
    expect(replica.state.values.size - before).toBe(4);
  });

  test('progress does not rewrite payloads', () => {
    const replica = submitted(1);
    const definition = replica.state.values.get('\x01g');
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    expect(replica.state.values.get('\x01g')).toBe(definition);
  });

  test('a prepared transaction waits for its submit', () => {
    const replica = new Replica();
    replica.prepare(sagaInput('g', 1));
    const description = describeTransaction(replica.get('g'), replica.nowMs);
    expect(description).toMatchObject({
      waitingFor: 'its submit',
      unblock: 'a submit of this gid',
    });
  });
});
