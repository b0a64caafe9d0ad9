// Every pattern through gRPC and through HTTP, on every node: the same transaction gets the same
// answers, makes the same calls of its participants, and leaves the same stored rows.
// Source of every number: the dtm protocol reference.

import { status as Status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import { freshGid } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { GrpcClient, grpcCallOf } from './lib/grpc-client.ts';
import { BROKEN, FAILED, GrpcParticipant, NOT_YET } from './lib/grpc-participant.ts';

const on = threeNodes();
let busi: GrpcParticipant;
let grpc: GrpcClient;

beforeAll(async () => {
  busi = await GrpcParticipant.start();
  grpc = new GrpcClient(on.cluster);
});
afterAll(() => {
  grpc.close();
  busi.stop();
});

type Body = Readonly<Record<string, unknown>>;
/** The kind of an answer in both protocols, and its message; the reply of prepareWorkflow. */
type Answer = readonly [kind: string, message: string, value?: unknown];
type Ask = (route: string, body: Body) => Promise<Answer>;

const HTTP_KINDS = new Map([
  [200, 'success'],
  [409, 'failure'],
  [425, 'ongoing'],
  [500, 'error'],
]);
const GRPC_KINDS = new Map<number, string>([
  [Status.OK, 'success'],
  [Status.ABORTED, 'failure'],
  [Status.FAILED_PRECONDITION, 'ongoing'],
  [Status.INTERNAL, 'error'],
  [Status.UNKNOWN, 'error'],
]);

function byHttp(nodeId: number): Ask {
  return async (route, body) => {
    const { status, json } = await on.client.post(route, { protocol: 'grpc', ...body }, nodeId);
    const kind = HTTP_KINDS.get(status) ?? `status ${status}`;
    const message = typeof json['message'] === 'string' ? json['message'] : '';
    return route === 'prepareWorkflow' ? [kind, message, workflowOf(json)] : [kind, message];
  };
}

function byGrpc(nodeId: number): Ask {
  return async (route, body) => {
    const { method, message: request } = grpcCallOf(route, body);
    const { code, message, reply } = await grpc.call(method, request, { nodeId });
    const kind = GRPC_KINDS.get(code) ?? `code ${code}`;
    return route === 'prepareWorkflow' ? [kind, message, workflowOf(reply)] : [kind, message];
  };
}

/** What both protocols say of a workflow, in the words of neither. */
function workflowOf(reply: Body): unknown {
  const field = (view: unknown, ...names: readonly string[]): unknown =>
    names.map((name) => (view as Body)[name]).find((value) => value !== undefined) ?? '';
  const transaction = field(reply, 'transaction', 'Transaction');
  const progresses = field(reply, 'progresses', 'Progresses') as readonly unknown[];
  const base64 = (data: unknown): unknown =>
    Buffer.isBuffer(data) ? data.toString('base64') : data;
  return {
    transaction: [
      field(transaction, 'gid', 'Gid'),
      field(transaction, 'status', 'Status'),
      field(transaction, 'rollback_reason', 'RollbackReason'),
      field(transaction, 'result', 'Result'),
    ],
    progresses: progresses.map((progress) => [
      field(progress, 'branch_id', 'BranchID'),
      field(progress, 'op', 'Op'),
      field(progress, 'status', 'Status'),
      base64(field(progress, 'bin_data', 'BinData')),
    ]),
  };
}

interface Scenario {
  readonly name: string;
  /** What the participant answers, before the client starts. */
  readonly script?: (gid: string) => void;
  readonly run: (ask: Ask, gid: string) => Promise<readonly Answer[]>;
  readonly answers: readonly Answer[];
  /** Undefined: nothing is stored. */
  readonly status: string | undefined;
  readonly branches: readonly string[];
  readonly calls: readonly string[];
  /** What the calls carried, where that is not plain. */
  readonly messages?: readonly string[];
}

const OK: Answer = ['success', ''];
const NOT_FINISHED: Answer = ['failure', 'wait result not return success: FAILURE'];
const HINT =
  'your http/grpc result should be specified as in:\nhttps://dtm.pub/summary/arch.html#http\nunkown result will be retried: ';

async function inTurn(ask: Ask, requests: readonly [string, Body][]): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (const [route, body] of requests) answers.push(await ask(route, body));
  return answers;
}

