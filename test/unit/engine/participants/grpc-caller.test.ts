// Calls against real loopback gRPC services: the rules of the dtm reference §3.4, §3.5 and §4.4, the
// dispatch lease, and that a target that is gone and comes back is found again.

import { readFileSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { ServerCredentials, status as Status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { metadataText } from '../../../../src/engine/participants/grpc-metadata.ts';
import { parseGrpcUrl } from '../../../../src/engine/participants/grpc-url.ts';
import {
  allowAllEgress,
  DEFAULT_PARTICIPANTS_CONFIG,
  type EgressPolicy,
  GrpcCaller,
  type ParticipantsConfig,
} from '../../../../src/engine/participants/index.ts';
import { encodeWorkflowData } from '../../../../src/engine/participants/workflow-data.ts';
import {
  answerOk,
  answerStatus,
  type GrpcAnswer,
  type GrpcTestService,
  startGrpcService,
} from '../../../helpers/grpc-service.ts';
import { realClock, seededRandom } from '../../../helpers/scheduler-clock.ts';
import { branchCall, callOnce, until } from '../../../helpers/scheduler-http.ts';

const services: GrpcTestService[] = [];
const callers: GrpcCaller[] = [];
const servers: (Http2Server | Server)[] = [];
const sockets = new Set<{ destroy(): void }>();

afterEach(async () => {
  await Promise.all(callers.splice(0).map((caller) => caller.close()));
  for (const service of services.splice(0)) service.close();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await Promise.all(
    servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))),
  );
});

async function service(
  answer: GrpcAnswer,
  options: Parameters<typeof startGrpcService>[1] = {},
): Promise<GrpcTestService> {
  const started = await startGrpcService(answer, options);
  services.push(started);
  return started;
}

function caller(over: Partial<ParticipantsConfig> = {}, egress: EgressPolicy = allowAllEgress) {
  const made = new GrpcCaller(
    { clock: realClock, random: seededRandom(1), egress },
    { ...DEFAULT_PARTICIPANTS_CONFIG, userAgent: 'assent/test', ...over },
  );
  callers.push(made);
  return made;
}

function grpcCall(address: string, over: Parameters<typeof branchCall>[1] = {}) {
  return branchCall(`${address}/busi.Busi/TransIn`, { protocol: 'grpc', ...over });
}

/** Answers every stream with a grpc-status of its own, also one that no library would send. */
async function rawService(status: string, message: string): Promise<string> {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': status,
        'grpc-message': message,
      },
      { endStream: true },
    );
  });
  return listen(server);
}

/** Answers every call, and counts the sessions that began and ended. */
async function countingService() {
  const sessions = { began: 0, ended: 0 };
  const server = createServer();
  server.on('session', (session) => {
    sessions.began += 1;
    session.once('close', () => {
      sessions.ended += 1;
    });
  });
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    // An empty message: no compression, no length.
    stream.end(Buffer.alloc(5));
  });
  return { address: await listen(server), sessions };
}

