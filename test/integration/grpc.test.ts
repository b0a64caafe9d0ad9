// gRPC on a real cluster: what participants see, protocols mixed in one transaction, the services beside
// dtm's, bounds, and what a client notices when nodes stop or are killed.
// Source of every number: the dtm protocol reference.

import { status as Status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import { freshGid } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { GrpcClient, type GrpcReply, loadProto } from './lib/grpc-client.ts';
import { FAILED, GrpcParticipant } from './lib/grpc-participant.ts';
import { gate } from './lib/participant.ts';

const on = threeNodes('api: { bodyBytesMax: 1MiB, transactionBytesMax: 512KiB }');
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

interface StepUrls {
  readonly action: string;
  readonly compensate?: string;
}

function saga(gid: string, steps: readonly StepUrls[], options: object = {}): object {
  return {
    Gid: gid,
    TransType: 'saga',
    Steps: JSON.stringify(steps),
    BinPayloads: steps.map((_, at) => Buffer.from(`{"step":${at + 1}}`)),
    TransOptions: { WaitResult: true, ...options },
  };
}

function twoSteps(): readonly StepUrls[] {
  return [
    { action: busi.url('TransOut'), compensate: busi.url('TransOutRevert') },
    { action: busi.url('TransIn'), compensate: busi.url('TransInRevert') },
  ];
}

describe('what a participant sees', () => {
  it('3.4, 11.24: the bytes as they were given, the ids, branch headers, the deadline', async () => {
    const gid = freshGid('grpc');
    const bytes = Buffer.from([0, 8, 30, 255, 10, 128]);
    const options = { RequestTimeout: 2, BranchHeaders: { 'X-Tenant': '7', 'dtm-gid': 'no' } };
    const request = { ...saga(gid, twoSteps().slice(0, 1), options), BinPayloads: [bytes] };
    expect((await grpc.call('Submit', request)).code).toBe(Status.OK);
    const [call] = busi.callsOf(gid);
    expect(call?.path).toBe('/busi.Busi/TransOut');
    expect(call?.message).toEqual(bytes);
    expect(call?.metadata.getMap()).toMatchObject({
      'dtm-gid': gid,
      'dtm-trans_type': 'saga',
      'dtm-branch_id': '01',
      'dtm-op': 'action',
      'dtm-dtm': '',
      'x-tenant': '7',
    });
    expect(call?.deadlineMs).toBeGreaterThan(1_000);
    expect(call?.deadlineMs).toBeLessThanOrEqual(2_000);
  });

  it('3.4: a call that outlives request_timeout ends, and is made again', async () => {
    const gid = freshGid('grpc-slow');
    busi.on(gid, '01 action', { hang: true }, {});
    const options = { RequestTimeout: 1, RetryInterval: 1, WaitResult: false };
    expect((await grpc.call('Submit', saga(gid, twoSteps(), options))).code).toBe(Status.OK);
    await on.client.ended(gid, 'succeed');
    expect(busi.order(gid)).toEqual(['01 action', '01 action', '02 action']);
    await until('the first call is over', 5_000, async () =>
      Promise.resolve(busi.callsOf(gid)[0]?.cancelled() === true ? true : undefined),
    );
  });

  it('12.22: a client that gives up cancels nothing', async () => {
    const gid = freshGid('grpc-gone');
    const { opened, open } = gate();
    busi.on(gid, '01 action', { after: opened });
    const call = grpc.call('Submit', saga(gid, twoSteps()), { timeoutMs: 400 });
    const [seen] = await busi.called(gid, '01 action');
    expect((await call).code).toBe(Status.DEADLINE_EXCEEDED);
    expect(seen?.cancelled()).toBe(false);
    open();
    await on.client.ended(gid, 'succeed');
    expect(busi.order(gid)).toEqual(['01 action', '02 action']);
  });

  it('3.4: an address that cannot be reached delays nobody, and its transaction ends when it can', async () => {
    const [stuck, quick] = [freshGid('grpc-stuck'), freshGid('grpc-quick')];
    const nobody = [{ action: '127.0.0.1:9/busi.Busi/TransOut', compensate: '' }, ...twoSteps()];
    const waiting = grpc.call(
      'Submit',
      saga(stuck, nobody, { RetryInterval: 1, TimeoutToFail: 1 }),
    );
    expect((await grpc.call('Submit', saga(quick, twoSteps()))).code).toBe(Status.OK);
    expect((await waiting).code).toBe(Status.ABORTED);
    const ended = await on.client.ended(stuck, 'failed');
    expect(ended.rollback_reason).toBe('Timeout after 1 seconds');
  });
});

describe('workflow callbacks', () => {
  it('3.5, 5.10: a silent client is called with WorkflowData, its name and its gid', async () => {
    const gid = freshGid('grpc-wf');
    const start = {
      Gid: gid,
      TransType: 'workflow',
      QueryPrepared: busi.workflowUrl,
      CustomedData: JSON.stringify({
        name: 'buy a flight',
        data: Buffer.from('{"id":1}').toString('base64'),
      }),
      TransOptions: { RetryInterval: 1 },
    };
    expect((await grpc.call('PrepareWorkflow', start)).code).toBe(Status.OK);
    const [call] = await busi.called(gid, '00 buy a flight');
    expect(call?.type).toBe('workflow');
    const { Execute } = loadProto('workflow.proto')['workflow.Workflow'] as unknown as {
      Execute: { requestDeserialize: (bytes: Buffer) => { Data: Buffer } };
    };
    const message = Execute.requestDeserialize(call?.message ?? Buffer.alloc(0));
    expect(message.Data.toString()).toBe('{"id":1}');
    const end = { ReqExtra: { status: 'succeed', result: 'b2s=' } };
    expect((await grpc.call('Submit', { ...start, ...end })).code).toBe(Status.OK);
    // 12.2: every node tells the result.
    for (const { id } of on.cluster.nodes) {
      const { reply } = await grpc.call('PrepareWorkflow', start, { nodeId: id });
      expect(reply['Transaction']).toMatchObject({ Status: 'succeed', Result: 'b2s=' });
    }
  });
});

describe('protocols mixed in one transaction (4.1)', () => {
  it('a saga of gRPC calls http:// steps by HTTP, with the bytes as body', async () => {
    const gid = freshGid('mixed');
    const steps = [
      { action: busi.url('TransOut'), compensate: busi.url('TransOutRevert') },
      { action: on.participant.url(`${gid}-in`), compensate: on.participant.url(`${gid}-undo`) },
      { action: busi.url('TransIn'), compensate: '' },
    ];
    busi.on(gid, '03 action', FAILED);
    const reply = await grpc.call('Submit', saga(gid, steps));
    expect([reply.code, reply.message]).toEqual([
      Status.ABORTED,
      `url:${busi.url('TransIn')} return failed: no stock FAILURE`,
    ]);
    await on.client.ended(gid, 'failed');
    expect(busi.order(gid)).toEqual(['01 action', '03 action', '01 compensate']);
    expect(on.participant.order(gid)).toEqual([`${gid}-in`, `${gid}-undo`]);
    const [call] = on.participant.callsOf(`${gid}-in`);
    expect([call?.method, call?.body, call?.query.get('branch_id')]).toEqual([
      'POST',
      '{"step":2}',
      '02',
    ]);
  });

  it('a saga of JSON-RPC calls each step by what its URL says', async () => {
    const gid = freshGid('mixed');
    const answers = { body: '{"jsonrpc":"2.0","id":"1","result":null}' };
    const rpc = on.participant.on(`${gid}-rpc`, answers);
    const steps = [
      { action: `${rpc}?method=TransOut`, compensate: '' },
      { action: on.participant.url(`${gid}-http`), compensate: '' },
      { action: busi.url('TransIn'), compensate: '' },
    ];
    const payloads = steps.map((_, at) => `{"step":${at + 1}}`);
    const body = { gid, trans_type: 'saga', steps, payloads, protocol: 'json-rpc' };
    const reply = await on.client.post('submit', { ...body, wait_result: true });
    expect(reply.status).toBe(200);
    const [byRpc] = on.participant.callsOf(`${gid}-rpc`);
    expect(byRpc?.search).toBe('?method=TransOut');
    expect(JSON.parse(byRpc?.body ?? '')).toMatchObject({
      jsonrpc: '2.0',
      method: 'TransOut',
      params: { step: 1, gid, trans_type: 'saga', branch_id: '01', op: 'action' },
    });
    const [byHttp] = on.participant.callsOf(`${gid}-http`);
    expect([byHttp?.body, byHttp?.query.get('branch_id')]).toEqual(['{"step":2}', '02']);
    expect(busi.callsOf(gid).map(({ name, message }) => [name, message.toString()])).toEqual([
      ['03 action', '{"step":3}'],
    ]);
  });

  it('a tcc prepared by HTTP takes branches of gRPC, and ends by either', async () => {
    const gid = freshGid('mixed');
    const named = { gid, trans_type: 'tcc' };
    expect((await on.client.post('prepare', { ...named, wait_result: true })).status).toBe(200);
    const confirm = busi.url('TransOut');
    const branch = { Gid: gid, TransType: 'tcc', BranchID: '01', Data: { confirm } };
    expect((await grpc.call('RegisterBranch', branch)).code).toBe(Status.OK);
    const other = { branch_id: '02', confirm: on.participant.url(`${gid}-ok`), data: '{}' };
    expect((await on.client.post('registerBranch', { ...named, ...other })).status).toBe(200);
    const end = { Gid: gid, TransType: 'tcc', TransOptions: { WaitResult: true } };
    const reply = await grpc.call('Submit', end);
    expect([reply.code, reply.message]).toEqual([Status.OK, '']);
    expect(on.participant.order(gid)).toEqual([`${gid}-ok`]);
    expect(busi.order(gid)).toEqual(['01 confirm']);
  });
});

describe('topics (6)', () => {
  it('11.13, 12.10: subscribed over gRPC, a message fans out, and the topic goes at once', async () => {
    const topic = freshGid('grpc-topic');
    const change = async (method: string, url = ''): Promise<readonly unknown[]> => {
      const { code, message } = await grpc.call(method, { Topic: topic, URL: url, Remark: 'r' });
      return [code, message];
    };
    const publish = async (): Promise<GrpcReply & { readonly gid: string }> => {
      const gid = freshGid('grpc-fan');
      const request = {
        ...saga(gid, [{ action: `topic://${topic}` }]),
        TransType: 'msg',
      };
      return { ...(await grpc.call('Submit', request)), gid };
    };
    const [out, into] = [busi.url('TransOut'), on.participant.url(`${topic}-in`)];
    expect(await publish()).toMatchObject({ code: Status.INTERNAL, message: 'topic not found' });
    expect(await change('Subscribe', out)).toEqual([Status.OK, '']);
    expect(await change('Subscribe', into)).toEqual([Status.OK, '']);
    expect(await change('Subscribe', out)).toEqual([Status.UNKNOWN, 'this url exists']);
    const { code, gid } = await publish();
    expect(code).toBe(Status.OK);
    const { branches } = await on.client.query(gid);
    expect(branches.map(({ branch_id }) => branch_id)).toEqual(['01-01', '01-02']);
    expect(busi.order(gid)).toEqual(['01-01 action']);
    expect(on.participant.order(topic)).toEqual([`${topic}-in`]);
    expect(await change('Unsubscribe', into)).toEqual([Status.OK, '']);
    expect(await change('Unsubscribe', into)).toEqual([Status.UNKNOWN, 'no such an url ']);
    expect(await change('DeleteTopic')).toEqual([Status.OK, '']);
    expect(await change('DeleteTopic')).toEqual([Status.UNKNOWN, 'storage: NotFound']);
    expect(await publish()).toMatchObject({ code: Status.INTERNAL, message: 'topic not found' });
  });
});

describe('what is beside dtm’s service', () => {
  it('3.1: every node gives out gids and is healthy', async () => {
    for (const { id } of on.cluster.nodes) {
      const { reply } = await grpc.call('NewGid', {}, { nodeId: id });
      expect(reply['Gid']).toMatch(/^[2-9A-HJ-NP-Za-km-z]{22}$/);
      expect(await grpc.health(id)).toBe('SERVING');
      expect(await grpc.health(id, 'dtmgimp.Dtm')).toBe('SERVING');
    }
  });

  it('8: calls are counted by method', async () => {
    const text = await (await fetch(`${on.cluster.node(1).url}/api/metrics`)).text();
    expect(text).toMatch(/dtm_server_process_total\{type="grpc",api="newgid",status="ok"\} \d/);
  });

  it('a message above the bound is refused, and what it says is not stored', async () => {
    const gid = freshGid('grpc-large');
    const request = {
      ...saga(gid, twoSteps()),
      BinPayloads: [Buffer.alloc(2 << 20), Buffer.alloc(1)],
    };
    expect((await grpc.call('Submit', request)).code).toBe(Status.RESOURCE_EXHAUSTED);
    expect((await on.client.query(gid)).transaction).toBeNull();
  });
});

describe('nodes that go', () => {
  async function leaderAndOther(): Promise<readonly [leader: number, other: number]> {
    const leader = (await on.cluster.leader()).id;
    return [leader, 1 + (leader % 3)];
  }

  async function restart(id: number): Promise<void> {
    await on.cluster.start(id);
    await until(`node ${id} serves again`, 30_000, async () =>
      (await grpc.health(id)) === 'SERVING' ? true : undefined,
    );
  }

  it('a stopping leader ends the call it has, and refuses the next', async () => {
    const [leader] = await leaderAndOther();
    const gid = freshGid('grpc-stop');
    const { opened, open } = gate();
    busi.on(gid, '01 action', { after: opened });
    const call = grpc.call('Submit', saga(gid, twoSteps(), { RequestTimeout: 10 }), {
      nodeId: leader,
    });
    await busi.called(gid, '01 action');
    const stopped = on.cluster.stop(leader);
    await until('another node leads', 20_000, async () => {
      const now = await on.cluster.leader();
      return now.id === leader ? undefined : now;
    });
    open();
    const { code, message } = await call;
    expect([code, message]).toEqual([Status.OK, '']);
    await stopped;
    expect((await grpc.call('NewGid', {}, { nodeId: leader })).code).toBe(Status.UNAVAILABLE);
    await restart(leader);
  });

  it('a killed leader costs a client of another node time, and no answer', async () => {
    const [leader, other] = await leaderAndOther();
    const gids = Array.from({ length: 20 }, () => freshGid('grpc-kill'));
    const submit = async (gid: string): Promise<number> => {
      const reply = await grpc.call('Submit', saga(gid, twoSteps()), { nodeId: other });
      // P6, P7: what is unknown says so; the same request again gets the answer.
      const retryable = [Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE].includes(reply.code);
      return retryable ? submit(gid) : reply.code;
    };
    const running: Promise<number>[] = [];
    for (const [at, gid] of gids.entries()) {
      running.push(submit(gid));
      if (at === 9) {
        await busi.called(gids[0] ?? '', '01 action');
        on.cluster.signal(leader, 'SIGKILL');
      }
    }
    expect(await Promise.all(running)).toEqual(gids.map(() => Status.OK));
    for (const gid of gids) {
      // P5: at least once, in order, under the same ids.
      expect([...new Set(busi.order(gid))]).toEqual(['01 action', '02 action']);
      expect((await on.client.query(gid, other)).transaction?.status).toBe('succeed');
    }
    await restart(leader);
  });

  it('a client whose own node is killed repeats its request on another and gets its answer', async () => {
    const [leader, other] = await leaderAndOther();
    const gid = freshGid('grpc-own');
    const { opened, open } = gate();
    busi.on(gid, '02 action', { ...FAILED, after: opened });
    const request = saga(gid, twoSteps(), { RequestTimeout: 10, RetryInterval: 1 });
    const lost = grpc.call('Submit', request, { nodeId: leader });
    await busi.called(gid, '02 action');
    on.cluster.signal(leader, 'SIGKILL');
    expect([Status.UNAVAILABLE, Status.CANCELLED]).toContain((await lost).code);
    const again = grpc.call('Submit', request, { nodeId: other });
    await busi.called(gid, '02 action', 2);
    open();
    const reply = await again;
    expect([reply.code, reply.message]).toEqual([
      Status.ABORTED,
      `url:${busi.url('TransIn')} return failed: no stock FAILURE`,
    ]);
    await until(`${gid} is failed`, 20_000, async () => {
      const { transaction } = await on.client.query(gid, other);
      return transaction?.status === 'failed' ? transaction : undefined;
    });
    const compensated = busi.order(gid).filter((name) => name.endsWith('compensate'));
    expect([...new Set(compensated)]).toEqual(['02 compensate', '01 compensate']);
    await restart(leader);
  });
});
