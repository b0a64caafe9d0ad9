// Two-phase messages as clients ask for them: prepare, submit, abort, in every state, and topics.
// Names carry the number of the statement or defect of the dtm reference that they defend.

import { describe, expect, test } from 'vitest';
import {
  describeTransaction,
  type OperationResult,
  type Transaction,
  type TransactionInput,
  validateInput,
} from '../../../../src/engine/machine/index.ts';
import { isOwnCall } from '../../../../src/engine/patterns/index.ts';
import { bareInput, bytes, DEFAULTS, Replica, result, START_MS } from './fixtures.ts';

const STRICT = { ...DEFAULTS, strictResubmit: true };
const SUBMITTED_IN_VAIN = "failure: current status 'failed', cannot sumbmit.";

function message(outcome: OperationResult): string {
  return outcome.kind === 'success' ? 'success' : `${outcome.kind}: ${outcome.message}`;
}

function msgInput(
  actions: readonly string[],
  more: Partial<TransactionInput> = {},
): TransactionInput {
  return {
    ...bareInput('g'),
    type: 'msg',
    steps: actions.map((action) => ({ action, compensate: '' })),
    payloads: actions.map((_, at) => bytes(`{"n":${at}}`)),
    queryPrepared: 'http://ap/check',
    ...more,
  };
}

const TWO = ['http://a/in', 'http://b/in'];

function bare(more: Partial<TransactionInput> = {}): TransactionInput {
  return bareInput('g', { type: 'msg', ...more });
}

function prepared(input = msgInput(TWO)): Replica {
  const replica = new Replica();
  expect(message(replica.prepare(input))).toBe('success');
  return replica;
}

function abort(replica: Replica, type = 'msg', reason = '', strict = false): string {
  return message(
    replica.operate({ kind: 'abort', gid: 'g', type, rollbackReason: reason, strict }),
  );
}

function subscribe(replica: Replica, topic: string, ...urls: readonly string[]): void {
  for (const url of urls) {
    expect(message(replica.operate({ kind: 'subscribe', topic, url, remark: '' }))).toBe('success');
  }
}

/** What clients see of the rows. */
function shown({ definition }: Transaction): readonly string[] {
  return definition.branches
    .filter((branch) => !isOwnCall(branch))
    .map(({ branchId, op, url, payload }) => `${branchId} ${op} ${url} ${payload ?? '-'}`);
}