async function listen(server: Http2Server): Promise<string> {
  server.on('session', (session) => {
    sockets.add(session);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const like = (pattern: RegExp): unknown => expect.stringMatching(pattern);

describe('the call (dtm reference 3.4)', () => {
  it('3.4 sends the stored bytes verbatim, whatever they are, and ignores the answer', async () => {
    const s = await service((_call, answer) => answer(null, Buffer.from([0xff, 1, 2])));
    const payload = new Uint8Array([0, 255, 10, 128, 7]).subarray(1);
    const outcome = await callOnce(caller(), grpcCall(s.address, { payload }));
    expect(outcome).toMatchObject({ kind: 'success', detail: '' });
    expect([...(s.seen[0]?.message ?? [])]).toEqual([255, 10, 128, 7]);
    expect(s.seen[0]?.path).toBe('/busi.Busi/TransIn');
  });

  it('3.4 an empty payload is an empty message', async () => {
    const s = await service(answerOk);
    await callOnce(caller(), grpcCall(s.address, { branchId: '00', op: 'msg', type: 'msg' }));
    expect(s.seen[0]?.message).toHaveLength(0);
  });

  it('3.4, 11.24 carries the four ids, an empty dtm-dtm, and branch headers in lower case', async () => {
    const s = await service(answerOk);
    const headers = {
      'X-Tenant': '7',
      'trace-bin': 'ü',
      TE: 'gzip',
      Host: 'evil',
      'dtm-gid': 'no',
    };
    const call = grpcCall(s.address, { gid: 'g 1', branchId: '0101', op: 'compensate', headers });
    expect((await callOnce(caller(), call)).kind).toBe('success');
    const metadata = s.seen[0]?.metadata;
    expect(metadata?.get('dtm-gid')).toEqual(['g 1']);
    expect(metadata?.get('dtm-trans_type')).toEqual(['saga']);
    expect(metadata?.get('dtm-branch_id')).toEqual(['0101']);
    expect(metadata?.get('dtm-op')).toEqual(['compensate']);
    expect(metadata?.get('dtm-dtm')).toEqual(['']);
    expect(metadata?.get('x-tenant')).toEqual(['7']);
    expect(metadata?.get('trace-bin')).toEqual([Buffer.from('ü')]);
    expect(metadata?.get('host')).toEqual([]);
    expect(String(metadata?.get('user-agent')[0])).toMatch(/^assent\/test /);
  });

  it('3.4 tells the service its deadline, and is over when that has passed', async () => {
    const s = await service(() => undefined);
    const outcome = await callOnce(caller(), grpcCall(s.address, { timeoutMs: 200 }));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: 'timeout after 200 ms' });
    expect(s.seen[0]?.deadlineMs).toBeGreaterThan(0);
    expect(s.seen[0]?.deadlineMs).toBeLessThanOrEqual(200);
    await until(() => s.seen[0]?.cancelled() === true);
  });

  it.each([
    ['a:80', /host:port\/package/],
    ['dns:///a:80/S/M', /service discovery/],
    ['unix:/tmp/x.sock/S/M', /host:port\/package/],
    ['unix:1/S/M', undefined],
    ['a:80/S/ü', /host:port\/package/],
    ['a b:80/S/M', /host:port\/package/],
    ['a:99999/S/M', /host:port\/package/],
    ['/S/M', /host:port\/package/],
    ['[::1]:80/S/M', undefined],
    ['a/S/M', undefined],
  ])('3.4 %s is a target, or the reason why not', (url, refused) => {
    const parsed = parseGrpcUrl(url, false);
    if (refused === undefined) expect(parsed).toMatchObject({ method: '/S/M' });
    else expect(parsed).toMatch(refused);
  });

  it('3.4 a URL that cannot be dialled ends unknown, so that it is retried and visible', async () => {
    const c = caller();
    expect(await callOnce(c, branchCall('a:80', { protocol: 'grpc' }))).toMatchObject({
      kind: 'unknown',
      detail: like(/^invalid gRPC url/),
    });
  });

  it('inside a container, loopback names mean its host', () => {
    expect(parseGrpcUrl('localhost:80/S/M', true)).toMatchObject({
      target: 'host.docker.internal:80',
    });
  });

  it('asks the egress policy', async () => {
    const seen: string[] = [];
    const allow = (url: URL): string => {
      seen.push(url.host);
      return 'not there';
    };
    const c = caller({}, { allow });
    expect(await callOnce(c, grpcCall('a.internal:81'))).toMatchObject({
      kind: 'unknown',
      detail: 'refused by the egress policy: not there',
    });
    expect(seen).toEqual(['a.internal:81']);
  });
});

describe('the answer (dtm reference 4.4)', () => {
  it.each([
    [Status.ABORTED, 'stock gone', 'failure', 'stock gone'],
    [Status.ABORTED, 'ONGOING', 'ongoing', 'ONGOING'],
    [Status.ABORTED, 'still ONGOING', 'failure', 'still ONGOING'],
    [Status.FAILED_PRECONDITION, 'not yet', 'ongoing', 'not yet'],
    [Status.INTERNAL, 'FAILURE', 'unknown', 'INTERNAL: FAILURE'],
    [Status.UNAVAILABLE, 'down for repair', 'unknown', 'UNAVAILABLE: down for repair'],
    [Status.UNKNOWN, 'x', 'unknown', 'UNKNOWN: x'],
  ] as const)('4.4, 11.25 status %i with "%s" is %s', async (code, message, kind, detail) => {
    const s = await service(answerStatus(code, message));
    expect(await callOnce(caller(), grpcCall(s.address))).toMatchObject({ kind, detail });
  });

  it.each([
    ['409', 'stock gone', 'failure'],
    ['425', 'wait', 'ongoing'],
    ['500', 'status 500: x', 'unknown'],
  ])('12.31 grpc-status %s of a PHP service is understood', async (status, detail, kind) => {
    const address = await rawService(status, detail.replace('status 500: ', ''));
    expect(await callOnce(caller(), grpcCall(address))).toMatchObject({ kind, detail });
  });

  it('an answer that is too large is unknown', async () => {
    const s = await service((_call, answer) => answer(null, Buffer.alloc(5000)));
    expect(await callOnce(caller({ answerBytesMax: 1024 }), grpcCall(s.address))).toMatchObject({
      kind: 'unknown',
      detail: like(/^RESOURCE_EXHAUSTED/),
    });
  });

  it('a method that the service does not know is unknown, and no reason to call it broken', async () => {
    const s = await service(answerOk, { paths: ['/a.B/C'] });
    const c = caller({ circuitFailuresMax: 1 });
    expect(await callOnce(c, grpcCall(s.address))).toMatchObject({
      kind: 'unknown',
      detail: like(/^UNIMPLEMENTED/),
    });
    expect(c.targets()).toEqual([]);
  });
});

describe('metadata that is not printable ASCII (12.33)', () => {
  it('12.33 is sent as an extended value of RFC 8187, and the call succeeds', async () => {
    const s = await service(answerOk);
    const call = grpcCall(s.address, { gid: 'zahlung-ü', headers: { 'x-name': 'Grün (1)' } });
    expect((await callOnce(caller(), call)).kind).toBe('success');
    expect(s.seen[0]?.metadata.get('dtm-gid')).toEqual(["UTF-8''zahlung-%C3%BC"]);
    expect(s.seen[0]?.metadata.get('x-name')).toEqual(["UTF-8''Gr%C3%BCn%20%281%29"]);
  });

  it('12.33 any value becomes one that can travel, and different values stay different', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const text = metadataText(value);
        expect(text).toMatch(/^[ -~]*$/);
        if (text !== value) {
          expect(decodeURIComponent(text.slice("UTF-8''".length))).toBe(value);
        }
      }),
    );
  });

  it('12.33 a name that cannot be a key ends unknown and says so', async () => {
    const call = grpcCall('127.0.0.1:1', { headers: { 'x!y': '1' } });
    expect(await callOnce(caller(), call)).toMatchObject({
      kind: 'unknown',
      detail: 'branch header "x!y" cannot be a key of gRPC metadata',
    });
  });
});

