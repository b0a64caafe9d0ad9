// Redis, from Debian's redis-server or any other package that brings it.

import {
  findBinary,
  freePort,
  ServerProcess,
  type Skipped,
  temporaryFolder,
} from './server-process.ts';
import type { RedisServer } from './types.ts';

export async function startRedis(): Promise<RedisServer | Skipped> {
  const binary = findBinary(['redis-server', 'valkey-server']);
  if (binary === undefined) return { kind: 'skipped', reason: 'no redis-server' };
  const directory = await temporaryFolder('redis');
  const port = await freePort();
  const server = await ServerProcess.start({
    binary,
    parameters: ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', directory],
    port,
    directory,
    stopSignal: 'SIGTERM',
  });
  return {
    kind: 'redis',
    host: '127.0.0.1',
    port,
    url: `redis://127.0.0.1:${port}/0`,
    process: server,
    stop: () => server.stop(),
  };
}
