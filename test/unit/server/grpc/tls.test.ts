// The gRPC API over TLS, as the configuration says.

import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  status as Status,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../../../src/server/config.ts';
import { createGrpcServer, type GrpcServer } from '../../../../src/server/grpc/index.ts';
import { Health } from '../../../../src/server/health.ts';
import { Metrics } from '../../../../src/server/metrics.ts';
import { configWith, RecordingLog, statusSource } from '../fakes.ts';

const file = (name: string): string =>
  fileURLToPath(new URL(`../../../fixtures/tls/${name}`, import.meta.url));
const pem = (name: string): Buffer => readFileSync(file(name));

const SERVER = {
  'api.grpcTlsCertificatesFile': file('server.pem'),
  'api.grpcTlsPrivateKeyFile': file('server-key.pem'),
};
const servers: GrpcServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

function create(flags: Readonly<Record<string, string>>): GrpcServer {
  const server = createGrpcServer(configWith(flags), {
    coordinator: () => undefined,
    health: new Health(statusSource(), 1_000),
    metrics: new Metrics('v0'),
    log: new RecordingLog(),
  });
  servers.push(server);
  return server;
}

async function listening(flags: Readonly<Record<string, string>>): Promise<number> {
  return (await create(flags).listen({ host: '127.0.0.1', port: 0 })).port;
}

async function newGid(port: number, security: ChannelCredentials): Promise<Status> {
  const client = new Client(`localhost:${port}`, security, { 'grpc.use_local_subchannel_pool': 1 });
  const same = (bytes: Buffer): Buffer => bytes;
  const deadline = Date.now() + 10_000;
  try {
    return await new Promise((resolve) => {
      const done = (error: { readonly code: Status } | null): void =>
        resolve(error?.code ?? Status.OK);
      const path = '/dtmgimp.Dtm/NewGid';
      client.makeUnaryRequest(
        path,
        same,
        same,
        Buffer.alloc(0),
        new Metadata(),
        { deadline },
        done,
      );
    });
  } finally {
    client.close();
  }
}

describe('TLS of the gRPC API', () => {
  it('serves clients that trust its authority, and nobody in plain text', async () => {
    const port = await listening(SERVER);
    expect(await newGid(port, credentials.createSsl(pem('authority.pem')))).toBe(Status.OK);
    expect(await newGid(port, credentials.createSsl())).toBe(Status.UNAVAILABLE);
    expect(await newGid(port, credentials.createInsecure())).toBe(Status.UNAVAILABLE);
  });

  it('asks every client for a certificate where authorities of clients are named', async () => {
    const port = await listening({
      ...SERVER,
      'api.grpcTlsClientAuthoritiesFile': file('authority.pem'),
    });
    const authority = pem('authority.pem');
    const known = credentials.createSsl(authority, pem('client-key.pem'), pem('client.pem'));
    expect(await newGid(port, known)).toBe(Status.OK);
    expect(await newGid(port, credentials.createSsl(authority))).toBe(Status.UNAVAILABLE);
  });

  it('bytes that are no handshake close their connection and harm nobody', async () => {
    const port = await listening(SERVER);
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\n\r\n'));
    socket.on('error', () => undefined);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(await newGid(port, credentials.createSsl(pem('authority.pem')))).toBe(Status.OK);
  });

  it.each([
    [
      'a missing file',
      { ...SERVER, 'api.grpcTlsPrivateKeyFile': '/nowhere.pem' },
      /cannot be read/,
    ],
    [
      'a key of another certificate',
      { ...SERVER, 'api.grpcTlsPrivateKeyFile': file('client-key.pem') },
      /api\.grpcTls….*mismatch/,
    ],
    [
      'a file that holds no certificate',
      { ...SERVER, 'api.grpcTlsCertificatesFile': file('README.md') },
      /api\.grpcTls…/,
    ],
    [
      'a certificate without a key',
      { 'api.grpcTlsCertificatesFile': file('server.pem') },
      /need each other/,
    ],
    [
      'authorities of clients without a certificate',
      { 'api.grpcTlsClientAuthoritiesFile': file('authority.pem') },
      /needs api\.grpcTlsCertificatesFile/,
    ],
  ])('refuses to start with %s', (_name, flags, message) => {
    expect(() => create(flags)).toThrow(ConfigError);
    expect(() => create(flags)).toThrow(message);
  });
});
