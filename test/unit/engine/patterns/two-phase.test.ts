// What TCC and XA do next (dtm reference §5.5, §5.9), and what this leader knows beyond the log.

import { describe, expect, test } from 'vitest';
import type { BranchResult, Transaction } from '../../../../src/engine/machine/index.ts';
import { createPatterns, type Knowledge } from '../../../../src/engine/patterns/index.ts';
import { bareInput, bytes, Replica, result, START_MS } from '../machine/fixtures.ts';

type Kind = 'tcc' | 'xa';
const patterns = createPatterns();

function next(
  transaction: Transaction,
  knowledge: Partial<Knowledge> & { readonly results?: readonly BranchResult[] } = {},
  nowMs = START_MS + 3,
) {
  const pattern = patterns[transaction.definition.type];
  if (pattern === undefined) throw new Error('there is no such pattern');
  return pattern.next(transaction, nowMs, {
    drivenSinceAccepted: true,
    started: new Set(),
    inflight: new Set(),
    held: new Map((knowledge.results ?? []).map((one) => [one.row, one])),
    commitEachResult: false,
    ...knowledge,
  });
}

function prepared(type: Kind, ids: readonly string[], url = 'http://s/x'): Replica {
  const replica = new Replica();
  replica.prepare(bareInput('g', { type }));
  for (const branchId of ids) {
    const registration =
      type === 'tcc'
        ? ({ kind: 'tcc', confirm: url, cancel: url } as const)
        : ({ kind: 'xa', url } as const);
    const request = { gid: 'g', branchId, registration, payload: bytes(`"${branchId}"`) };
    expect(replica.operate({ kind: 'registerBranch', ...request }).kind).toBe('success');
  }
  return replica;
}

function submitted(type: Kind, ids: readonly string[], url?: string): Replica {
  const replica = prepared(type, ids, url);
  expect(replica.submit(bareInput('g', { type })).kind).toBe('success');
  return replica;
}

function aborting(type: Kind, ids: readonly string[]): Replica {
  const replica = prepared(type, ids);
  replica.operate({ kind: 'abort', gid: 'g', type, rollbackReason: 'r' });
  return replica;
}

/** Calls in order, each committed before the next; and how it ended. */
function ran(replica: Replica): readonly string[] {
  const seen: string[] = [];
  for (let guard = 0; guard < 50; guard += 1) {
    const transaction = replica.get('g');
    const { status } = transaction.state;
    const { call, record } = next(transaction);
    for (const row of call) {
      const branch = transaction.definition.branches[row];
      seen.push(`${branch?.op} ${branch?.branchId}`);
    }
    if (record?.decision !== undefined) {
      replica.advance('g', status, record.results, record.decision);
      return [...seen, replica.get('g').state.status];
    }
    const results = call.map((row) => result(row, 'success'));
    replica.advance('g', status, results);
  }
  return [...seen, 'goes on'];
}

const nested = ['01', '0101', '02', '0201'];

describe('5.9.1, 5.9.2: order', () => {
  test('tcc confirms in reverse order of registration, nested branches before their parents', () => {
    const order = ['confirm 0201', 'confirm 02', 'confirm 0101', 'confirm 01'];
    expect(ran(submitted('tcc', nested))).toEqual([...order, 'succeed']);
  });

  test('tcc cancels in reverse order of registration', () => {
    const order = ['cancel 0201', 'cancel 02', 'cancel 0101', 'cancel 01'];
    expect(ran(aborting('tcc', nested))).toEqual([...order, 'failed']);
  });

  test('xa commits in order of registration', () => {
    const order = ['commit 01', 'commit 0101', 'commit 02', 'commit 0201'];
    expect(ran(submitted('xa', nested))).toEqual([...order, 'succeed']);
  });

  test('xa rolls back in order of registration', () => {
    const order = ['rollback 01', 'rollback 0101', 'rollback 02', 'rollback 0201'];
    expect(ran(aborting('xa', nested))).toEqual([...order, 'failed']);
  });

  test('an id says nothing about the order', () => {
    const order = ['confirm 01', 'confirm 10', 'confirm 02'];
    expect(ran(submitted('tcc', ['02', '10', '01']))).toEqual([...order, 'succeed']);
  });
});