function saga(gid: string, more: Body = {}): Body {
  return {
    gid,
    trans_type: 'saga',
    steps: [
      { action: busi.url('TransOut'), compensate: busi.url('TransOutRevert') },
      { action: busi.url('TransIn'), compensate: busi.url('TransInRevert') },
    ],
    payloads: ['out', 'in'],
    ...more,
  };
}

function tccBranch(gid: string, branchId: string): Body {
  const [confirm, cancel] = [busi.url('TransOut'), busi.url('TransOutRevert')];
  return { gid, trans_type: 'tcc', branch_id: branchId, data: `try ${branchId}`, confirm, cancel };
}

/** Prepares, registers, and ends as `route` says. */
function tcc(gid: string, ids: readonly string[], route: string, more: Body): [string, Body][] {
  const named = { gid, trans_type: 'tcc', retry_interval: 1 };
  return [
    ['prepare', { ...named, wait_result: true }],
    ...ids.map((id): [string, Body] => ['registerBranch', tccBranch(gid, id)]),
    [route, { ...named, ...more }],
  ];
}

function xa(gid: string, route: string, more: Body): [string, Body][] {
  const named = { gid, trans_type: 'xa' };
  const branch = (id: string): Body => ({ ...named, branch_id: id, url: busi.url('TransIn') });
  return [
    ['prepare', { ...named, wait_result: true }],
    ['registerBranch', branch('01')],
    ['registerBranch', branch('02')],
    [route, { ...named, ...more }],
  ];
}

function msg(gid: string, more: Body = {}): Body {
  return {
    gid,
    trans_type: 'msg',
    steps: [{ action: busi.url('TransOut') }, { action: busi.url('TransIn') }],
    payloads: ['out', 'in'],
    query_prepared: busi.url('QueryPrepared'),
    ...more,
  };
}

function workflow(gid: string, more: Body = {}): Body {
  return {
    gid,
    trans_type: 'workflow',
    query_prepared: busi.workflowUrl,
    custom_data: '{"name":"buy","data":"eyJpZCI6MX0="}',
    ...more,
  };
}

const SAGAS: readonly Scenario[] = [
  {
    name: 'saga that succeeds',
    run: (ask, gid) =>
      inTurn(ask, [
        [
          'submit',
          saga(gid, {
            wait_result: true,
            request_timeout: 2,
            timeout_to_fail: 60,
            retry_limit: 2,
            branch_headers: { 'x-tenant': '7' },
          }),
        ],
      ]),
    answers: [OK],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['01 action', '02 action'],
  },
  {
    name: 'saga whose second step fails',
    script: (gid) => busi.on(gid, '02 action', FAILED),
    run: (ask, gid) => inTurn(ask, [['submit', saga(gid, { wait_result: true })]]),
    answers: [['failure', 'url:BUSI/TransIn return failed: no stock FAILURE']],
    status: 'failed',
    branches: ['succeed', 'succeed', 'succeed', 'failed'],
    calls: ['01 action', '02 action', '02 compensate', '01 compensate'],
    messages: ['out', 'in', 'in', 'out'],
  },
  {
    name: 'saga of concurrent steps in a given order',
    run: (ask, gid) => {
      const custom_data = '{"concurrent":true,"orders":{"0":[1]}}';
      return inTurn(ask, [['submit', saga(gid, { wait_result: true, custom_data })]]);
    },
    answers: [OK],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['02 action', '01 action'],
  },
  {
    name: 'saga whose first step takes its time',
    script: (gid) => busi.on(gid, '01 action', NOT_YET, {}),
    run: (ask, gid) =>
      inTurn(ask, [['submit', saga(gid, { wait_result: true, retry_interval: 1 })]]),
    answers: [NOT_FINISHED],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['01 action', '01 action', '02 action'],
  },
  {
    name: 'saga submitted again, and otherwise',
    run: (ask, gid) =>
      inTurn(ask, [
        ['submit', saga(gid, { wait_result: true })],
        ['submit', saga(gid, { wait_result: true })],
        ['submit', saga(gid, { payloads: ['other', 'in'] })],
        ['prepare', saga(gid)],
        ['abort', { gid, trans_type: 'saga' }],
      ]),
    answers: [
      OK,
      OK,
      ['failure', "current status 'succeed', cannot sumbmit. FAILURE"],
      ['failure', "current status 'succeed', cannot prepare. FAILURE"],
      ['failure', "trans type: 'saga' current status 'succeed', cannot abort. FAILURE"],
    ],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['01 action', '02 action'],
  },
];

