// Plain text, as with dtm, or TLS where certificates are named; then clients may be asked for theirs.

import { ServerCredentials } from '@grpc/grpc-js';
import type { Config } from '../config.ts';
import { readTlsFiles } from '../tls-files.ts';

/** @throws ConfigError */
export function serverCredentials({ api }: Config): ServerCredentials {
  const { authorities, certificates, privateKey } = readTlsFiles('api.grpcTls', {
    authorities: api.grpcTlsClientAuthoritiesFile,
    certificates: api.grpcTlsCertificatesFile,
    privateKey: api.grpcTlsPrivateKeyFile,
  });
  if (certificates === undefined || privateKey === undefined) {
    return ServerCredentials.createInsecure();
  }
  const pair = { cert_chain: certificates, private_key: privateKey };
  return ServerCredentials.createSsl(authorities ?? null, [pair], authorities !== undefined);
}
