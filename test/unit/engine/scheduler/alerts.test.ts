// The leader's loop and alerts: every pattern and every kind of call raises them, nothing waits for
// them, and what was delivered is on record with the row's next result.

import { describe, expect, it } from 'vitest';
import type { Alert, AlertOutcome } from '../../../../src/engine/alerts/index.ts';
import {
  decodeCommand,
  encodeCommand,
  type OperationRequest,
  type TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const HOUR_MS = 3_600_000;

class Watched {
  readonly alerts: Alert[] = [];
  answer: AlertOutcome | 'never' = { delivered: true };
  readonly node: SchedulerNode;

  constructor(options: ConstructorParameters<typeof SchedulerNode>[0] = {}) {
    this.node = new SchedulerNode({
      ...options,
      alerts: {
        send: (alert, done) => {
          this.alerts.push(alert);
          const { answer } = this;
          if (answer !== 'never') this.node.clock.after(1, () => done(answer));
        },
      },
    });
    this.node.caller.answer = () => ({ kind: 'unknown', detail: 'no route' });
    this.node.lead();
  }

  run(...requests: readonly OperationRequest[]): void {
    for (const request of requests) this.node.applyNow(this.node.request(request));
  }

  get told(): readonly string[] {
    return this.alerts.map(({ url, status, retryCount }) => `${retryCount} ${status} ${url}`);
  }
}

function bare(type: 'tcc' | 'xa' | 'msg' | 'workflow', over: Partial<TransactionInput> = {}) {
  return saga('g', 0, { type, steps: undefined, payloads: undefined, ...over });
}
const prepare = (transaction: TransactionInput): OperationRequest => ({
  kind: 'prepare',
  transaction,
  defaults: NODE_DEFAULTS,
});
const submit = (transaction: TransactionInput): OperationRequest => ({
  kind: 'submit',
  transaction,
  defaults: NODE_DEFAULTS,
});
const register = (
  registration: Extract<OperationRequest, { kind: 'registerBranch' }>['registration'],
): OperationRequest => ({
  kind: 'registerBranch',
  gid: 'g',
  branchId: '01',
  registration,
  payload: new Uint8Array(),
});

const TCC = { kind: 'tcc', confirm: 'http://a/confirm', cancel: 'http://a/cancel' } as const;
const MSG = bare('msg', {
  steps: [{ action: 'http://a/send', compensate: '' }],
  payloads: [new Uint8Array()],
});
const WORKFLOW = bare('workflow', {
  queryPrepared: 'http://a/resume',
  customData: '{"name":"buy","data":null}',
});

const CASES: readonly (readonly [string, readonly OperationRequest[], string])[] = [
  ['a saga action', [submit(saga('g', 1))], '3 submitted http://s1/act'],
  [
    'a confirm of tcc',
    [prepare(bare('tcc')), register(TCC), submit(bare('tcc'))],
    '3 submitted http://a/confirm',
  ],
  [
    'a cancel of tcc after its timeout',
    [prepare(bare('tcc')), register(TCC)],
    '3 aborting http://a/cancel',
  ],
  [
    'a commit of xa',
    [prepare(bare('xa')), register({ kind: 'xa', url: 'http://a/xa' }), submit(bare('xa'))],
    '3 submitted http://a/xa',
  ],
  ['a message', [submit(MSG)], '3 submitted http://a/send'],
  [
    '12.36: the check-back of a message',
    [prepare({ ...MSG, queryPrepared: 'http://a/query' })],
    '3 prepared http://a/query',
  ],
  [
    '12.8: the callback of a workflow',
    [{ kind: 'prepareWorkflow', transaction: WORKFLOW, defaults: NODE_DEFAULTS }],
    '3 prepared http://a/resume',
  ],
];

describe('alerts of the leader', () => {
  it.each(CASES)(
    '%s that keeps failing is told of once, at its third error',
    async (_, requests, told) => {
      const watched = new Watched();
      watched.run(...requests);
      await watched.node.clock.advance(HOUR_MS);
      expect(watched.node.caller.written.length).toBeGreaterThan(5);
      expect(watched.told).toEqual([told]);
    },
  );

  it('a compensation is told of apart from its action', async () => {
    const watched = new Watched();
    watched.node.caller.answer = ({ op, branchId }) =>
      op === 'action' && branchId === '02' ? { kind: 'failure' } : { kind: 'unknown' };
    watched.run(submit(saga('g', 2, { customData: '{"concurrent":true}', options: {} })));
    await watched.node.clock.advance(HOUR_MS);
    expect([...watched.told].sort()).toEqual([
      '3 aborting http://s1/undo',
      '3 aborting http://s2/undo',
    ]);
  });

  it('delivered is on record with the next result, and survives its codecs', async () => {
    const watched = new Watched();
    watched.run(submit(saga('g', 1)));
    await watched.node.clock.advance(HOUR_MS);
    const stored = watched.node.committedNow('g');
    if (stored === undefined) throw new Error('g is gone');
    expect(stored.state.branches.map(({ alerted }) => alerted)).toEqual([undefined, true]);
    const marked = watched.node.advances.find(({ results }) => results.some((r) => r.alerted));
    if (marked === undefined) throw new Error('no command carries it');
    expect(decodeCommand(encodeCommand(marked))).toEqual(marked);
  });

  it('what is on record is not told of by the next leader', async () => {
    const watched = new Watched();
    watched.run(submit(saga('g', 1)));
    await watched.node.clock.advance(HOUR_MS);
    watched.node.leadAgain();
    await watched.node.clock.advance(HOUR_MS);
    expect(watched.alerts).toHaveLength(1);
  });

  it('what was never delivered is told of by the next leader, at the next error', async () => {
    const watched = new Watched();
    watched.answer = 'never';
    watched.run(submit(saga('g', 1)));
    await watched.node.clock.advance(HOUR_MS / 4);
    expect(watched.alerts).toHaveLength(1);
    const next = new Watched();
    for (const [key, value] of watched.node.state.tree.entries())
      next.node.state.tree.set(key, value);
    next.node.clock.nowMs = watched.node.clock.nowMs;
    next.node.leadAgain();
    await next.node.clock.advance(HOUR_MS);
    expect(next.alerts).toHaveLength(1);
    expect(next.alerts[0]?.retryCount).toBeGreaterThan(3);
  });

  it('12.36: a dead web hook delays no call and no decision', async () => {
    const timesOf = async (answer: AlertOutcome | 'never') => {
      const watched = new Watched({ alertsConfig: { queueMax: 1, inflightMax: 1 } });
      watched.answer = answer;
      for (const gid of ['a', 'b', 'c', 'd']) watched.run(submit({ ...saga('x', 1), gid }));
      await watched.node.clock.advance(HOUR_MS);
      return watched.node.caller.written.map(({ atMs, call }) => `${atMs} ${call.gid}`);
    };
    const expected = await timesOf({ delivered: true });
    expect(await timesOf('never')).toEqual(expected);
    expect(await timesOf({ delivered: false, reason: 'dead' })).toEqual(expected);
  });

  it('ongoing is no error, and a call that recovers is not told of', async () => {
    const watched = new Watched();
    let calls = 0;
    watched.node.caller.answer = () => {
      calls += 1;
      return { kind: calls < 30 ? 'ongoing' : 'success' };
    };
    watched.run(submit(saga('g', 1)));
    await watched.node.clock.advance(HOUR_MS);
    expect([watched.alerts.length, watched.node.committedNow('g')?.state.status]).toEqual([
      0,
      'succeed',
    ]);
  });

  it('AlertRetryLimit 0 and 1 tell of the first error', async () => {
    for (const retryLimit of [0, 1]) {
      const watched = new Watched({ alertsConfig: { retryLimit } });
      watched.run(submit(saga('g', 1)));
      await watched.node.clock.advance(100);
      expect(watched.told).toEqual(['1 submitted http://s1/act']);
    }
  });
});
