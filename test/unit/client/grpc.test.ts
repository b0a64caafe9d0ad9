// The client over gRPC, against the definition in proto/ (dtm reference §3): messages, failover, and
// what the statuses mean.

import { status as Status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { GrpcChannels } from '../../../src/client/coordinator/grpc-channels.ts';
import { DtmClient, UsageError } from '../../../src/client/index.ts';
import { startGrpcService } from '../../helpers/grpc-service.ts';
import { EMPTY_REPLY, FakeGrpcDtm, type GrpcReply } from './lib/fake-grpc-dtm.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const QUICK = { attemptTimeoutMs: 300, totalTimeoutMs: 1_000, pauseMs: 5, pauseMsMax: 10 };

async function fakeDtm(respond?: FakeGrpcDtm['respond']): Promise<FakeGrpcDtm> {
  const fake = await FakeGrpcDtm.start(respond);
  closers.push(() => fake.stop());
  return fake;
}

async function deadAddress(): Promise<string> {
  const fake = await FakeGrpcDtm.start();
  const { address } = fake;
  fake.stop();
  return address;
}

function clientOf(endpoints: readonly string[], more = {}): DtmClient {
  const client = new DtmClient({ endpoints, protocol: 'grpc', ...QUICK, ...more });
  closers.push(() => client.close());
  return client;
}

function submit(endpoints: readonly string[], options = {}, signal?: AbortSignal): Promise<void> {
  const saga = clientOf(endpoints).saga({ gid: 'g1', ...options });
  saga.add({ action: 'svc:1/a.B/Do', compensate: 'svc:1/a.B/Undo', payload: { amount: 30 } });
  return saga.submit(signal === undefined ? {} : { signal });
}

const always = (reply: GrpcReply) => () => reply;
const failing = (code: Status, details = 'no', assentCode?: string): GrpcReply => ({
  kind: 'status',
  code,
  details,
  ...(assentCode === undefined ? {} : { assentCode }),
});

describe('messages', () => {
  it('a saga is one Submit with steps, payloads and options', async () => {
    const dtm = await fakeDtm();
    await clientOf([dtm.address], { headers: { 'x-api-key': 'k' } })
      .saga({
        gid: 'pay-7',
        concurrent: true,
        waitResult: true,
        timeoutToFailSeconds: 3_000_000_000,
        requestTimeoutSeconds: 5,
        retryIntervalSeconds: 10,
        retryLimit: 3,
        branchHeaders: { 'x-tenant': '7', empty: '' },
      })
      .add({ action: 'svc:1/a.B/Do', compensate: 'svc:1/a.B/Undo', payload: Uint8Array.of(0xff) })
      .add({ action: 'svc:1/a.B/Do', payload: new Uint8Array() })
      .runAfter(1, [0])
      .submit();
    const { message, metadata } = dtm.one('Submit');
    expect(message).toEqual({
      Gid: 'pay-7',
      TransType: 'saga',
      TransOptions: {
        WaitResult: true,
        TimeoutToFail: 3_000_000_000,
        RetryInterval: 10,
        BranchHeaders: { 'x-tenant': '7', empty: '' },
        RequestTimeout: 5,
        RetryLimit: 3,
      },
      CustomedData: '{"concurrent":true,"orders":{"1":[0]}}',
      BinPayloads: [Buffer.of(0xff), Buffer.alloc(0)],
      QueryPrepared: '',
      Steps:
        '[{"action":"svc:1/a.B/Do","compensate":"svc:1/a.B/Undo"},{"action":"svc:1/a.B/Do","compensate":""}]',
      ReqExtra: {},
      RollbackReason: '',
    });
    expect(metadata.get('x-api-key')).toEqual(['k']);
  });

  it('a tcc prepares, registers and, where a try fails, aborts with the reason', async () => {
    const dtm = await fakeDtm();
    const branch = { try: '', confirm: 'svc:1/a.B/Confirm', cancel: 'svc:1/a.B/Cancel' };
    const run = clientOf([dtm.address]).tcc(
      async (tcc) => {
        await tcc.callBranch({ ...branch, payload: Uint8Array.of(1, 2) });
        throw new Error('changed my mind');
      },
      { gid: 't1' },
    );
    await expect(run).rejects.toThrow('changed my mind');
    expect(dtm.methods).toEqual(['Prepare', 'RegisterBranch', 'Abort']);
    expect(dtm.one('RegisterBranch').message).toMatchObject({
      Gid: 't1',
      TransType: 'tcc',
      BranchID: '01',
      Data: { confirm: 'svc:1/a.B/Confirm', cancel: 'svc:1/a.B/Cancel' },
      BusiPayload: Buffer.of(1, 2),
    });
    expect(dtm.one('Abort').message).toMatchObject({
      Gid: 't1',
      TransType: 'tcc',
      RollbackReason: 'changed my mind',
    });
  });

  it('topics and gids have their methods', async () => {
    const dtm = await fakeDtm(({ method }) =>
      method === 'NewGid' ? { kind: 'reply', message: { Gid: 'fresh' } } : EMPTY_REPLY,
    );
    const client = clientOf([dtm.address]);
    expect(await client.newGid()).toBe('fresh');
    await client.subscribe({ topic: 't', url: 'u', remark: 'r' });
    await client.unsubscribe({ topic: 't', url: 'u' });
    await client.deleteTopic('t');
    expect(dtm.received.slice(1).map(({ method, message }) => [method, message])).toEqual([
      ['Subscribe', { Topic: 't', URL: 'u', Remark: 'r' }],
      ['Unsubscribe', { Topic: 't', URL: 'u', Remark: '' }],
      ['DeleteTopic', { Topic: 't', URL: '', Remark: '' }],
    ]);
  });

  it('what gRPC cannot say is refused before anything is sent', async () => {
    const client = clientOf(['127.0.0.1:1']);
    expect(() => client.msg({ concurrent: true })).toThrow('cannot be expressed over gRPC');
    await expect(client.queryStatus('g')).rejects.toMatchObject({ code: 'USAGE', outcome: 'none' });
    for (const timeoutToFailSeconds of [1.5, -1, Number.NaN, 2 ** 60]) {
      expect(() => client.saga({ timeoutToFailSeconds })).toThrow(UsageError);
    }
  });
});

describe('channels', () => {
  it('are bounded, and a call on one that is closed meanwhile still ends', async () => {
    let answer: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow = await startGrpcService(
      (_, reply) => {
        answer();
        release.then(
          () => reply(null, Buffer.from('late')),
          () => undefined,
        );
      },
      { paths: ['/a.B/Try'] },
    );
    closers.push(() => slow.close());
    let open: () => void = () => undefined;
    const release = new Promise<void>((resolve) => {
      open = resolve;
    });
    const channels = new GrpcChannels();
    closers.push(() => channels.close());
    const message = new Uint8Array();
    const running = channels.call({ target: slow.address, method: '/a.B/Try', message });
    await asked;
    const others = Array.from({ length: 300 }, (_, at) =>
      channels.call({ target: `127.1.${at >> 8}.${at & 255}:1`, method: '/a.B/Try', message }),
    );
    for (const other of await Promise.all(others)) {
      expect(other).toMatchObject({ kind: 'status', code: Status.UNAVAILABLE });
    }
    expect(channels.count).toBe(256);
    open();
    expect(await running).toEqual({ kind: 'ok', message: Buffer.from('late') });
  });
});

describe('failover', () => {
  it('asks the next endpoint, with the same request, when one refuses connections', async () => {
    const alive = await fakeDtm();
    await submit([await deadAddress(), alive.address]);
    expect(alive.one('Submit').message['Gid']).toBe('g1');
  });

  it.each([
    ['an election', failing(Status.UNAVAILABLE, 'wait', 'NO_LEADER')],
    ['an unknown outcome', failing(Status.DEADLINE_EXCEEDED, 'late', 'OUTCOME_UNKNOWN')],
    ['no answer', { kind: 'silence' }],
  ] as const)('asks the next endpoint after %s', async (_, reply) => {
    const first = await fakeDtm(always(reply));
    const second = await fakeDtm();
    await submit([first.address, second.address]);
    expect(second.one('Submit').bytes).toEqual(first.one('Submit').bytes);
  });

  it.each([
    [
      failing(Status.ABORTED, 'poor FAILURE'),
      { code: 'REFUSED', outcome: 'none', message: 'poor' },
    ],
    [failing(Status.FAILED_PRECONDITION, 'ONGOING'), { code: 'ONGOING', outcome: 'unknown' }],
    [failing(Status.INTERNAL), { code: 'COORDINATOR', outcome: 'unknown', status: 13 }],
    [failing(Status.INTERNAL, 'bad', 'INVALID_REQUEST'), { code: 'COORDINATOR', outcome: 'none' }],
    [failing(Status.RESOURCE_EXHAUSTED), { code: 'COORDINATOR', outcome: 'unknown' }],
    [
      failing(Status.RESOURCE_EXHAUSTED, 'long', 'BODY_TOO_LARGE'),
      { code: 'COORDINATOR', outcome: 'none' },
    ],
    [failing(Status.UNIMPLEMENTED), { code: 'COORDINATOR', outcome: 'none' }],
  ])('never asks another endpoint after %o', async (reply, error) => {
    const first = await fakeDtm(always(reply));
    const second = await fakeDtm();
    await expect(submit([first.address, second.address])).rejects.toMatchObject(error);
    expect(second.received).toEqual([]);
  });

  it('says outcome none when nothing was sent or carried out anywhere', async () => {
    const electing = await fakeDtm(always(failing(Status.UNAVAILABLE, 'wait', 'NO_LEADER')));
    const run = submit([await deadAddress(), electing.address]);
    await expect(run).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
  });

  it('says outcome unknown once an attempt may have been carried out', async () => {
    const silent = await fakeDtm(always({ kind: 'silence' }));
    const run = submit([silent.address, await deadAddress()]);
    await expect(run).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' });
  });

  it.each([
    failing(Status.ABORTED, 'no FAILURE'),
    failing(Status.UNIMPLEMENTED),
    failing(Status.INTERNAL, 'bad', 'INVALID_REQUEST'),
  ])('an attempt of unknown outcome is not undone by a later %o', async (reply) => {
    const first = await fakeDtm(always(failing(Status.UNAVAILABLE, 'the connection was lost')));
    const second = await fakeDtm(always(reply));
    const run = submit([first.address, second.address]);
    await expect(run).rejects.toMatchObject({ outcome: 'unknown' });
  });

  it('gives up at once when the caller does', async () => {
    const controller = new AbortController();
    const silent = await fakeDtm(() => {
      controller.abort();
      return { kind: 'silence' };
    });
    const run = submit([silent.address], {}, controller.signal);
    await expect(run).rejects.toMatchObject({ name: 'AbortError', outcome: 'unknown' });
    const early = submit([silent.address], {}, AbortSignal.abort());
    await expect(early).rejects.toMatchObject({ code: 'CANCELLED', outcome: 'none' });
  });
});