describe('prepare and submit', () => {
  test('5.2.2: one row per step, in step order; the check-back is the hidden first row', () => {
    const replica = prepared();
    const stored = replica.get('g');
    expect(shown(stored)).toEqual(['01 action http://a/in 0', '02 action http://b/in 1']);
    expect(stored.definition.branches[0]).toEqual({
      branchId: '00',
      op: 'msg',
      url: 'http://ap/check',
      payload: undefined,
    });
    expect(stored.state).toMatchObject({ status: 'prepared', dueMs: START_MS + 35_000 });
  });

  test('5.5.1, 5.5.3: the given timeout says when the client is asked', () => {
    const replica = prepared(msgInput(TWO, { options: { timeoutToFailS: 3 } }));
    expect(replica.get('g').state.dueMs).toBe(START_MS + 3000);
  });

  test('5.3.3: a submit that gives nothing runs what was prepared', () => {
    const replica = prepared();
    replica.nowMs += 500;
    expect(message(replica.submit(bare()))).toBe('success');
    const { state, definition } = replica.get('g');
    expect(shown(replica.get('g'))).toHaveLength(2);
    expect(definition.queryPrepared).toBe('http://ap/check');
    expect(state).toMatchObject({ status: 'submitted', createTimeMs: START_MS });
  });

  test('5.3.2, 5.8.2: a delay that only the submit states is kept, and counts from the creation', () => {
    const replica = prepared();
    replica.nowMs += 4000;
    replica.submit(msgInput(TWO, { customData: '{"delay":10}' }));
    expect(replica.get('g').state.dueMs).toBe(START_MS + 10_000);
  });

  test('11.30: the keys of custom_data match in any case', () => {
    const replica = new Replica();
    replica.submit(msgInput(TWO, { customData: '{"Delay":60}' }));
    expect(replica.get('g').state.dueMs).toBe(START_MS + 60_000);
    const at = msgInput(TWO, { gid: 'h', customData: `{"DELIVER_AT":${START_MS + 90_000}}` });
    replica.submit(at);
    expect(replica.get('h').state.dueMs).toBe(START_MS + 90_000);
  });

  test('5.8.2: an absolute time of delivery is an extension', () => {
    const replica = new Replica();
    replica.submit(msgInput(TWO, { customData: `{"deliver_at":${START_MS + 90_000}}` }));
    expect(replica.get('g').state.dueMs).toBe(START_MS + 90_000);
    const past = msgInput(TWO, { gid: 'h', customData: `{"deliver_at":${START_MS - 1}}` });
    replica.submit(past);
    expect(replica.get('h').state.dueMs).toBe(START_MS + 10_000);
  });

  test('12.1: a repeated submit keeps the rows and what they have done', () => {
    const replica = new Replica();
    replica.submit(msgInput(TWO));
    replica.advance('g', 'submitted', [result(1, 'success')]);
    expect(message(replica.submit(msgInput(TWO)))).toBe('success');
    expect(replica.rows('g')).toBe('prepared succeed prepared');
  });

  test('12.41: a repeated submit of a delivered message is a success', () => {
    const replica = new Replica();
    replica.submit(msgInput(TWO));
    const results = [result(1, 'success'), result(2, 'success')];
    replica.advance('g', 'submitted', results, { to: 'succeed' });
    expect(message(replica.submit(msgInput(TWO)))).toBe('success');
    expect(message(replica.submit(msgInput(TWO), STRICT))).toBe(
      "failure: current status 'succeed', cannot sumbmit. FAILURE",
    );
  });

  test('P6: a submit that states its delay only now is a success after the check-back has decided', () => {
    const replica = prepared();
    replica.nowMs += 35_000;
    replica.advance('g', 'prepared', [result(0, 'success')], { to: 'submitted' });
    const late = msgInput(TWO, { customData: '{"delay":10}' });
    expect(message(replica.submit(late))).toBe('success');
    expect(message(replica.submit(msgInput(['http://c/in'])))).toContain('cannot sumbmit');
  });

  test('P2: apply believes no leader: a decision needs the answer that bears it out', () => {
    const replica = prepared();
    replica.advance('g', 'prepared', [], { to: 'submitted' });
    replica.advance('g', 'prepared', [result(0, 'unknown')], { to: 'submitted' });
    replica.advance('g', 'prepared', [result(0, 'ongoing', { attempt: 2 })], {
      to: 'failed',
      reason: 'x',
    });
    replica.advance('g', 'prepared', [], { to: 'aborting', reason: 'x', compensate: [1] });
    expect(replica.get('g').state.status).toBe('prepared');
    replica.submit(bare());
    replica.advance('g', 'submitted', [result(1, 'success')], { to: 'succeed' });
    replica.advance('g', 'submitted', [], { to: 'failed', reason: 'x' });
    expect(replica.get('g').state.status).toBe('submitted');
  });

  test('a check-back that says no after the client has submitted changes nothing', () => {
    const replica = prepared();
    replica.submit(bare());
    const decision = { to: 'failed', reason: 'no' } as const;
    replica.advance('g', 'prepared', [result(0, 'failure')], decision);
    expect(replica.get('g').state.status).toBe('submitted');
  });

  test('12.15: a check-back that says no is told as the reason to who submits then', () => {
    const replica = prepared();
    const reason = 'url:http://ap/check return failed: rolled back FAILURE';
    replica.advance('g', 'prepared', [result(0, 'failure')], { to: 'failed', reason });
    expect(replica.get('g').state).toMatchObject({ status: 'failed', rollbackReason: reason });
    expect(message(replica.submit(bare()))).toBe(`${SUBMITTED_IN_VAIN} ${reason}`);
  });
});