describe.each(['tcc', 'xa'] as const)('%s', (type) => {
  /** The first and the second row to be called forward, of branches 01 and 02. */
  const [first, second] = type === 'tcc' ? [3, 1] : [1, 3];

  test('5.9.4: without a branch it ends at once, either way', () => {
    expect(ran(submitted(type, []))).toEqual(['succeed']);
    expect(ran(aborting(type, []))).toEqual(['failed']);
  });

  test('5.9.1: one row at a time', () => {
    const transaction = submitted(type, ['01', '02']).get('g');
    expect(next(transaction).call).toEqual([first]);
    const running = next(transaction, { inflight: new Set([first]) });
    expect(running).toMatchObject({ call: [], record: undefined });
    expect(running.waitingFor).toMatch(/^the answer of (confirm|commit) 0[12]$/);
  });

  test.each(['ongoing', 'unknown', 'failure'] as const)(
    '5.9.3: an answer of %s stops there, and its row is called again in its time',
    (outcome) => {
      const replica = submitted(type, ['01', '02']);
      const retryAtMs = START_MS + 10_000;
      const answer = result(first, outcome, { retryAtMs });
      const { call, record } = next(replica.get('g'), { results: [answer] });
      expect(call).toEqual([]);
      expect(record).toMatchObject({ results: [{ row: first, outcome }], decision: undefined });
      replica.advance('g', 'submitted', [answer]);
      const waiting = next(replica.get('g'));
      expect(waiting).toMatchObject({ call: [], record: undefined, waitUntilMs: retryAtMs });
      expect(waiting.waitingFor).toMatch(/^the next attempt of (confirm|commit) 0[12]$/);
      expect(replica.get('g').state.dueMs).toBe(retryAtMs);
      expect(next(replica.get('g'), {}, retryAtMs).call).toEqual([first]);
    },
  );

  test('a held success lets the next row start, one level and no more', () => {
    const replica = submitted(type, ['01', '02', '03']);
    const order = type === 'tcc' ? ([5, 3, 1] as const) : ([1, 3, 5] as const);
    const held = order.map((row) => result(row, 'success'));
    const one = next(replica.get('g'), { results: held.slice(0, 1) });
    expect(one).toMatchObject({ call: [order[1]], record: undefined });
    expect(one.waitUntilMs).toBe(START_MS + 1 + 2 + 20);
    const two = next(replica.get('g'), { results: held.slice(0, 2) });
    expect(two).toMatchObject({ call: [], record: { decision: undefined } });
    expect(two.record?.results).toHaveLength(2);
    const all = next(replica.get('g'), { results: held });
    expect(all).toMatchObject({ call: [], record: { decision: { to: 'succeed' } } });
    expect(all.record?.results).toHaveLength(3);
  });

  test('with commitEachResult nothing starts on a held success', () => {
    const transaction = submitted(type, ['01', '02']).get('g');
    const results = [result(first, 'success')];
    const { call, record } = next(transaction, { results, commitEachResult: true });
    expect(call).toEqual([]);
    expect(record).toMatchObject({ results: [{ row: first }], decision: undefined });
  });

  test('5.2.5: empty URLs end their rows without calls and hold nothing up', () => {
    const transaction = submitted(type, ['01', '02', '03', '04'], '').get('g');
    const order = type === 'tcc' ? [7, 5, 3, 1] : [1, 3, 5, 7];
    const held: BranchResult[] = [];
    for (const row of order) {
      expect(next(transaction, { results: held }).call).toEqual([row]);
      held.push(result(row, 'success'));
    }
    expect(next(transaction, { results: held }).record?.decision).toEqual({ to: 'succeed' });
  });

  test('after a takeover the rows without a committed success are called, and only those', () => {
    const replica = submitted(type, ['01', '02']);
    replica.advance('g', 'submitted', [result(first, 'success')]);
    replica.term += 1;
    const actions = next(replica.get('g'), { drivenSinceAccepted: false });
    expect(actions).toMatchObject({ call: [second], record: undefined });
  });

  test('5.5.2: a prepared one waits for its submit, and times out at its limit', () => {
    const { state, ...more } = prepared(type, ['01']).get('g');
    const transaction = { state, ...more };
    const atMs = START_MS + 35_000;
    expect(next(transaction, {}, atMs - 1)).toMatchObject({
      call: [],
      record: undefined,
      waitUntilMs: atMs,
    });
    expect(next(transaction, {}, atMs).record).toMatchObject({
      results: [],
      decision: { to: 'aborting', reason: 'Timeout after 35 seconds' },
    });
  });

  test('12.14: the reason of a timeout is the effective limit', () => {
    const replica = new Replica();
    replica.prepare(bareInput('g', { type, options: { timeoutToFailS: 3 } }));
    expect(next(replica.get('g'), {}, START_MS + 3000).record?.decision).toMatchObject({
      reason: 'Timeout after 3 seconds',
    });
  });

  test('5.5.2: once it is submitted or rolls back it never times out', () => {
    const late = START_MS + 1e9;
    expect(next(submitted(type, ['01']).get('g'), {}, late).call).toEqual([1]);
    expect(next(aborting(type, ['01']).get('g'), {}, late).call).toEqual([0]);
  });

  test('12.25: results that arrive after a forced stop are recorded, without a decision', () => {
    const replica = submitted(type, ['01']);
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    const { call, record } = next(replica.get('g'), { results: [result(1, 'success')] });
    expect(call).toEqual([]);
    expect(record).toMatchObject({ results: [{ row: 1 }], decision: undefined });
    expect(next(replica.get('g')).record).toBeUndefined();
  });
});

describe('calls', () => {
  test('4.6: a tcc call carries what was registered, an xa call never has a body', () => {
    expect(patterns.tcc).not.toHaveProperty('callOf');
    const xa = prepared('xa', ['01']).get('g');
    expect(xa.definition.payloads).toHaveLength(1);
    expect(patterns.xa?.callOf?.(xa, 1)).toEqual({ op: 'commit', payload: new Uint8Array() });
  });
});