describe('the callback of a workflow (3.5, 5.10)', () => {
  const proto = loadSync(
    fileURLToPath(new URL('../../../../proto/workflow.proto', import.meta.url)),
  );

  it('3.5, 5.10 wraps the data in WorkflowData, with the name of the workflow as op', async () => {
    const s = await service(answerOk, { paths: ['/workflow.Workflow/Execute'] });
    const call = branchCall(`${s.address}/workflow.Workflow/Execute`, {
      protocol: 'grpc',
      type: 'workflow',
      branchId: '00',
      op: 'buy a flight',
      payload: encode('{"id":1}'),
    });
    expect((await callOnce(caller(), call)).kind).toBe('success');
    expect(s.seen[0]?.metadata.get('dtm-op')).toEqual(['buy a flight']);
    const { Execute } = proto['workflow.Workflow'] as unknown as {
      Execute: { requestDeserialize: (bytes: Buffer) => { Data: Buffer } };
    };
    const decoded = Execute.requestDeserialize(s.seen[0]?.message ?? Buffer.alloc(0));
    expect(decoded.Data.toString()).toBe('{"id":1}');
  });

  it('3.5 encodes any data as the published message does', () => {
    expect(encodeWorkflowData(new Uint8Array())).toHaveLength(0);
    const { Execute } = proto['workflow.Workflow'] as unknown as {
      Execute: { requestSerialize: (message: { Data: Uint8Array }) => Buffer };
    };
    for (const length of [1, 127, 128, 16_383, 16_384, 300_000]) {
      const data = new Uint8Array(length).fill(7);
      const message = encodeWorkflowData(data);
      expect(Buffer.compare(message, Execute.requestSerialize({ Data: data }))).toBe(0);
    }
  });
});