const TWO_PHASES: readonly Scenario[] = [
  {
    name: 'tcc with a nested branch, confirmed in reverse',
    run: (ask, gid) => inTurn(ask, tcc(gid, ['01', '02', '0201'], 'submit', { wait_result: true })),
    answers: [OK, OK, OK, OK, OK],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['0201 confirm', '02 confirm', '01 confirm'],
    messages: ['try 0201', 'try 02', 'try 01'],
  },
  {
    name: 'tcc aborted for a reason, which waits by its stored options',
    run: (ask, gid) =>
      inTurn(ask, tcc(gid, ['01', '02'], 'abort', { rollback_reason: 'too late' })),
    answers: [OK, OK, OK, OK],
    status: 'failed',
    branches: ['succeed', 'prepared', 'succeed', 'prepared'],
    calls: ['02 cancel', '01 cancel'],
  },
  {
    name: 'tcc whose confirm takes its time',
    script: (gid) => busi.on(gid, '01 confirm', NOT_YET, {}),
    run: (ask, gid) => inTurn(ask, tcc(gid, ['01'], 'submit', { wait_result: true })),
    answers: [OK, OK, ['ongoing', 'ONGOING']],
    status: 'succeed',
    branches: ['prepared', 'succeed'],
    calls: ['01 confirm', '01 confirm'],
  },
  {
    name: 'tcc whose confirm is out of order',
    script: (gid) => busi.on(gid, '01 confirm', BROKEN, {}),
    run: (ask, gid) => inTurn(ask, tcc(gid, ['01'], 'submit', { wait_result: true })),
    answers: [OK, OK, ['error', `${HINT}INTERNAL: out of order`]],
    status: 'succeed',
    branches: ['prepared', 'succeed'],
    calls: ['01 confirm', '01 confirm'],
  },
  {
    name: 'tcc whose confirm says no and is asked again',
    script: (gid) => busi.on(gid, '01 confirm', FAILED, {}),
    run: (ask, gid) => inTurn(ask, tcc(gid, ['01'], 'submit', { wait_result: true })),
    answers: [OK, OK, ['failure', `${HINT}no stock FAILURE`]],
    status: 'succeed',
    branches: ['prepared', 'succeed'],
    calls: ['01 confirm', '01 confirm'],
  },
  {
    name: 'tcc with a branch registered twice, and otherwise',
    run: (ask, gid) =>
      inTurn(ask, [
        ...tcc(gid, ['01', '01'], 'registerBranch', { ...tccBranch(gid, '01'), data: 'other' }),
        ['abort', { gid, trans_type: 'tcc' }],
        ['registerBranch', tccBranch(gid, '02')],
      ]),
    answers: [
      OK,
      OK,
      OK,
      ['failure', 'branch 01 is registered with different content. FAILURE'],
      OK,
      ['failure', 'no trans with gid: GID status: prepared found FAILURE'],
    ],
    status: 'failed',
    branches: ['succeed', 'prepared'],
    calls: ['01 cancel'],
  },
  {
    name: 'xa committed in order of registration',
    run: (ask, gid) => inTurn(ask, xa(gid, 'submit', { wait_result: true })),
    answers: [OK, OK, OK, OK],
    status: 'succeed',
    branches: ['prepared', 'succeed', 'prepared', 'succeed'],
    calls: ['01 commit', '02 commit'],
    messages: ['', ''],
  },
  {
    name: 'xa rolled back',
    run: (ask, gid) => inTurn(ask, xa(gid, 'abort', {})),
    answers: [OK, OK, OK, OK],
    status: 'failed',
    branches: ['succeed', 'prepared', 'succeed', 'prepared'],
    calls: ['01 rollback', '02 rollback'],
  },
];

