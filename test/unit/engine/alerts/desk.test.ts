// The desk of a leader's alerts, on a manual clock and with a web hook that answers as told.

import { describe, expect, it } from 'vitest';
import {
  type Alert,
  AlertDesk,
  type AlertOutcome,
  type AlertsConfig,
  alertOf,
  DEFAULT_ALERTS_CONFIG,
} from '../../../../src/engine/alerts/index.ts';
import type {
  Attempt,
  BranchProgress,
  BranchResult,
  Transaction,
} from '../../../../src/engine/machine/index.ts';
import { createPatterns } from '../../../../src/engine/patterns/index.ts';
import { ManualClock } from '../../../helpers/scheduler-clock.ts';
import { NODE_DEFAULTS, saga } from '../../../helpers/scheduler-node.ts';

const BASE_MS = 10_000;
const CAP_MS = 3_600_000;
const RULE = { retryLimit: 3, intervalMsMax: CAP_MS };
/** The action of a saga's first step. */
const ROW = 1;

function result(errors: number, over: Partial<BranchResult> = {}): BranchResult {
  return {
    row: ROW,
    attempt: errors,
    term: 1,
    atMs: 0,
    durationMs: 1,
    outcome: 'unknown',
    detail: 'out of order',
    retryAtMs: 5,
    intervalMs: Math.min(CAP_MS, BASE_MS * 2 ** errors),
    ...over,
  };
}

/** A saga whose first action has ended without a result `errors` times. */
function failing(errors: number, over: Partial<BranchProgress> = {}, gid = 'g'): Transaction {
  const at = { timeMs: 0, term: 1, submitted: true };
  const created = createPatterns().saga?.create(saga(gid, 1), NODE_DEFAULTS, at);
  if (created === undefined) throw new Error('there is no pattern of sagas');
  const attempt: Attempt = { ...result(errors) };
  const branches = created.state.branches.map((progress, row) =>
    row === ROW
      ? {
          ...progress,
          unknownCount: errors,
          attemptCount: errors,
          lastAttempts: [attempt],
          ...over,
        }
      : progress,
  );
  return { ...created, state: { ...created.state, branches } };
}

class FakeHook {
  readonly sent: Alert[] = [];
  readonly failed: string[] = [];
  readonly clock = new ManualClock(0);
  readonly desk: AlertDesk;
  answer: (alert: Alert) => AlertOutcome | 'never' = () => ({ delivered: true });
  answerMs = 5;

  constructor(config: Partial<AlertsConfig> = {}) {
    this.desk = new AlertDesk(
      {
        clock: this.clock,
        sender: {
          send: (alert, done) => {
            this.sent.push(alert);
            const outcome = this.answer(alert);
            if (outcome !== 'never') this.clock.after(this.answerMs, () => done(outcome));
          },
        },
        failed: ({ gid }, reason) => this.failed.push(`${gid}: ${reason}`),
      },
      { ...DEFAULT_ALERTS_CONFIG, ...config },
      CAP_MS,
    );
    this.desk.becomeLeader();
  }

  error(errors: number, gid = 'g'): void {
    this.desk.recorded(failing(errors, {}, gid), result(errors));
  }
}

const DEAD: AlertOutcome = { delivered: false, reason: 'connect ECONNREFUSED' };

describe('what calls for an alert (dtm reference §9)', () => {
  it('the third consecutive error, and every further one', () => {
    const counts = [1, 2, 3, 4, 5].map((n) => alertOf(failing(n), result(n), RULE)?.retryCount);
    expect(counts).toEqual([undefined, undefined, 3, 4, 5]);
  });

  it("carries what dtm's payload carries", () => {
    expect(alertOf(failing(3), result(3), RULE)).toEqual({
      gid: 'g',
      row: ROW,
      url: 'http://s1/act',
      status: 'submitted',
      detail: 'out of order',
      retryCount: 3,
    });
  });

  it('12.16: goes on counting where the cap ends the doubling', () => {
    const rule = { retryLimit: 12, intervalMsMax: CAP_MS };
    expect(alertOf(failing(11), result(11), rule)).toBeUndefined();
    expect(alertOf(failing(12), result(12), rule)?.retryCount).toBe(12);
  });

  it('a failure that does not end its row is an error', () => {
    expect(alertOf(failing(3), result(3, { outcome: 'failure' }), RULE)).toBeDefined();
  });

  it.each([
    ['ongoing', failing(3), result(3, { outcome: 'ongoing' })],
    ['success', failing(3), result(3, { outcome: 'success' })],
    ['the failure that ends a row', failing(3, { status: 'failed' }), result(3)],
    ['a row that was alerted about', failing(3, { alerted: true }), result(3)],
    ['a row that there is not', failing(3), result(3, { row: 9 })],
  ])('not %s', (_name, transaction, end) => {
    expect(alertOf(transaction, end, RULE)).toBeUndefined();
  });

  it('not a transaction that has ended', () => {
    const { definition, state } = failing(3);
    const ended = { definition, state: { ...state, status: 'failed' as const } };
    expect(alertOf(ended, result(3), RULE)).toBeUndefined();
  });
});

