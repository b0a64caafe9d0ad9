// MariaDB, from Debian's mariadb-server or any other package that brings mariadbd.

import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import {
  findBinary,
  freePort,
  runToEnd,
  ServerProcess,
  type Skipped,
  temporaryFolder,
} from './server-process.ts';
import type { SqlServer } from './types.ts';

const USER = 'assent';
const PASSWORD = 'assent';
const DATABASE = 'bank';

/** A database `bank` and a user `assent` with every right, XA recovery among them. */
async function createUser(socketPath: string, owner: string): Promise<void> {
  const connection = await createConnection({ socketPath, user: owner });
  await connection.query(`CREATE DATABASE ${DATABASE}`);
  await connection.query(`CREATE USER '${USER}'@'%' IDENTIFIED BY '${PASSWORD}'`);
  await connection.query(`GRANT ALL PRIVILEGES ON *.* TO '${USER}'@'%' WITH GRANT OPTION`);
  await connection.end();
}

export async function startMariaDb(): Promise<SqlServer | Skipped> {
  const binary = findBinary(['mariadbd', 'mysqld']);
  const installer = findBinary(['mariadb-install-db']);
  if (binary === undefined) return { kind: 'skipped', reason: 'no mariadbd' };
  if (installer === undefined) return { kind: 'skipped', reason: 'no mariadb-install-db' };
  const directory = await temporaryFolder('mariadb');
  const data = join(directory, 'data');
  const socketPath = join(directory, 's.sock');
  const owner = process.getuid?.() === 0 ? 'root' : (process.env['USER'] ?? 'root');
  const asOwner = process.getuid?.() === 0 ? ['--user=root'] : [];
  await runToEnd(installer, [
    '--no-defaults',
    `--datadir=${data}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    ...asOwner,
  ]);
  const port = await freePort();
  const server = await ServerProcess.start({
    binary,
    parameters: [
      '--no-defaults',
      `--datadir=${data}`,
      `--socket=${socketPath}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      '--innodb-buffer-pool-size=16M',
      `--pid-file=${join(directory, 'pid')}`,
      ...asOwner,
    ],
    port,
    directory,
    stopSignal: 'SIGTERM',
  });
  await createUser(socketPath, owner);
  return {
    kind: 'mariadb',
    host: '127.0.0.1',
    port,
    user: USER,
    password: PASSWORD,
    database: DATABASE,
    url: `mysql://${USER}:${PASSWORD}@127.0.0.1:${port}/${DATABASE}`,
    process: server,
    stop: () => server.stop(),
  };
}