const MESSAGES: readonly Scenario[] = [
  {
    name: 'message sent in order',
    run: (ask, gid) =>
      inTurn(ask, [
        ['prepare', msg(gid)],
        ['submit', msg(gid, { wait_result: true })],
      ]),
    answers: [OK, OK],
    status: 'succeed',
    branches: ['succeed', 'succeed'],
    calls: ['01 action', '02 action'],
  },
  {
    name: 'message never submitted, whose check-back says yes',
    run: (ask, gid) => inTurn(ask, [['prepare', msg(gid, { timeout_to_fail: 1 })]]),
    answers: [OK],
    status: 'succeed',
    branches: ['succeed', 'succeed'],
    calls: ['00 msg', '01 action', '02 action'],
    messages: ['', 'out', 'in'],
  },
  {
    name: 'message never submitted, whose check-back says no',
    script: (gid) => busi.on(gid, '00 msg', FAILED),
    run: (ask, gid) => inTurn(ask, [['prepare', msg(gid, { timeout_to_fail: 1 })]]),
    answers: [OK],
    status: 'failed',
    branches: ['prepared', 'prepared'],
    calls: ['00 msg'],
  },
  {
    name: 'message aborted before it is sent',
    run: (ask, gid) =>
      inTurn(ask, [
        ['prepare', msg(gid)],
        ['abort', { gid, trans_type: 'msg' }],
      ]),
    answers: [OK, OK],
    status: 'failed',
    branches: ['prepared', 'prepared'],
    calls: [],
  },
];

function step(gid: string, branchId: string, more: Body = {}): Body {
  const recorded = { op: 'action', status: 'succeed', data: '{"ok":1}' };
  return { gid, trans_type: 'workflow', branch_id: branchId, ...recorded, ...more };
}

const WORKFLOWS: readonly Scenario[] = [
  {
    name: 'workflow with its progress and its result',
    run: (ask, gid) =>
      inTurn(ask, [
        ['prepareWorkflow', workflow(gid)],
        ['registerBranch', step(gid, '01')],
        ['registerBranch', step(gid, '01')],
        ['prepareWorkflow', workflow(gid)],
        ['submit', workflow(gid, { req_extra: { status: 'succeed', result: 'b2s=' } })],
        ['prepareWorkflow', workflow(gid)],
      ]),
    answers: [
      ['success', '', { transaction: ['GID', 'prepared', '', ''], progresses: [] }],
      OK,
      OK,
      [
        'success',
        '',
        {
          transaction: ['GID', 'prepared', '', ''],
          progresses: [['01', 'action', 'succeed', 'eyJvayI6MX0=']],
        },
      ],
      OK,
      [
        'success',
        '',
        {
          transaction: ['GID', 'succeed', '', 'b2s='],
          progresses: [['01', 'action', 'succeed', 'eyJvayI6MX0=']],
        },
      ],
    ],
    status: 'succeed',
    branches: ['succeed'],
    calls: [],
  },
  {
    name: 'workflow that failed',
    run: (ask, gid) => {
      const req_extra = { status: 'failed', rollback_reason: 'no stock' };
      return inTurn(ask, [
        ['prepareWorkflow', workflow(gid)],
        ['submit', workflow(gid, { req_extra })],
        ['abort', { gid, trans_type: 'workflow' }],
      ]);
    },
    answers: [
      ['success', '', { transaction: ['GID', 'prepared', '', ''], progresses: [] }],
      OK,
      ['failure', "trans type: 'workflow' current status 'failed', cannot abort. FAILURE"],
    ],
    status: 'failed',
    branches: [],
    calls: [],
  },
];

