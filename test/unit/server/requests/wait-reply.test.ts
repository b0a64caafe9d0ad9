// What `wait_result` answers, by type and by how the last call ended (dtm reference §5.4).

import { describe, expect, it } from 'vitest';
import type { Transaction } from '../../../../src/engine/index.ts';
import type { Reply } from '../../../../src/server/requests/reply.ts';
import { waitReply } from '../../../../src/server/requests/wait-reply.ts';
import { transaction } from '../fakes.ts';

type State = Transaction['state'];
type Outcome = State['branches'][number]['firstAttempts'][number]['outcome'];

const AT_MS = Date.UTC(2026, 0, 5);
const CAUSE = 'no such table: accounts';
const LONG = new RegExp(
  `^your http/grpc result should be specified as in:\\nhttps?://\\S+\\nunkown result will be retried: ${CAUSE}`,
);

/** A transaction whose one row of the direction has ended so. */
function stuck(
  type: 'tcc' | 'xa' | 'msg',
  status: 'submitted' | 'aborting',
  outcome: Outcome | undefined,
): Transaction {
  const { definition, state } = transaction({ type, status, finishTimeMs: undefined });
  const forward = { tcc: 'confirm', xa: 'commit', msg: 'action' } as const;
  const backward = { tcc: 'cancel', xa: 'rollback', msg: 'action' } as const;
  const op = (status === 'submitted' ? forward : backward)[type];
  const row = state.branches[1];
  if (row === undefined) throw new Error('no row');
  const attempt = { attempt: 1, term: 1, atMs: AT_MS, durationMs: 3, retryAtMs: AT_MS };
  const called = outcome === undefined ? [] : [{ ...attempt, outcome, detail: CAUSE }];
  return {
    definition: {
      ...definition,
      type,
      steps: [],
      branches: [{ branchId: '01', op, url: 'http://a/x', payload: undefined }],
    },
    state: {
      ...state,
      branches: [
        {
          ...row,
          status: 'prepared',
          wanted: true,
          attemptCount: called.length,
          firstAttempts: called,
          finishTimeMs: undefined,
        },
      ],
    },
  };
}

function notFinished(stands: Transaction, waited: 'submit' | 'abort'): Reply {
  return waitReply({ kind: 'notFinished', transaction: stands }, 'pay-7', waited);
}

function final(changes: Partial<State>, waited: 'submit' | 'abort'): Reply {
  return waitReply({ kind: 'final', transaction: transaction(changes) }, 'pay-7', waited);
}

const NOT_FINISHED = { kind: 'failure', message: 'wait result not return success: FAILURE' };
const ONGOING = { kind: 'ongoing', message: 'ONGOING' };

describe.each(['tcc', 'xa'] as const)('5.4: waiting for %s', (type) => {
  describe.each([
    ['submit', 'submitted'],
    ['abort', 'aborting'],
  ] as const)('after %s', (waited, status) => {
    it('5.4.2: a branch that is ongoing is answered ONGOING', () => {
      expect(notFinished(stuck(type, status, 'ongoing'), waited)).toEqual(ONGOING);
    });

    it('a branch that is still running when time is up is answered ONGOING', () => {
      expect(notFinished(stuck(type, status, undefined), waited)).toEqual(ONGOING);
    });

    it('5.4.3: an unknown error is a plain error with the cause', () => {
      const reply = notFinished(stuck(type, status, 'unknown'), waited);
      expect(reply).toMatchObject({ kind: 'error', code: undefined });
      expect('message' in reply && reply.message).toMatch(LONG);
    });

    it('5.4.4: a failure is answered FAILURE with the cause, though it is retried', () => {
      const reply = notFinished(stuck(type, status, 'failure'), waited);
      expect(reply.kind).toBe('failure');
      expect('message' in reply && reply.message).toMatch(LONG);
      expect('message' in reply && reply.message).toMatch(/ accounts FAILURE$/);
    });
  });

  it('5.4.1: everything done is a success', () => {
    expect(final({ type, status: 'succeed' }, 'submit')).toMatchObject({ kind: 'success' });
    const rolledBack = { type, status: 'failed', rollbackReason: 'stock gone' } as const;
    expect(final(rolledBack, 'abort')).toMatchObject({ kind: 'success' });
  });

  it.each(['submit', 'abort'] as const)('a forced stop meanwhile is no success of %s', (waited) => {
    const forced = { by: 'ops', reason: '' };
    const rollbackReason = 'force stopped by ops';
    expect(final({ type, status: 'failed', forced, rollbackReason }, waited)).toEqual({
      kind: 'failure',
      message: 'force stopped by ops FAILURE',
    });
  });
});

describe('5.4: waiting for a message', () => {
  it.each(['ongoing', undefined] as const)(
    '5.4.2: a branch that is %s is not finished',
    (outcome) => {
      expect(notFinished(stuck('msg', 'submitted', outcome), 'submit')).toEqual(NOT_FINISHED);
    },
  );

  it('5.4.3, 5.4.4: an unknown error is a plain error, a failure is FAILURE, both with the cause', () => {
    const unknown = notFinished(stuck('msg', 'submitted', 'unknown'), 'submit');
    expect(unknown).toMatchObject({ kind: 'error', code: undefined });
    const failure = notFinished(stuck('msg', 'submitted', 'failure'), 'submit');
    expect(failure).toMatchObject({ kind: 'failure' });
  });
});

describe('P7: a wait that lost its leader', () => {
  it('is unknown, whatever was waited for', () => {
    for (const waited of ['submit', 'abort'] as const) {
      const reply = waitReply({ kind: 'unknown', message: 'no leader' }, 'pay-7', waited);
      expect(reply).toMatchObject({ kind: 'error', code: 'OUTCOME_UNKNOWN' });
    }
  });
});