describe('12.13: what can never be delivered is never accepted', () => {
  test.each([
    [{ payloads: [bytes('1')] }, 'payloads: 1 given for 2 steps'],
    [{ customData: '{' }, 'custom_data: is not JSON'],
    [{ customData: '[1]' }, 'custom_data: is not a JSON object'],
    [
      { customData: '{"delay":"5"}' },
      'custom_data: delay is no whole number of seconds from 0 to 315360000',
    ],
    [
      { customData: '{"delay":-1}' },
      'custom_data: delay is no whole number of seconds from 0 to 315360000',
    ],
    [
      { customData: '{"delay":1.5}' },
      'custom_data: delay is no whole number of seconds from 0 to 315360000',
    ],
    [
      { customData: '{"deliver_at":1800000000}' },
      'custom_data: deliver_at is no Unix time in milliseconds',
    ],
    [
      { customData: '{"deliver_at":1800000000000000}' },
      'custom_data: deliver_at is no Unix time in milliseconds',
    ],
    [
      { customData: '{"delay":1,"deliver_at":1800000000000}' },
      'custom_data: has both delay and deliver_at',
    ],
  ] as const)('case %#', (more, text) => {
    const replica = new Replica();
    const input = msgInput(TWO, more);
    for (const kind of ['submit', 'prepare'] as const) {
      const outcome = replica.operate({ kind, transaction: input, defaults: DEFAULTS });
      expect(outcome).toEqual({ kind: 'error', message: text });
      expect(validateInput(input)).toEqual(outcome);
    }
    expect(replica.find('g')).toBeUndefined();
  });

  test.each(['', 'null', '[]', '{}', '{"delay":0}', '{"delay":null}', '{"more":[]}'])(
    '12.35: %j means no delay',
    (customData) => {
      const replica = new Replica();
      expect(message(replica.submit(msgInput(TWO, { customData })))).toBe('success');
      expect(replica.get('g').state.dueMs).toBe(START_MS + 10_000);
    },
  );
});

describe('abort', () => {
  test('1.4: of a prepared message fails it at once, whatever type is stated', () => {
    for (const type of ['msg', 'tcc', '']) {
      const replica = prepared();
      replica.nowMs += 7;
      expect(abort(replica, type, 'stock gone')).toBe('success');
      expect(replica.get('g').state).toMatchObject({
        status: 'failed',
        rollbackTimeMs: START_MS + 7,
        finishTimeMs: undefined,
        rollbackReason: 'stock gone',
        dueMs: undefined,
      });
    }
  });

  test('5.12.7, 12.15: stores a reason where the client gives none', () => {
    const replica = prepared();
    abort(replica);
    expect(replica.get('g').state.rollbackReason).toBe('aborted by its client');
    expect(message(replica.submit(bare()))).toBe(
      `${SUBMITTED_IN_VAIN} aborted by its client FAILURE`,
    );
  });

  test('P6: a repeat is a success; strict compatibility answers as dtm does', () => {
    const replica = prepared();
    abort(replica);
    expect(abort(replica)).toBe('success');
    expect(abort(replica, 'msg', '', true)).toBe(
      "failure: trans type: 'msg' current status 'failed', cannot abort. FAILURE",
    );
  });

  test('1.4: of a submitted message is refused: it never rolls back', () => {
    const replica = new Replica();
    replica.submit(msgInput(TWO));
    expect(abort(replica)).toBe(
      "failure: trans type: 'msg' current status 'submitted', cannot abort. FAILURE",
    );
  });

  test('a message that was stopped by force did not end by an abort', () => {
    const replica = prepared();
    replica.operate({ kind: 'forceStop', gid: 'g', by: 'ops', reason: '' });
    expect(abort(replica)).toContain('cannot abort');
  });
});

