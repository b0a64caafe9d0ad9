// PostgreSQL, from Debian's postgresql or any other package that brings initdb and postgres. Prepared
// transactions are allowed: XA needs them, and the server's default forbids them.

import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import {
  type Account,
  findBinary,
  freePort,
  runToEnd,
  ServerProcess,
  type Skipped,
  temporaryFolder,
  versionFolders,
} from './server-process.ts';
import type { SqlServer } from './types.ts';

const PACKAGES = '/usr/lib/postgresql';
const USER = 'assent';
const PASSWORD = 'assent';
const DATABASE = 'postgres';
const PREPARED_TRANSACTIONS_MAX = 100;

/** The account to run as: the server refuses to be root. */
function serverAccount(): Account | Skipped | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const numberOf = (flag: string) =>
    Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { name: 'postgres', uid: numberOf('-u'), gid: numberOf('-g') };
  } catch {
    return { kind: 'skipped', reason: 'no user postgres, and PostgreSQL does not run as root' };
  }
}

async function answers(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.end();
}

export async function startPostgreSql(): Promise<SqlServer | Skipped> {
  const folders = versionFolders(PACKAGES).map((version) => join(PACKAGES, version, 'bin'));
  const binary = findBinary(['postgres'], ...folders);
  const initdb = findBinary(['initdb'], ...folders);
  if (binary === undefined) return { kind: 'skipped', reason: 'no postgres' };
  if (initdb === undefined) return { kind: 'skipped', reason: 'no initdb' };
  const account = serverAccount();
  if (account !== undefined && 'kind' in account) return account;
  const directory = await temporaryFolder('postgresql', account);
  const data = join(directory, 'data');
  const passwordFile = join(directory, 'password');
  await writeFile(passwordFile, PASSWORD, { mode: 0o644 });
  const initParameters = [
    '-D',
    data,
    '-U',
    USER,
    `--pwfile=${passwordFile}`,
    '-A',
    'scram-sha-256',
  ];
  await runToEnd(initdb, [...initParameters, '-E', 'UTF8', '--locale=C', '--no-sync'], account);
  const port = await freePort();
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_prepared_transactions=${PREPARED_TRANSACTIONS_MAX}`,
    // A kill of the process loses nothing that was written; only a power loss would.
    'fsync=off',
    'shared_buffers=16MB',
  ];
  const url = `postgres://${USER}:${PASSWORD}@127.0.0.1:${port}/${DATABASE}`;
  const server = await ServerProcess.start({
    binary,
    parameters: ['-D', data, ...settings.flatMap((setting) => ['-c', setting])],
    port,
    directory,
    stopSignal: 'SIGINT',
    account,
    // It accepts, and refuses, while it recovers.
    probe: () => answers(url),
  });
  return {
    kind: 'postgresql',
    host: '127.0.0.1',
    port,
    user: USER,
    password: PASSWORD,
    database: DATABASE,
    url,
    process: server,
    stop: () => server.stop(),
  };
}