describe('the desk', () => {
  it('L2: a row that was told of is not told of again; another row is', async () => {
    const hook = new FakeHook();
    for (const errors of [3, 4, 5]) {
      hook.error(errors);
      await hook.clock.advance(10);
    }
    hook.error(3, 'h');
    await hook.clock.advance(10);
    expect(hook.sent.map(({ gid, retryCount }) => [gid, retryCount])).toEqual([
      ['g', 3],
      ['h', 3],
    ]);
    expect([hook.desk.wasDelivered('g', ROW), hook.desk.wasDelivered('g', 0)]).toEqual([
      true,
      false,
    ]);
    expect(hook.desk.stats()).toMatchObject({ sentCount: 2, queuedCount: 0, inflightCount: 0 });
  });

  it('L2: one delivery of a row at a time', async () => {
    const hook = new FakeHook();
    hook.answerMs = 1_000;
    hook.error(3);
    hook.error(4);
    expect([hook.sent.length, hook.desk.stats().queuedCount]).toEqual([1, 0]);
    await hook.clock.advance(1_100);
    expect(hook.sent).toHaveLength(1);
  });

  it('one that waits says what the latest error said', async () => {
    const hook = new FakeHook({ inflightMax: 1 });
    hook.error(3, 'first');
    hook.error(3);
    hook.error(4);
    await hook.clock.advance(100);
    expect(hook.sent.map(({ gid, retryCount }) => `${gid} ${retryCount}`)).toEqual([
      'first 3',
      'g 4',
    ]);
  });

  it('one that waits is taken back when its call succeeds', async () => {
    const hook = new FakeHook({ inflightMax: 1 });
    hook.error(3, 'first');
    hook.error(3);
    hook.desk.recorded(failing(3, { status: 'succeed' }), result(4, { outcome: 'success' }));
    await hook.clock.advance(100);
    expect(hook.sent.map(({ gid }) => gid)).toEqual(['first']);
  });

  it('tries a bounded number of times, and again at the next error (L3)', async () => {
    const hook = new FakeHook({ attemptsMax: 3, retryDelayMs: 1_000 });
    hook.answer = () => DEAD;
    hook.error(3);
    await hook.clock.advance(60_000);
    expect(hook.sent).toHaveLength(3);
    expect(hook.failed).toEqual(['g: connect ECONNREFUSED']);
    expect(hook.desk.stats()).toMatchObject({ failedCount: 1, inflightCount: 0 });
    hook.answer = () => ({ delivered: true });
    hook.error(4);
    await hook.clock.advance(10);
    expect(hook.sent.at(-1)?.retryCount).toBe(4);
    expect(hook.desk.stats()).toMatchObject({ failedCount: 1, sentCount: 1 });
  });

  it('L1: a hook that never answers costs a bounded queue and nothing else', async () => {
    const hook = new FakeHook({ queueMax: 10, inflightMax: 2 });
    hook.answer = () => 'never';
    for (let i = 0; i < 100; i += 1) hook.error(3, `g${i}`);
    await hook.clock.advance(60_000);
    expect(hook.sent).toHaveLength(2);
    expect(hook.desk.stats()).toEqual({
      queuedCount: 10,
      inflightCount: 2,
      sentCount: 0,
      failedCount: 0,
      droppedCount: 88,
    });
  });

  it('a node that stops leading drops what waits, and tries nothing again', async () => {
    const hook = new FakeHook({ inflightMax: 2 });
    hook.answer = ({ gid }) => (gid === 'pausing' ? DEAD : { delivered: true });
    hook.error(3, 'pausing');
    await hook.clock.advance(100);
    hook.answerMs = 500;
    hook.error(3, 'flying');
    hook.error(3, 'waiting');
    hook.desk.stopLeading();
    expect(hook.desk.stats()).toMatchObject({ queuedCount: 0, inflightCount: 1, droppedCount: 2 });
    await hook.clock.advance(60_000);
    expect(hook.sent.map(({ gid }) => gid)).toEqual(['pausing', 'flying']);
    expect(hook.desk.wasDelivered('flying', ROW)).toBe(true);
    expect(hook.desk.stats()).toMatchObject({ inflightCount: 0, sentCount: 1 });
  });

  it('a delivery that fails after the node stopped leading is not tried again', async () => {
    const hook = new FakeHook();
    hook.answer = () => DEAD;
    hook.error(3);
    hook.desk.stopLeading();
    await hook.clock.advance(60_000);
    expect(hook.sent).toHaveLength(1);
    expect(hook.desk.stats()).toMatchObject({ inflightCount: 0, droppedCount: 1, failedCount: 0 });
  });

  it('forgets what is on record', async () => {
    const hook = new FakeHook();
    hook.error(3);
    await hook.clock.advance(10);
    hook.desk.recorded(failing(4, { alerted: true }), result(4, { alerted: true }));
    expect(hook.desk.wasDelivered('g', ROW)).toBe(false);
    await hook.clock.advance(10);
    expect(hook.sent).toHaveLength(1);
  });
});
