// The gRPC API over a coordinator that answers as told, spoken to by a real client: the dtm reference §3.

import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  type ChannelOptions,
  Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js';
import {
  loadFileDescriptorSetFromBuffer,
  loadSync,
  type PackageDefinition,
} from '@grpc/proto-loader';
import { afterEach, describe, expect, it } from 'vitest';
import type { OperationOutcome, WaitOutcome } from '../../../../src/engine/operations/index.ts';
import { createGrpcServer, type GrpcServer } from '../../../../src/server/grpc/index.ts';
import { Health } from '../../../../src/server/health.ts';
import { Metrics } from '../../../../src/server/metrics.ts';
import { ERROR_CODES } from '../../../../src/server/requests/index.ts';
import {
  applied,
  configWith,
  FakeCoordinator,
  RecordingLog,
  raftStatus,
  statusSource,
  transaction,
} from '../fakes.ts';

const proto = (file: string): PackageDefinition =>
  loadSync(fileURLToPath(new URL(`../../../../proto/${file}`, import.meta.url)), {
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
const DTM = proto('dtmgimp.proto');

const clients: Client[] = [];
const servers: GrpcServer[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

interface Outcome {
  readonly code: number;
  readonly message: string;
  readonly metadata: Metadata;
  readonly reply: unknown;
}

async function fixture(
  options: { readonly flags?: Record<string, string>; readonly open?: boolean } = {},
) {
  const coordinator = new FakeCoordinator();
  let leaderMissingMs = 0;
  const source = statusSource({
    leaderMissingMs: () => leaderMissingMs,
    raft: () => raftStatus(),
  });
  const metrics = new Metrics('v0');
  const health = new Health(source, 1_000);
  const log = new RecordingLog();
  const server = createGrpcServer(configWith(options.flags ?? {}), {
    coordinator: () => (options.open === false ? undefined : coordinator),
    health,
    metrics,
    log,
  });
  servers.push(server);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const client = (channel: ChannelOptions = {}): Client => {
    const made = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      ...channel,
    });
    clients.push(made);
    return made;
  };
  const shared = client();
  const call = (
    method: string,
    request: object = {},
    from: { readonly client?: Client; readonly deadlineMs?: number } = {},
  ): Promise<Outcome> =>
    unary(from.client ?? shared, methodOf(DTM, 'dtmgimp.Dtm', method), request, from.deadlineMs);
  const loseLeader = (): void => {
    leaderMissingMs = 60_000;
  };
  return { coordinator, metrics, health, log, server, port, client, shared, call, loseLeader };
}

interface TestMethod {
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

function methodOf(definition: PackageDefinition, service: string, name: string): TestMethod {
  return (definition[service] as unknown as Record<string, TestMethod>)[name]!;
}

function unary(
  client: Client,
  { path, requestSerialize, responseDeserialize }: TestMethod,
  request: object,
  deadlineMs?: number,
): Promise<Outcome> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
      (error: ServiceError | null, reply: unknown) => {
        resolve(
          error === null
            ? { code: Status.OK, message: '', metadata: new Metadata(), reply }
            : { code: error.code, message: error.details, metadata: error.metadata, reply },
        );
      },
    );
  });
}

