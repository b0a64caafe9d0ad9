// Every option of a transaction, in every pattern: given at the creation, or with the submit that
// completes a prepared one (dtm reference §1.3, §5.3, §5.5, §5.6).

import { describe, expect, it } from 'vitest';
import type {
  OperationRequest,
  TransactionInput,
  TransactionOptions,
} from '../../../../src/engine/machine/index.ts';
import { NODE_DEFAULTS, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

type Options = Partial<TransactionOptions>;
type Shape = (over: Partial<TransactionInput>) => readonly OperationRequest[];

const BARE = saga('g', 0, { steps: undefined, payloads: undefined });
const STEP = {
  steps: [{ action: 'http://a/b', compensate: '' }],
  payloads: [new Uint8Array([123])],
};
const defaults = NODE_DEFAULTS;

function prepare(transaction: TransactionInput): OperationRequest {
  return { kind: 'prepare', transaction, defaults };
}
function submit(transaction: TransactionInput): OperationRequest {
  return { kind: 'submit', transaction, defaults };
}
function register(
  registration: Extract<OperationRequest, { kind: 'registerBranch' }>['registration'],
) {
  const payload = new Uint8Array([123]);
  return { kind: 'registerBranch', gid: 'g', branchId: '01', registration, payload } as const;
}
const TCC = register({ kind: 'tcc', confirm: 'http://a/b', cancel: 'http://a/b' });
const XA = register({ kind: 'xa', url: 'http://a/b' });

/** Each makes one call of `http://a/b`, with `over` given where the name says. */
const SHAPES: Readonly<Record<string, Shape>> = {
  'saga, at submit': (over) => [submit({ ...BARE, ...STEP, ...over })],
  'saga, at prepare': (over) => [prepare({ ...BARE, ...STEP, ...over }), submit(BARE)],
  'msg, at submit': (over) => [submit({ ...BARE, ...STEP, type: 'msg', ...over })],
  'msg, at prepare': (over) => [
    prepare({ ...BARE, ...STEP, type: 'msg', ...over }),
    submit({ ...BARE, type: 'msg' }),
  ],
  'tcc, at prepare': (over) => [
    prepare({ ...BARE, type: 'tcc', ...over }),
    TCC,
    submit({ ...BARE, type: 'tcc' }),
  ],
  'tcc, at submit': (over) => [
    prepare({ ...BARE, type: 'tcc' }),
    TCC,
    submit({ ...BARE, type: 'tcc', ...over }),
  ],
  'xa, at prepare': (over) => [
    prepare({ ...BARE, type: 'xa', ...over }),
    XA,
    submit({ ...BARE, type: 'xa' }),
  ],
  'xa, at submit': (over) => [
    prepare({ ...BARE, type: 'xa' }),
    XA,
    submit({ ...BARE, type: 'xa', ...over }),
  ],
  'workflow, at its start': (over) => [
    {
      kind: 'prepareWorkflow',
      transaction: {
        ...BARE,
        type: 'workflow',
        queryPrepared: 'http://a/b',
        customData: '{"name":"n","data":null}',
        ...over,
      },
      defaults,
    },
  ],
};
const EVERY = Object.entries(SHAPES);

function started(shape: Shape, over: Partial<TransactionInput>): SchedulerNode {
  const node = new SchedulerNode();
  node.caller.answer = () => ({ kind: 'unknown' });
  node.lead();
  for (const request of shape(over)) node.applyNow(node.request(request));
  return node;
}

async function callsOf(shape: Shape, options: Options, over: Partial<TransactionInput> = {}) {
  const node = started(shape, { ...over, options });
  await node.clock.advance(120_000);
  const [first, second] = node.caller.written;
  if (first === undefined || second === undefined) throw new Error('there were no two calls');
  return { first: first.call, pauseMs: second.atMs - first.atMs };
}

describe.each(EVERY)('options of %s', (_name, shape) => {
  it('request_timeout limits each call; without it the default does', async () => {
    expect((await callsOf(shape, {})).first.timeoutMs).toBe(3_000);
    expect((await callsOf(shape, { requestTimeoutS: 7 })).first.timeoutMs).toBe(7_000);
  });

  it('branch_headers travel with each call', async () => {
    const branchHeaders = { 'x-tenant': '7' };
    expect((await callsOf(shape, {})).first.headers).toEqual({});
    expect((await callsOf(shape, { branchHeaders })).first.headers).toEqual(branchHeaders);
  });

  it('retry_interval is the base of the doubling; without it the default is', async () => {
    const jitter = (ms: number) => [0.9 * ms - 5, 1.1 * ms + 5] as const;
    for (const [options, pauseMs] of [
      [{}, 20_000],
      [{ retryIntervalS: 2 }, 4_000],
    ] as const) {
      const [least, most] = jitter(pauseMs);
      const took = (await callsOf(shape, options)).pauseMs;
      expect([took, took >= least && took <= most]).toEqual([took, true]);
    }
  });

  it('protocol says how the branch is called', async () => {
    expect((await callsOf(shape, {})).first.protocol).toBe('http');
    expect((await callsOf(shape, {}, { protocol: 'grpc' })).first.protocol).toBe('grpc');
  });
});

describe('timeout_to_fail', () => {
  async function statusAfter(requests: readonly OperationRequest[], seconds: number) {
    const node = started(() => requests, {});
    await node.clock.advance(seconds * 1_000);
    const state = node.committedNow('g')?.state;
    return [state?.status, state?.rollbackReason];
  }
  const given = { options: { timeoutToFailS: 5 } };

  it.each(['tcc', 'xa'] as const)('aborts a prepared %s', async (type) => {
    const registered = type === 'tcc' ? TCC : XA;
    const requests = [prepare({ ...BARE, type, ...given }), registered];
    expect(await statusAfter(requests, 4)).toEqual(['prepared', '']);
    expect(await statusAfter(requests, 7)).toEqual(['aborting', 'Timeout after 5 seconds']);
    const byDefault = [prepare({ ...BARE, type }), registered];
    expect(await statusAfter(byDefault, 34)).toEqual(['prepared', '']);
    expect(await statusAfter(byDefault, 40)).toEqual(['aborting', 'Timeout after 35 seconds']);
  });

  it('aborts a submitted saga; without it a saga goes on', async () => {
    const requests = [submit({ ...BARE, ...STEP, ...given })];
    expect(await statusAfter(requests, 4)).toEqual(['submitted', '']);
    // Its compensation has no URL.
    expect(await statusAfter(requests, 7)).toEqual(['failed', 'Timeout after 5 seconds']);
    expect(await statusAfter([submit({ ...BARE, ...STEP })], 3_600)).toEqual(['submitted', '']);
  });

  it('asks the client of a prepared message', async () => {
    const message = { ...BARE, ...STEP, type: 'msg', queryPrepared: 'http://a/query' } as const;
    for (const [over, seconds] of [
      [given, 5],
      [{}, 35],
    ] as const) {
      const node = started(() => [prepare({ ...message, ...over })], {});
      await node.clock.advance(seconds * 1_000 - 100);
      expect(node.caller.sequence).toEqual([]);
      await node.clock.advance(1_000);
      expect(node.caller.sequence).toEqual(['msg 00']);
    }
  });

  it('is no limit of a workflow', async () => {
    const [, shape] = EVERY.at(-1) ?? ['', () => []];
    expect(await statusAfter(shape(given), 3_600)).toEqual(['prepared', '']);
  });
});

describe('options of one pattern', () => {
  it('retry_limit and retry_count: a saga calls L + 1 times, less those counted', async () => {
    for (const [retryCount, calls] of [
      [0, 3],
      [1, 2],
    ] as const) {
      const node = started(
        () => [submit({ ...BARE, ...STEP, options: { retryLimit: 2, retryCount } })],
        {},
      );
      await node.clock.advance(60_000);
      const reason = node.committedNow('g')?.state.rollbackReason;
      expect([node.caller.written.length, reason]).toEqual([
        calls,
        'RetryCount is greater than RetryLimit, RetryLimit: 2',
      ]);
    }
  });

  it.each([
    ['11.10: top-level concurrent', { options: { concurrent: true } }, { msg: 2, saga: 1 }],
    ['11.10: custom_data.concurrent', { customData: '{"concurrent":true}' }, { msg: 1, saga: 2 }],
  ])('%s', async (_name, over, expected) => {
    const two = {
      steps: [...STEP.steps, ...STEP.steps],
      payloads: [...STEP.payloads, ...STEP.payloads],
    };
    for (const type of ['msg', 'saga'] as const) {
      const node = started(() => [submit({ ...BARE, ...two, type, ...over })], {});
      await node.clock.advance(5_000);
      expect([type, node.caller.written.length]).toEqual([type, expected[type]]);
    }
  });

  it('custom_data.delay, also when only the submit names it', async () => {
    const message = { ...BARE, ...STEP, type: 'msg' } as const;
    const late = { customData: '{"delay":10}' };
    for (const requests of [
      [submit({ ...message, ...late })],
      [prepare(message), submit({ ...BARE, type: 'msg', ...late })],
    ]) {
      const node = started(() => requests, {});
      await node.clock.advance(9_000);
      expect(node.caller.sequence).toEqual([]);
      await node.clock.advance(2_000);
      expect(node.caller.sequence).toEqual(['action 01']);
    }
  });

  it('rollback_reason of an abort is kept as it was sent', () => {
    const node = started(
      () => [
        prepare({ ...BARE, type: 'tcc' }),
        { kind: 'abort', gid: 'g', type: 'tcc', rollbackReason: 'stock gone' },
      ],
      {},
    );
    expect(node.committedNow('g')?.state.rollbackReason).toBe('stock gone');
  });

  it('resetNextCronTime makes a call due at once, in every pattern', async () => {
    for (const [, shape] of EVERY) {
      const node = started(shape, {});
      await node.clock.advance(12_000);
      const before = node.caller.written.length;
      node.applyNow(node.request({ kind: 'resetNextCronTime', gids: ['g'], mustExist: true }));
      await node.clock.advance(10);
      expect(node.caller.written.length).toBe(before + 1);
    }
  });
});
