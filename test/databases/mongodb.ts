// MongoDB, where somebody installed mongod (Debian has no package of it).

import { MongoClient } from 'mongodb';
import {
  findBinary,
  freePort,
  ServerProcess,
  type Skipped,
  temporaryFolder,
} from './server-process.ts';
import type { MongoServer } from './types.ts';

const REPLICA_SET = 'assent';

/** Makes the server a replica set of one, and waits until it is the primary. */
async function initiate(port: number): Promise<void> {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`);
  const members = [{ _id: 0, host: `127.0.0.1:${port}` }];
  await client.db('admin').command({ replSetInitiate: { _id: REPLICA_SET, members } });
  while ((await client.db('admin').command({ hello: 1 }))['isWritablePrimary'] !== true) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await client.close();
}

export async function startMongoDb(): Promise<MongoServer | Skipped> {
  const binary = findBinary(['mongod']);
  if (binary === undefined) return { kind: 'skipped', reason: 'no mongod' };
  const directory = await temporaryFolder('mongodb');
  const port = await freePort();
  const server = await ServerProcess.start({
    binary,
    parameters: [
      ...['--dbpath', directory, '--port', `${port}`, '--bind_ip', '127.0.0.1'],
      ...['--replSet', REPLICA_SET],
    ],
    port,
    directory,
    stopSignal: 'SIGTERM',
  });
  await initiate(port);
  return {
    kind: 'mongodb',
    host: '127.0.0.1',
    port,
    url: `mongodb://127.0.0.1:${port}/?replicaSet=${REPLICA_SET}`,
    process: server,
    stop: () => server.stop(),
  };
}