function saga(changes: object = {}): object {
  return {
    Gid: 'pay-7',
    TransType: 'saga',
    Steps: '[{"action":"a:80/busi.Busi/Out","compensate":"a:80/busi.Busi/OutUndo"}]',
    BinPayloads: [Buffer.from([8, 30, 255])],
    ...changes,
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

describe('the methods (dtm reference 3.1, 3.2)', () => {
  it('3.1 NewGid answers 22 letters and digits, also while the engine starts', async () => {
    const { call } = await fixture({ open: false });
    expect(await call('NewGid')).toMatchObject({
      code: Status.OK,
      reply: { Gid: expect.stringMatching(/^[2-9A-HJ-NP-Za-km-z]{22}$/) as unknown },
    });
  });

  it.each(['Submit', 'Prepare'])(
    '3.2 %s carries a transaction as it is over HTTP',
    async (name) => {
      const { call, coordinator } = await fixture();
      const outcome = await call(
        name,
        saga({
          CustomedData: '{"concurrent":true}',
          TransOptions: {
            TimeoutToFail: 60,
            RetryInterval: 11,
            BranchHeaders: { 'x-tenant': '7' },
            RequestTimeout: 5,
            RetryLimit: 2,
          },
        }),
      );
      expect(outcome.code).toBe(Status.OK);
      expect(coordinator.requests).toHaveLength(1);
      expect(coordinator.requests[0]).toMatchObject({
        kind: name.toLowerCase(),
        transaction: {
          gid: 'pay-7',
          type: 'saga',
          protocol: 'grpc',
          steps: [{ action: 'a:80/busi.Busi/Out', compensate: 'a:80/busi.Busi/OutUndo' }],
          payloads: [Buffer.from([8, 30, 255])],
          customData: '{"concurrent":true}',
          options: {
            timeoutToFailS: 60,
            retryIntervalS: 11,
            branchHeaders: { 'x-tenant': '7' },
            requestTimeoutS: 5,
            retryLimit: 2,
          },
        },
      });
    },
  );

  it.each(['', 'null'])('3.2 Steps "%s" means none', async (steps) => {
    const { call, coordinator } = await fixture();
    const request = { Gid: 't1', TransType: 'tcc', Steps: steps };
    expect((await call('Prepare', request)).code).toBe(Status.OK);
    expect(coordinator.requests[0]).toMatchObject({ transaction: { steps: undefined } });
  });

  it('3.2 the gid is not cleaned: what HTTP would delete is kept or refused', async () => {
    const { call, coordinator } = await fixture();
    await call('Prepare', { Gid: 'a;b', TransType: 'tcc' });
    expect(coordinator.requests[0]).toMatchObject({ transaction: { gid: 'a;b' } });
    expect((await call('Prepare', { Gid: 'a\nb', TransType: 'tcc' })).code).toBe(Status.INTERNAL);
  });

  it('3.2 field 4 of the options, which old clients send, is ignored', async () => {
    const { shared, coordinator } = await fixture();
    const text = (tag: number, value: Buffer | string): Buffer => {
      const bytes = Buffer.from(value);
      return Buffer.concat([Buffer.from([tag, bytes.length]), bytes]);
    };
    // TransOptions { PassthroughHeaders: ["x"], RetryLimit: 3 }
    const options = Buffer.concat([text(0x22, 'x'), Buffer.from([0x38, 3])]);
    const message = Buffer.concat([text(0x0a, 't1'), text(0x12, 'tcc'), text(0x1a, options)]);
    const same = (bytes: Buffer): Buffer => bytes;
    await new Promise<void>((resolve, reject) => {
      shared.makeUnaryRequest('/dtmgimp.Dtm/Prepare', same, same, message, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    expect(coordinator.requests[0]).toMatchObject({ transaction: { options: { retryLimit: 3 } } });
  });

  it('3.2 Abort names the transaction, its type and the reason', async () => {
    const { call, coordinator } = await fixture();
    await call('Abort', { Gid: 't1', TransType: 'tcc', RollbackReason: 'stock gone' });
    expect(coordinator.requests[0]).toMatchObject({
      kind: 'abort',
      gid: 't1',
      type: 'tcc',
      rollbackReason: 'stock gone',
    });
  });

  it('3.2 RegisterBranch takes its URLs from Data and its payload from BusiPayload', async () => {
    const { call, coordinator } = await fixture();
    await call('RegisterBranch', {
      Gid: 't1',
      TransType: 'tcc',
      BranchID: '01',
      Op: 'unused',
      Data: { confirm: 'a:80/S/Ok', cancel: 'a:80/S/Undo' },
      BusiPayload: Buffer.from([1, 0, 255]),
    });
    await call('RegisterBranch', {
      Gid: 'w1',
      TransType: 'workflow',
      BranchID: '02',
      Data: { op: 'action', status: 'failed', sync: '1' },
      BusiPayload: Buffer.from('no stock'),
    });
    expect(coordinator.requests).toEqual([
      {
        kind: 'registerBranch',
        gid: 't1',
        branchId: '01',
        registration: { kind: 'tcc', confirm: 'a:80/S/Ok', cancel: 'a:80/S/Undo' },
        payload: Buffer.from([1, 0, 255]),
      },
      {
        kind: 'registerBranch',
        gid: 'w1',
        branchId: '02',
        registration: { kind: 'workflow', op: 'action', status: 'failed' },
        payload: Buffer.from('no stock'),
      },
    ]);
  });

  it('3.2 ReqExtra of a workflow submit says how the run ended', async () => {
    const { call, coordinator } = await fixture();
    const extra = { status: 'succeed', result: 'b2s=', rollback_reason: '' };
    await call('Submit', { Gid: 'w1', TransType: 'workflow', ReqExtra: extra });
    expect(coordinator.requests[0]).toMatchObject({
      transaction: { workflowEnd: { status: 'succeed', result: 'b2s=', rollbackReason: '' } },
    });
  });

  it('12.2 PrepareWorkflow fills the result, and the bytes of every step', async () => {
    const { call, coordinator } = await fixture();
    const base = transaction();
    const stored = {
      definition: {
        ...base.definition,
        gid: 'w1',
        type: 'workflow' as const,
        branches: [{ branchId: '01', op: 'action' as const, url: '', payload: 0 }],
        payloads: [Buffer.from([0, 255])],
      },
      state: {
        ...base.state,
        gid: 'w1',
        type: 'workflow' as const,
        result: 'b2s=',
        branches: base.state.branches.slice(1),
      },
    };
    coordinator.stored = { kind: 'value', value: stored };
    const { code, reply } = await call('PrepareWorkflow', {
      Gid: 'w1',
      TransType: 'workflow',
      QueryPrepared: 'a:80/workflow.Workflow/Execute',
      CustomedData: '{"name":"buy","data":"eyJpZCI6MX0="}',
    });
    expect(code).toBe(Status.OK);
    expect(reply).toEqual({
      Transaction: { Gid: 'w1', Status: 'succeed', RollbackReason: '', Result: 'b2s=' },
      Progresses: [
        { Status: 'succeed', BinData: Buffer.from([0, 255]), BranchID: '01', Op: 'action' },
      ],
    });
    expect(coordinator.requests[0]?.kind).toBe('prepareWorkflow');
  });

  it('3.1 topics: Subscribe, Unsubscribe, DeleteTopic', async () => {
    const { call, coordinator } = await fixture();
    await call('Subscribe', { Topic: 't', URL: 'a:80/S/M', Remark: 'r' });
    await call('Unsubscribe', { Topic: 't', URL: 'a:80/S/M' });
    await call('DeleteTopic', { Topic: 't' });
    expect(coordinator.requests).toEqual([
      { kind: 'subscribe', topic: 't', url: 'a:80/S/M', remark: 'r' },
      { kind: 'unsubscribe', topic: 't', url: 'a:80/S/M' },
      { kind: 'deleteTopic', topic: 't' },
    ]);
  });
});

describe('the status codes (dtm reference 3.3)', () => {
  const refused = (
    code: 'NO_LEADER' | 'OVERLOADED' | 'NO_SPACE' | 'RECOVERING',
  ): OperationOutcome => ({
    kind: 'refused',
    code,
    message: 'not now',
    retryAfterMs: 1_500,
  });

  it.each([
    ['a failure', applied({ kind: 'failure', message: 'x FAILURE' }), Status.ABORTED, 'x FAILURE'],
    ['a dtm error', applied({ kind: 'error', message: 'no trans' }), Status.INTERNAL, 'no trans'],
    ['no leader', refused('NO_LEADER'), Status.UNAVAILABLE, 'not now'],
    ['overload', refused('OVERLOADED'), Status.UNAVAILABLE, 'not now'],
    ['no space', refused('NO_SPACE'), Status.UNAVAILABLE, 'not now'],
    ['a damaged node', refused('RECOVERING'), Status.UNAVAILABLE, 'not now'],
    [
      'an unknown outcome',
      { kind: 'unknown', message: 'the leader went' } as const,
      Status.DEADLINE_EXCEEDED,
      'outcome unknown, query gid pay-7: the leader went',
    ],
  ])('3.3 %s', async (_name, outcome, code, message) => {
    const { call, coordinator } = await fixture();
    coordinator.outcome = outcome;
    expect(await call('Submit', saga())).toMatchObject({ code, message });
  });

  it('3.3 a refusal says its code and when to come back', async () => {
    const { call, coordinator } = await fixture();
    coordinator.outcome = refused('NO_LEADER');
    const { metadata } = await call('Submit', saga());
    expect(metadata.get('assent-code')).toEqual(['NO_LEADER']);
    expect(metadata.get('retry-after-ms')).toEqual(['1500']);
  });

  it('3.3, 12.11 errors of topics and registerBranch are Unknown, others and those of workflows Internal', async () => {
    const { call, coordinator } = await fixture();
    coordinator.outcome = applied({ kind: 'error', message: 'this url exists' });
    const topic = { Topic: 't', URL: 'a:80/S/M' };
    expect((await call('Subscribe', topic)).code).toBe(Status.UNKNOWN);
    expect((await call('Unsubscribe', { Topic: 't' })).code).toBe(Status.UNKNOWN);
    expect((await call('DeleteTopic', topic)).code).toBe(Status.UNKNOWN);
    const branch = { Gid: 'g', TransType: 'saga', BranchID: '01' };
    expect(await call('RegisterBranch', branch)).toMatchObject({
      code: Status.UNKNOWN,
      message: 'unknow trans type: saga',
    });
    // 12.11: the first record of a step stands, and its client must not take that for a failure.
    coordinator.outcome = applied({ kind: 'error', message: 'on record with another result' });
    const step = { Gid: 'g', TransType: 'workflow', BranchID: '01' };
    const Data = { op: 'action', status: 'succeed' };
    expect((await call('RegisterBranch', { ...step, Data })).code).toBe(Status.INTERNAL);
    expect((await call('Submit', saga({ Steps: '[{' }))).code).toBe(Status.INTERNAL);
    expect((await call('Submit', saga({ TransType: 'nope' }))).code).toBe(Status.INTERNAL);
    expect((await call('Submit', saga({ BinPayloads: [] }))).code).toBe(Status.INTERNAL);
  });

  it.each<[WaitOutcome, Status]>([
    [{ kind: 'final', transaction: transaction() }, Status.OK],
    [
      {
        kind: 'final',
        transaction: transaction({ status: 'failed', rollbackReason: 'stock gone' }),
      },
      Status.ABORTED,
    ],
    [{ kind: 'unknown', message: 'no leader' }, Status.DEADLINE_EXCEEDED],
  ])('3.3, 5.4 a waited-for submit is answered by how it ended', async (wait, code) => {
    const { call, coordinator } = await fixture();
    coordinator.wait = wait;
    expect((await call('Submit', saga({ TransOptions: { WaitResult: true } }))).code).toBe(code);
    expect(coordinator.waits).toEqual(['pay-7']);
  });

  it('3.3 no error of the catalogue is an answer about a transaction (P7)', () => {
    for (const { grpc } of Object.values(ERROR_CODES)) {
      expect([Status.ABORTED, Status.FAILED_PRECONDITION]).not.toContain(grpc);
    }
  });

  it('3.3 while the engine starts, or the node stops, the answer is Unavailable', async () => {
    const { call, health } = await fixture({ open: false });
    const starting = await call('Submit', saga());
    expect(starting.code).toBe(Status.UNAVAILABLE);
    expect(starting.metadata.get('assent-code')).toEqual(['STARTING']);
    health.drain();
    expect((await call('Submit', saga())).metadata.get('assent-code')).toEqual(['DRAINING']);
  });

  it('3.3 a method that dtm does not have is Unimplemented', async () => {
    const { shared } = await fixture();
    const same = (bytes: Buffer): Buffer => bytes;
    const code = await new Promise((resolve) => {
      shared.makeUnaryRequest('/dtmgimp.Dtm/Query', same, same, Buffer.alloc(0), (error) =>
        resolve(error?.code),
      );
    });
    expect(code).toBe(Status.UNIMPLEMENTED);
  });

  it('a defect is Internal, logged, and tells nothing', async () => {
    const { call, coordinator, log } = await fixture();
    coordinator.outcome = () => Promise.reject(new Error('secret'));
    expect(await call('Submit', saga())).toMatchObject({
      code: Status.INTERNAL,
      message: 'internal error',
    });
    expect(log.records[0]?.fields['err']).toMatchObject({ message: 'secret' });
  });

  it('a long message is cut so that every client can take it', async () => {
    const { call, coordinator } = await fixture();
    coordinator.outcome = applied({ kind: 'failure', message: `${'ü'.repeat(60_000)} FAILURE` });
    const { code, message } = await call('Submit', saga());
    expect(code).toBe(Status.ABORTED);
    expect(message).toBe('ü'.repeat(1_000));
  });
});

describe('bounds', () => {
  it('12.22 the caller may go: what it asked for is carried on', async () => {
    const { call, coordinator } = await fixture();
    let finish: () => void = () => undefined;
    let finished = false;
    coordinator.outcome = () =>
      new Promise((resolve) => {
        finish = () => {
          finished = true;
          resolve(applied());
        };
      });
    coordinator.wait = { kind: 'final', transaction: transaction() };
    const request = saga({ TransOptions: { WaitResult: true } });
    const outcome = await call('Submit', request, { deadlineMs: 50 });
    expect(outcome.code).toBe(Status.DEADLINE_EXCEEDED);
    expect(finished).toBe(false);
    finish();
    await until(() => coordinator.waits.length === 1);
  });

  it('12.33 what cannot travel as metadata is refused at submit', async () => {
    const { call, coordinator } = await fixture();
    expect((await call('Submit', saga({ Gid: 'zahlung-ü' }))).code).toBe(Status.INTERNAL);
    const headers = { BranchHeaders: { 'x-name': 'Grün' } };
    expect((await call('Submit', saga({ TransOptions: headers }))).code).toBe(Status.INTERNAL);
    expect(coordinator.requests).toEqual([]);
  });

  it('a header called __proto__ is refused', async () => {
    const { shared, coordinator } = await fixture();
    const text = (tag: number, value: Buffer | string): Buffer => {
      const bytes = Buffer.from(value);
      return Buffer.concat([Buffer.from([tag, bytes.length]), bytes]);
    };
    const header = Buffer.concat([text(0x0a, '__proto__'), text(0x12, 'x')]);
    const message = Buffer.concat([
      text(0x0a, 't1'),
      text(0x12, 'tcc'),
      text(0x1a, text(0x2a, header)),
    ]);
    const same = (bytes: Buffer): Buffer => bytes;
    const code = await new Promise((resolve) => {
      shared.makeUnaryRequest('/dtmgimp.Dtm/Prepare', same, same, message, (error) =>
        resolve(error?.code),
      );
    });
    expect(code).toBe(Status.INTERNAL);
    expect(coordinator.requests).toEqual([]);
  });

  it('a message that is too large is ResourceExhausted', async () => {
    const { call, coordinator } = await fixture({
      flags: { 'api.bodyBytesMax': '4096', 'api.transactionBytesMax': '2048' },
    });
    const large = saga({ BinPayloads: [Buffer.alloc(5_000)] });
    expect((await call('Submit', large)).code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(coordinator.requests).toEqual([]);
  });

  it('a message of millions of empty fields is refused before it is decoded (P8)', async () => {
    const { shared, coordinator } = await fixture();
    const send = (bytes: Buffer): Promise<Outcome> => {
      const { path, responseDeserialize } = methodOf(DTM, 'dtmgimp.Dtm', 'Submit');
      return unary(shared, { path, requestSerialize: () => bytes, responseDeserialize }, {});
    };
    const field = (number: number, bytes: Buffer): Buffer => {
      const head = [(number << 3) | 2];
      let rest = bytes.length;
      for (; rest > 0x7f; rest >>= 7) head.push((rest & 0x7f) | 0x80);
      return Buffer.concat([Buffer.from([...head, rest]), bytes]);
    };
    const empty = (number: number, count: number): Buffer =>
      Buffer.alloc(2 * count, Buffer.from([(number << 3) | 2, 0]));
    for (const bytes of [
      empty(5, 1_000_000),
      empty(8, 1_000_000),
      field(3, empty(5, 1_000_000)),
      Buffer.alloc(1_000_000, Buffer.from([0x28, 1])),
    ]) {
      const { code, message } = await send(bytes);
      expect(code).toBe(Status.INTERNAL);
      expect(message).toBe('the message has more than 20000 fields');
    }
    expect(coordinator.requests).toHaveLength(0);
    expect((await send(empty(5, 10_000))).message).toBe('gid must not be empty');
    // A long text is no message, whatever its bytes look like.
    expect((await send(field(4, empty(5, 1_000_000)))).message).toBe('gid must not be empty');
  });

  it('calls beyond the bound are refused; an abort still has room', async () => {
    const { call, coordinator, server } = await fixture({
      flags: { 'api.inflightRequestsMax': '2' },
    });
    const waiting: (() => void)[] = [];
    coordinator.outcome = () =>
      new Promise((resolve) => {
        waiting.push(() => resolve(applied()));
      });
    const calls = [call('Submit', saga()), call('Submit', saga())];
    await until(() => waiting.length === 2);
    const refused = await call('Submit', saga());
    expect(refused.code).toBe(Status.UNAVAILABLE);
    expect(refused.metadata.get('assent-code')).toEqual(['OVERLOADED']);
    const abort = call('Abort', { Gid: 't1', TransType: 'tcc' });
    await until(() => waiting.length === 3);
    const drained = server.drain(5_000);
    while (waiting.length > 0) waiting.shift()?.();
    expect(await drained).toBe(0);
    expect((await Promise.all([...calls, abort])).map(({ code }) => code)).toEqual([0, 0, 0]);
  });

  it('connections beyond the bound are closed', async () => {
    const { port, shared, call } = await fixture({ flags: { 'api.connectionsMax': '1' } });
    expect((await call('NewGid', {}, { client: shared })).code).toBe(Status.OK);
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('close', resolve));
  });

  it('a draining server takes no new connection, and closing ends streams that never end', async () => {
    const { server, client, port } = await fixture();
    const watcher = client();
    const stream = watcher.makeServerStreamRequest(
      '/grpc.health.v1.Health/Watch',
      (message: Buffer) => message,
      (message: Buffer) => message,
      Buffer.alloc(0),
    );
    stream.on('error', () => undefined);
    await new Promise((resolve) => stream.once('data', resolve));
    expect(await server.drain(100)).toBe(0);
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('error', resolve));
    const ended = new Promise((resolve) => stream.once('status', resolve));
    await server.close();
    await ended;
  });
});

describe('what is beside the service', () => {
  const HEALTH = proto('health.proto');

  it('3.1 health mirrors readyz and livez', async () => {
    const { shared, loseLeader, health } = await fixture();
    const check = async (service: string): Promise<unknown> => {
      const name = 'grpc.health.v1.Health';
      const { code, reply } = await unary(shared, methodOf(HEALTH, name, 'Check'), { service });
      return code === 0 ? (reply as { status: string }).status : code;
    };
    expect(await check('')).toBe('SERVING');
    expect(await check('dtmgimp.Dtm')).toBe('SERVING');
    expect(await check('nobody')).toBe(Status.NOT_FOUND);
    loseLeader();
    expect(await check('')).toBe('NOT_SERVING');
    health.drain();
    expect(await check('dtmgimp.Dtm')).toBe('NOT_SERVING');
    expect(await check('liveness')).toBe('SERVING');
  });

  it('3.1 those who watch are told of a change', async () => {
    const { shared, health } = await fixture();
    const { Watch } = HEALTH['grpc.health.v1.Health'] as unknown as {
      Watch: {
        path: string;
        requestSerialize: (message: object) => Buffer;
        responseDeserialize: (bytes: Buffer) => { status: string };
      };
    };
    const stream = shared.makeServerStreamRequest(
      Watch.path,
      Watch.requestSerialize,
      Watch.responseDeserialize,
      { service: '' },
    );
    const seen: string[] = [];
    stream.on('data', ({ status }: { status: string }) => seen.push(status));
    stream.on('error', () => undefined);
    await until(() => seen.length === 1);
    health.drain();
    await until(() => seen.length === 2);
    expect(seen).toEqual(['SERVING', 'NOT_SERVING']);
    stream.cancel();
  });

  interface Reflected {
    readonly list_services_response?: { service: { name: string }[] };
    readonly file_descriptor_response?: { file_descriptor_proto: Buffer[] };
    readonly error_response?: { error_code: number };
  }

  async function reflect(client: Client, requests: readonly object[]): Promise<Reflected[]> {
    const name = 'grpc.reflection.v1alpha.ServerReflection';
    const { ServerReflectionInfo: method } = proto('reflection.proto')[name] as unknown as {
      ServerReflectionInfo: {
        path: string;
        requestSerialize: (message: object) => Buffer;
        responseDeserialize: (bytes: Buffer) => Reflected;
      };
    };
    const stream = client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
    );
    const seen: Reflected[] = [];
    return new Promise((resolve, reject) => {
      stream.on('data', (answer: Reflected) => seen.push(answer));
      stream.on('error', reject);
      stream.on('end', () => resolve(seen));
      for (const request of requests) stream.write(request);
      stream.end();
    });
  }

  it('3.1 reflection describes the service under dtm’s file name, so that a tool can call it', async () => {
    const { shared, call } = await fixture();
    const [services, bySymbol, byFile, unknown] = await reflect(shared, [
      { list_services: '' },
      { file_containing_symbol: 'dtmgimp.Dtm' },
      { file_by_filename: 'dtmgimp.proto' },
      { file_containing_symbol: 'nobody.Nothing' },
    ]);
    expect(services?.list_services_response?.service.map(({ name }) => name)).toEqual([
      'dtmgimp.Dtm',
      'grpc.health.v1.Health',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
    expect(byFile?.file_descriptor_response).toEqual(bySymbol?.file_descriptor_response);
    expect(unknown?.error_response?.error_code).toBe(Status.NOT_FOUND);
    // As a tool does: a set of files, loaded, and then called by.
    const files = bySymbol?.file_descriptor_response?.file_descriptor_proto ?? [];
    const set = Buffer.concat(
      files.flatMap((file) => {
        const length = [(file.length & 0x7f) | 0x80, file.length >> 7];
        return [Buffer.from([0x0a, ...length]), file];
      }),
    );
    const learnt = loadFileDescriptorSetFromBuffer(set, { keepCase: true });
    expect(Object.keys(loadPackageDefinition(learnt))).toContain('dtmgimp');
    const outcome = await unary(shared, methodOf(learnt, 'dtmgimp.Dtm', 'NewGid'), {});
    expect(outcome.reply).toMatchObject({ Gid: expect.stringMatching(/^\w{22}$/) as unknown });
    expect((await call('NewGid')).code).toBe(Status.OK);
  });

  it('who does not read the answers of reflection is not read from either (P8)', async () => {
    const { port } = await fixture();
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    try {
      // Answers of kilobytes to questions of 18 bytes: what is not taken up stays with us.
      const question = Buffer.from('\0\0\0\0\r"\x0bdtmgimp.Dtm', 'latin1');
      const questions = Buffer.concat(Array<Buffer>(5_000).fill(question));
      const taken = (): Promise<boolean> =>
        new Promise((resolve) => {
          const timer = setTimeout(resolve, 500, false);
          stream.write(questions, () => {
            clearTimeout(timer);
            resolve(true);
          });
        });
      let sent = 0;
      while (sent < 20 && (await taken())) sent += 1;
      expect(sent).toBeLessThan(20);
    } finally {
      session.destroy();
    }
  });

  it('reflection can be turned off', async () => {
    const { shared } = await fixture({ flags: { 'api.grpcReflection': 'false' } });
    await expect(reflect(shared, [{ list_services: '' }])).rejects.toMatchObject({
      code: Status.UNIMPLEMENTED,
    });
  });

  it('8 calls are counted as type grpc, by method', async () => {
    const { call, coordinator, metrics } = await fixture();
    await call('Submit', saga());
    coordinator.outcome = applied({ kind: 'failure', message: 'no FAILURE' });
    await call('Submit', saga());
    const text = await metrics.text();
    expect(text).toContain('dtm_server_process_total{type="grpc",api="submit",status="ok"} 1');
    expect(text).toContain('dtm_server_process_total{type="grpc",api="submit",status="fail"} 1');
    expect(text).toContain('assent_api_requests_total{api="submit",status="ABORTED"} 1');
    expect(text).toMatch(/dtm_server_response_duration_count\{type="grpc",api="submit"\} 2/);
  });
});
