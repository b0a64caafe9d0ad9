// The servers themselves: each starts, answers its driver, survives a kill, and leaves nothing behind.

import { existsSync } from 'node:fs';
import { Redis } from 'ioredis';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { expect, it } from 'vitest';
import { startMariaDb, startPostgreSql, startRedis } from './index.ts';

it('MariaDB starts, keeps its data across a kill, and stops', async ({ skip }) => {
  const server = await startMariaDb();
  if (server.kind === 'skipped') return skip(server.reason);
  const options = { uri: server.url };
  const before = await createConnection(options);
  await before.query('CREATE TABLE t (id INT PRIMARY KEY)');
  await before.query('INSERT INTO t VALUES (7)');
  before.on('error', () => undefined);
  await server.process.kill();
  before.destroy();
  await server.process.run();
  const after = await createConnection(options);
  expect((await after.query('SELECT id FROM t'))[0]).toEqual([{ id: 7 }]);
  await after.end();
  const { pid } = server.process;
  await server.stop();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

it('PostgreSQL starts with prepared transactions allowed, and stops', async ({ skip }) => {
  const server = await startPostgreSql();
  if (server.kind === 'skipped') return skip(server.reason);
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const { rows } = await client.query('SHOW max_prepared_transactions');
  expect(rows).toEqual([{ max_prepared_transactions: '100' }]);
  await client.end();
  const { pid } = server.process;
  await server.stop();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});

it('Redis starts, and stops', async ({ skip }) => {
  const server = await startRedis();
  if (server.kind === 'skipped') return skip(server.reason);
  const redis = new Redis(server.url);
  expect(await redis.ping()).toBe('PONG');
  redis.disconnect();
  const { pid } = server.process;
  await server.stop();
  expect(existsSync(`/proc/${pid}`)).toBe(false);
});
