// gRPC over TLS, as the configuration of a real node says: clients, and participants that ask for our
// certificate, here reached by their name.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { credentials, ServerCredentials, status as Status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freshGid } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { GrpcClient } from './lib/grpc-client.ts';
import { GrpcParticipant } from './lib/grpc-participant.ts';

const file = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
const pem = (name: string): Buffer => readFileSync(file(name));

const on = threeNodes(
  `
api:
  grpcTlsCertificatesFile: "${file('server.pem')}"
  grpcTlsPrivateKeyFile: "${file('server-key.pem')}"
  grpcTlsClientAuthoritiesFile: "${file('authority.pem')}"
participants:
  grpcTls: true
  grpcTlsAuthoritiesFile: "${file('authority.pem')}"
  grpcTlsCertificatesFile: "${file('client.pem')}"
  grpcTlsPrivateKeyFile: "${file('client-key.pem')}"
`,
  1,
);
let busi: GrpcParticipant;

beforeAll(async () => {
  const pair = { cert_chain: pem('server.pem'), private_key: pem('server-key.pem') };
  const asking = ServerCredentials.createSsl(pem('authority.pem'), [pair], true);
  busi = await GrpcParticipant.start(asking);
});
afterAll(() => busi.stop());

it('3.4, 12.37: a saga submitted over TLS runs over TLS; a client without certificate is refused', async () => {
  const gid = freshGid('tls');
  const action = busi.url('TransOut').replace('127.0.0.1', 'localhost');
  const request = {
    Gid: gid,
    TransType: 'saga',
    Steps: JSON.stringify([{ action, compensate: '' }]),
    BinPayloads: [Buffer.from([1, 2, 3])],
    TransOptions: { WaitResult: true },
  };
  const authority = pem('authority.pem');
  const known = credentials.createSsl(authority, pem('client-key.pem'), pem('client.pem'));
  const clients = [known, credentials.createSsl(authority), credentials.createInsecure()].map(
    (security) => new GrpcClient(on.cluster, security),
  );
  const codes: Status[] = [];
  for (const client of clients) codes.push((await client.call('Submit', request)).code);
  for (const client of clients) client.close();
  expect(codes).toEqual([Status.OK, Status.UNAVAILABLE, Status.UNAVAILABLE]);
  expect(busi.callsOf(gid).map(({ name, message }) => [name, message])).toEqual([
    ['01 action', Buffer.from([1, 2, 3])],
  ]);
});