describe('the dispatch lease', () => {
  it('is asked again once the connection stands, and nothing is sent without it', async () => {
    const s = await service(answerOk);
    let asked = 0;
    const outcome = await callOnce(caller(), grpcCall(s.address), () => {
      asked += 1;
      return asked === 1;
    });
    expect(outcome).toEqual({ kind: 'notSent', reason: 'lease' });
    expect(asked).toBe(2);
    expect(s.seen).toEqual([]);
  });

  it('is asked before anything is dialled', async () => {
    const outcome = await callOnce(caller(), grpcCall('127.0.0.1:1'), () => false);
    expect(outcome).toEqual({ kind: 'notSent', reason: 'lease' });
  });
});

describe('targets', () => {
  it('opens the circuit of one that refuses connections, and finds it when it is back', async () => {
    const first = await startGrpcService(answerOk);
    const port = Number(first.address.split(':')[1]);
    const c = caller({ circuitFailuresMax: 2, circuitDelayMsMin: 50, circuitDelayMsMax: 50 });
    expect((await callOnce(c, grpcCall(first.address))).kind).toBe('success');
    first.close();
    await until(() => c.targets().length === 0);
    const outcomes: string[] = [];
    while (c.targets()[0]?.circuit !== 'open') {
      const outcome = await callOnce(c, grpcCall(first.address));
      outcomes.push(outcome.kind === 'unknown' ? outcome.detail : outcome.kind);
    }
    expect(outcomes.at(-1)).toMatch(/^UNAVAILABLE/);
    expect(await callOnce(c, grpcCall(first.address))).toMatchObject({
      kind: 'notSent',
      reason: 'circuitOpen',
    });
    const again = await service(answerOk, { port });
    await until(() => (c.targets()[0]?.retryAtMs ?? 0) <= realClock.monotonicMs());
    expect((await callOnce(c, grpcCall(again.address))).kind).toBe('success');
  });

  it('one that takes connections and never speaks ends by the deadline and opens its circuit', async () => {
    const mute = createTcpServer((socket) => {
      sockets.add(socket);
    });
    servers.push(mute);
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
    const c = caller({ circuitFailuresMax: 1 });
    expect(await callOnce(c, grpcCall(address, { timeoutMs: 100 }))).toMatchObject({
      kind: 'unknown',
      detail: 'timeout after 100 ms while connecting',
    });
    expect(c.targets()).toMatchObject([{ circuit: 'open' }]);
  });

  it('queues above the streams of a connection, refuses above the queue, delays no other', async () => {
    const answers: (() => void)[] = [];
    const hung = await service((_call, answer) => {
      answers.push(() => answer(null, Buffer.alloc(0)));
    });
    const quick = await service(answerOk);
    const c = caller({ connectionsPerTargetMax: 2, queuePerTargetMax: 1 });
    const calls = [1, 2, 3].map(() => callOnce(c, grpcCall(hung.address)));
    await until(() => hung.seen.length === 2);
    expect(c.targets()).toMatchObject([{ inflight: 2, queued: 1 }]);
    expect(await callOnce(c, grpcCall(hung.address))).toEqual({
      kind: 'notSent',
      reason: 'queueFull',
    });
    expect((await callOnce(c, grpcCall(quick.address))).kind).toBe('success');
    answers.shift()?.();
    await until(() => hung.seen.length === 3);
    while (answers.length > 0) answers.shift()?.();
    expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(Array(3).fill('success'));
  });

  it('a channel is shared by the calls of a target, closed when idle, and opened again', async () => {
    const { address, sessions } = await countingService();
    const c = caller({ grpcIdleMs: 20 });
    const calls = [1, 2, 3].map(() => callOnce(c, grpcCall(address)));
    expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(Array(3).fill('success'));
    expect(sessions.began).toBe(1);
    await until(() => sessions.ended === 1);
    expect((await callOnce(c, grpcCall(address))).kind).toBe('success');
    await until(() => sessions.ended === 2);
    expect(sessions.began).toBe(2);
  });

  it('a channel with a running call is not idle', async () => {
    const answers: (() => void)[] = [];
    const s = await service((_call, answer) => {
      answers.push(() => answer(null, Buffer.alloc(0)));
    });
    const c = caller({ grpcIdleMs: 10 });
    const call = callOnce(c, grpcCall(s.address));
    await until(() => answers.length === 1);
    const startedAtMs = realClock.monotonicMs();
    await until(() => realClock.monotonicMs() - startedAtMs > 40);
    answers[0]?.();
    expect((await call).kind).toBe('success');
  });

  it('more targets than are allowed push the least recently used idle one out', async () => {
    const [a, b] = [await service(answerOk), await service(answerOk)];
    const hung = await service(() => undefined);
    const c = caller({ targetsMax: 1 });
    expect((await callOnce(c, grpcCall(a.address))).kind).toBe('success');
    expect((await callOnce(c, grpcCall(b.address))).kind).toBe('success');
    const waiting = callOnce(c, grpcCall(hung.address, { timeoutMs: 300 }));
    await until(() => hung.seen.length === 1);
    expect(await callOnce(c, grpcCall(a.address))).toEqual({
      kind: 'notSent',
      reason: 'queueFull',
    });
    expect((await waiting).kind).toBe('unknown');
    expect((await callOnce(c, grpcCall(a.address))).kind).toBe('success');
  });

  it('closing breaks running calls off and refuses those that wait', async () => {
    const s = await service(() => undefined);
    const c = caller({ connectionsPerTargetMax: 1 });
    const running = callOnce(c, grpcCall(s.address));
    const waiting = callOnce(c, grpcCall(s.address));
    await until(() => s.seen.length === 1);
    await c.close();
    expect((await running).kind).toBe('unknown');
    expect(await waiting).toEqual({ kind: 'notSent', reason: 'stopped' });
    expect(await callOnce(c, grpcCall(s.address))).toEqual({ kind: 'notSent', reason: 'stopped' });
  });
});