describe('topics', () => {
  test('5.2.3: a topic with one subscriber is one row without suffix', () => {
    const replica = new Replica();
    subscribe(replica, 'orders', 'http://s/a');
    replica.submit(msgInput(['topic://orders', 'http://b/in']));
    expect(shown(replica.get('g'))).toEqual(['01 action http://s/a 0', '02 action http://b/in 1']);
  });

  test('5.2.4: a topic with several is one row each, in the order of subscription, with one payload', () => {
    const replica = new Replica();
    subscribe(replica, 'orders', 'http://s/b', 'http://s/a');
    replica.submit(msgInput(['http://x/in', 'topic://orders']));
    expect(shown(replica.get('g'))).toEqual([
      '01 action http://x/in 0',
      '02-01 action http://s/b 1',
      '02-02 action http://s/a 1',
    ]);
    expect(replica.get('g').definition.steps[1]?.action).toBe('topic://orders');
  });

  test.each([
    ['that is unknown', []],
    ['that is empty', ['http://s/a']],
  ])('5.8.5: a topic %s makes prepare and submit fail, and leaves nothing behind', (_, urls) => {
    const replica = new Replica();
    subscribe(replica, 'orders', ...urls);
    for (const url of urls) replica.operate({ kind: 'unsubscribe', topic: 'orders', url });
    const input = msgInput(['http://x/in', 'topic://orders']);
    expect(message(replica.submit(input))).toBe('error: topic not found');
    expect(message(replica.prepare(input))).toBe('error: topic not found');
    expect(message(replica.submit(msgInput(['topic://'])))).toBe('error: topic not found');
    expect(replica.find('g')).toBeUndefined();
  });

  test('5.8.6, 11.13: expansion happens at prepare: a submit runs those rows, whatever the topic is now', () => {
    const replica = new Replica();
    subscribe(replica, 'orders', 'http://s/a', 'http://s/b');
    const input = msgInput(['topic://orders']);
    replica.prepare(input);
    const before = replica.get('g').definition.branches;
    subscribe(replica, 'orders', 'http://s/c');
    replica.operate({ kind: 'deleteTopic', topic: 'orders' });
    expect(message(replica.submit(input))).toBe('success');
    expect(replica.get('g').definition.branches).toEqual(before);
    expect(message(replica.submit(input))).toBe('success');
  });

  test('12.13: a subscriber that HTTP cannot call refuses messages of HTTP, not those of gRPC', () => {
    const replica = new Replica();
    subscribe(replica, 't', 'http://s/a', 'b:1/p.S/M');
    const input = msgInput(['topic://t']);
    for (const outcome of [replica.prepare(input), replica.submit(input)]) {
      expect(message(outcome)).toBe('error: steps: the subscriber b:1/p.S/M is not called by HTTP');
    }
    expect(replica.find('g')).toBeUndefined();
    for (const protocol of ['grpc', 'json-rpc'] as const) {
      const other = msgInput(['topic://t'], { gid: protocol, protocol });
      expect(message(replica.submit(other))).toBe('success');
    }
  });

  test('12.10: a subscription counts with the next command of the same entry', () => {
    const replica = new Replica();
    const opId = (seq: number) => ({ nodeId: 1, incarnation: 1, seq });
    const applied = replica.apply(
      {
        kind: 'operation',
        opId: opId(1),
        lowestOpenSeq: 1,
        request: { kind: 'subscribe', topic: 't', url: 'http://s/a', remark: '' },
      },
      {
        kind: 'operation',
        opId: opId(2),
        lowestOpenSeq: 1,
        request: { kind: 'submit', transaction: msgInput(['topic://t']), defaults: DEFAULTS },
      },
    );
    expect(applied.operations.map((one) => one.result.kind)).toEqual(['success', 'success']);
  });

  test('P8: more rows than one message may have are refused, and not counted to the end', () => {
    const replica = new Replica();
    const urls = Array.from({ length: 600 }, (_, at) => `http://s/${at}`);
    subscribe(replica, 't', ...urls);
    const message17 = msgInput(Array.from({ length: 17 }, () => 'topic://t'));
    const text = 'error: steps: their subscribers are more than 10000';
    expect(message(replica.submit(message17))).toBe(text);
    const unknownLast = Array.from({ length: 18 }, (_, at) => `topic://${at < 17 ? 't' : 'none'}`);
    expect(message(replica.submit(msgInput(unknownLast)))).toBe(text);
  });

  test('P8: longer URLs than one message may stand for are refused', () => {
    const replica = new Replica();
    const urls = Array.from({ length: 250 }, (_, at) => `http://s/${at}`.padEnd(4096, 'x'));
    subscribe(replica, 't', ...urls);
    const topics = (count: number) => msgInput(Array.from({ length: count }, () => 'topic://t'));
    expect(message(replica.submit(topics(5)))).toBe(
      'error: steps: the URLs of their subscribers exceed 4194304 bytes',
    );
    expect(replica.find('g')).toBeUndefined();
    expect(message(replica.submit(topics(4)))).toBe('success');
  });
});

test('P4: what a prepared message waits for is told, and its failing check-back', () => {
  const replica = prepared();
  expect(describeTransaction(replica.get('g'), replica.nowMs)).toMatchObject({
    waitingFor: 'its submit or abort',
    untilMs: START_MS + 35_000,
    unblock: 'a submit of this gid',
    stuck: [],
  });
  replica.nowMs += 35_000;
  replica.advance('g', 'prepared', [
    result(0, 'unknown', { detail: 'refused', retryAtMs: START_MS + 55_000 }),
  ]);
  expect(describeTransaction(replica.get('g'), replica.nowMs)).toMatchObject({
    untilMs: START_MS + 55_000,
    unblock:
      'a submit of this gid, or msg 00 at http://ap answering success; its last answer was unknown',
    stuck: [{ op: 'msg', lastOutcome: 'unknown', lastDetail: 'refused' }],
  });
  replica.submit(bare());
  expect(describeTransaction(replica.get('g'), replica.nowMs).stuck).toEqual([]);
});