const REFUSALS: readonly Scenario[] = [
  {
    name: 'requests that are refused',
    run: (ask, gid) =>
      inTurn(ask, [
        ['abort', { gid, trans_type: 'tcc' }],
        ['registerBranch', tccBranch(gid, '01')],
        ['registerBranch', { ...tccBranch(gid, '01'), trans_type: 'saga' }],
        ['submit', workflow(gid, { req_extra: { status: 'succeed' } })],
        ['submit', saga(gid, { payloads: ['out'] })],
        ['submit', saga(gid, { custom_data: '{"orders":{"0":[7]}}' })],
        ['prepare', saga('')],
        ['prepare', saga(gid, { trans_type: 'sagas' })],
        ['submit', msg(gid, { steps: [{ action: 'topic://nobody' }] })],
      ]),
    answers: [
      ['error', 'no TransGlobal with gid: GID found'],
      ['failure', 'no trans with gid: GID status: prepared found FAILURE'],
      ['error', 'unknow trans type: saga'],
      ['error', 'storage: NotFound'],
      ['error', 'payloads must be one for each of 2 steps, got 1'],
      ['error', 'orders'],
      ['error', 'gid must not be empty'],
      ['error', 'trans_type'],
      ['error', 'topic not found'],
    ],
    status: undefined,
    branches: [],
    calls: [],
  },
];

/** Without what differs between any two transactions. */
function normalised(value: unknown, gid: string): unknown {
  const text = JSON.stringify(value)
    .replaceAll(gid, 'GID')
    .replaceAll(/127\.0\.0\.1:\d+\/busi\.Busi/g, 'BUSI')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, 'TIME');
  return JSON.parse(text) as unknown;
}

async function observe(scenario: Scenario, ask: Ask, nodeId: number): Promise<unknown> {
  const gid = freshGid('parity');
  scenario.script?.(gid);
  const answers = await scenario.run(ask, gid);
  const { status } = scenario;
  const view =
    status === undefined
      ? await on.client.query(gid, nodeId)
      : await until(`${gid} is ${status}`, 20_000, async () => {
          const found = await on.client.query(gid, nodeId);
          return found.transaction?.status === status ? found : undefined;
        });
  const requests = busi.callsOf(gid).map(({ name, type, path, message, metadata }) => ({
    name,
    type,
    path,
    message: message.toString('base64'),
    metadata: Object.fromEntries(
      Object.entries(metadata.getMap()).filter(([key]) => key !== 'user-agent'),
    ),
  }));
  return normalised({ answers, view, calls: busi.order(gid), requests }, gid);
}

describe.each([
  ['saga', SAGAS],
  ['tcc and xa', TWO_PHASES],
  ['msg', MESSAGES],
  ['workflow', WORKFLOWS],
  ['what is refused', REFUSALS],
] as const)('%s', (_name, scenarios) => {
  const named = scenarios.map((s) => [s.name, s] as const);
  it.concurrent.each(named)('%s: the same by gRPC and HTTP, on every node', async (_case, s) => {
    const runs = on.cluster.nodes.flatMap(({ id }) =>
      [byGrpc, byHttp].map((by) => observe(s, by(id), id)),
    );
    const [first, ...others] = (await Promise.all(runs)) as {
      answers: Answer[];
      view: { transaction: Body | null; branches: Body[] };
      calls: string[];
      requests: { message: string }[];
    }[];
    expect(first?.calls).toEqual(s.calls);
    if (s.messages !== undefined) {
      const messages = first?.requests.map(({ message }) => Buffer.from(message, 'base64'));
      expect(messages?.map(String)).toEqual(s.messages);
    }
    expect(first?.view.transaction?.['status']).toBe(s.status);
    expect(first?.view.branches.map(({ status }) => status)).toEqual(s.branches);
    expect(first?.answers).toEqual(
      s.answers.map(([kind, text, ...value]): unknown => [
        kind,
        kind === 'error' ? (expect.stringContaining(text) as string) : text,
        ...value,
      ]),
    );
    for (const other of others) expect(other).toEqual(first);
  });
});