describe('TLS', () => {
  const pem = (name: string): Buffer =>
    readFileSync(fileURLToPath(new URL(`../../../fixtures/tls/${name}`, import.meta.url)));
  const authorities = pem('authority.pem');
  const certificates = pem('client.pem');
  const privateKey = pem('client-key.pem');
  // By name: an address is none in TLS.
  const named = ({ address }: GrpcTestService) =>
    grpcCall(address.replace('127.0.0.1', 'localhost'));
  const secured = (asksClients: boolean): Promise<GrpcTestService> => {
    const pair = { cert_chain: pem('server.pem'), private_key: pem('server-key.pem') };
    const credentials = ServerCredentials.createSsl(authorities, [pair], asksClients);
    return service(answerOk, { credentials });
  };

  it('calls services whose authority it knows, and shows a certificate to those that ask', async () => {
    const plain = await secured(false);
    const c = caller({ grpcTls: { authorities, certificates: undefined, privateKey: undefined } });
    expect((await callOnce(c, named(plain))).kind).toBe('success');
    const asking = await secured(true);
    expect((await callOnce(c, named(asking))).kind).toBe('unknown');
    const known = caller({ grpcTls: { authorities, certificates, privateKey } });
    expect((await callOnce(known, named(asking))).kind).toBe('success');
    expect(asking.seen).toHaveLength(1);
  });

  it('sends nothing to a service that it cannot trust', async () => {
    const s = await secured(false);
    const none = { authorities: undefined, certificates: undefined, privateKey: undefined };
    expect((await callOnce(caller({ grpcTls: none }), named(s))).kind).toBe('unknown');
    expect((await callOnce(caller(), named(s))).kind).toBe('unknown');
    expect(s.seen).toEqual([]);
  });
});
