// gRPC messages that never end: a client on plain HTTP/2 opens calls and does not finish them.

import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { createGrpcServer, type GrpcServer } from '../../../../src/server/grpc/index.ts';
import { Health } from '../../../../src/server/health.ts';
import { Metrics } from '../../../../src/server/metrics.ts';
import { configWith, FakeCoordinator, RecordingLog, statusSource } from '../fakes.ts';

const MIB = 1024 * 1024;
const SHORT_TIMEOUT = { 'api.headersTimeoutMs': '100', 'api.receiveTimeoutMs': '100' };
const servers: GrpcServer[] = [];
const sessions: ClientHttp2Session[] = [];

afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function fixture(flags: Record<string, string>) {
  const metrics = new Metrics('v0');
  const coordinator = new FakeCoordinator();
  const server = createGrpcServer(configWith(flags), {
    coordinator: () => coordinator,
    health: new Health(statusSource({}), 1_000),
    metrics,
    log: new RecordingLog(),
  });
  servers.push(server);
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
  const session = connect(`http://127.0.0.1:${port}`);
  sessions.push(session);
  const bytesInFlight = async (): Promise<number> =>
    Number(/assent_grpc_inflight_bytes (\d+)/.exec(await metrics.text())?.[1]);
  return { coordinator, port, session, bytesInFlight };
}

function open(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/dtmgimp.Dtm/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  return stream;
}

/** A submit whose frame promises `length` bytes. */
function begin(session: ClientHttp2Session, length: number): ClientHttp2Stream {
  const stream = open(session, 'Submit');
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(length, 1);
  stream.write(frame);
  return stream;
}

const closed = (stream: ClientHttp2Stream): Promise<number> =>
  new Promise((resolve) => stream.once('close', () => resolve(stream.rstCode)));

function newGid(port: number): Promise<Error | undefined> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      '/dtmgimp.Dtm/NewGid',
      () => Buffer.alloc(0),
      (bytes: Buffer) => bytes,
      {},
      (error) => {
        client.close();
        resolve(error ?? undefined);
      },
    );
  });
}

describe('gRPC messages that are still arriving', () => {
  it('count against inflightBytesMax, and are reset beyond it', async () => {
    const { session, port, bytesInFlight } = await fixture({
      'api.bodyBytesMax': '1MiB',
      'api.transactionBytesMax': '1MiB',
      'api.inflightBytesMax': '2MiB',
    });
    const streams = Array.from({ length: 4 }, () => begin(session, MIB));
    const codes: number[] = [];
    const ends = streams.map((stream) => closed(stream).then((code) => codes.push(code)));
    for (const stream of streams) stream.write(Buffer.alloc(MIB - 1));
    // Two of nearly a mebibyte fit.
    await expect.poll(() => codes.length).toBeGreaterThanOrEqual(2);
    expect(new Set(codes)).toEqual(new Set([constants.NGHTTP2_ENHANCE_YOUR_CALM]));
    expect(await bytesInFlight()).toBeLessThanOrEqual(2 * MIB);
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    await Promise.all(ends);
    await expect.poll(bytesInFlight).toBe(0);
    expect(await newGid(port)).toBeUndefined();
  });

  it('end when they take longer than receiveTimeoutMs, whether begun or not', async () => {
    const { session, port, bytesInFlight } = await fixture(SHORT_TIMEOUT);
    const streams = [begin(session, 1_000), open(session, 'Submit')];
    const codes = await Promise.all(streams.map(closed));
    expect(codes).toEqual([constants.NGHTTP2_CANCEL, constants.NGHTTP2_CANCEL]);
    await expect.poll(bytesInFlight).toBe(0);
    expect(await newGid(port)).toBeUndefined();
  });

  it('are not carried out once they were ended, even if they are whole', async () => {
    const { coordinator, session, port } = await fixture(SHORT_TIMEOUT);
    const stream = open(session, 'Abort');
    // A whole message, but the client never says that it is the last.
    stream.write(Buffer.from('\0\0\0\0\x09\x0a\x01g\x12\x04saga', 'latin1'));
    expect(await closed(stream)).toBe(constants.NGHTTP2_CANCEL);
    expect(await newGid(port)).toBeUndefined();
    expect(coordinator.requests).toEqual([]);
  });
});
