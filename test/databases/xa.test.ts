// Local XA transactions against real databases (dtm reference §10.1): nothing is left prepared, and
// nothing that was not committed is called so.

import { createPool, type PoolConnection } from 'mysql2/promise';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  barrierSchema,
  FailureError,
  mysqlXa,
  postgresXa,
  type XaResource,
} from '../../src/client/index.ts';
import { type Skipped, type SqlServer, startMariaDb, startPostgreSql } from './index.ts';

interface Teller {
  query(sql: string): Promise<unknown>;
}
interface Bench {
  readonly resource: XaResource<Teller>;
  query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  prepared(): Promise<readonly unknown[]>;
  close(): Promise<void>;
}

async function mariaBench(server: SqlServer): Promise<Bench> {
  const pool = createPool({ uri: server.url, connectionLimit: 8 });
  for (const statement of barrierSchema('mysql')) await pool.query(statement);
  const query = async (sql: string) =>
    (await pool.query(sql))[0] as Readonly<Record<string, unknown>>[];
  return {
    resource: mysqlXa<PoolConnection>(pool),
    query,
    prepared: async () => (await query('XA RECOVER')).map(({ data }) => data),
    close: () => pool.end(),
  };
}

async function postgresBench(server: SqlServer): Promise<Bench> {
  const pool = new pg.Pool({ connectionString: server.url, max: 8 });
  // The server's farewell may arrive after the pool has let go of the connection.
  pool.on('error', () => undefined);
  for (const statement of barrierSchema('postgres')) await pool.query(statement);
  const query = async (sql: string) =>
    (await pool.query<Readonly<Record<string, unknown>>>(sql)).rows;
  return {
    resource: postgresXa<pg.PoolClient>(pool),
    query,
    prepared: async () => (await query('SELECT gid FROM pg_prepared_xacts')).map(({ gid }) => gid),
    close: () => pool.end(),
  };
}

let gids = 0;

describe.each([
  ['MariaDB', startMariaDb, mariaBench],
  ['PostgreSQL', startPostgreSql, postgresBench],
])('XA on %s', (name, start, benchOf) => {
  let server: SqlServer | Skipped;
  let bench: Bench;
  let branch: { transactionType: string; gid: string; branchId: string };

  beforeAll(async () => {
    server = await start();
    if (server.kind === 'skipped') return;
    bench = await benchOf(server);
    await bench.query('CREATE TABLE account (id INT PRIMARY KEY, balance INT)');
  });
  afterAll(async () => {
    if (server.kind === 'skipped') return;
    await bench.close();
    await server.stop();
  });
  beforeEach(async ({ skip }) => {
    if (server.kind === 'skipped') return skip(`${name}: ${server.reason}`);
    await bench.query('DELETE FROM account');
    await bench.query('INSERT INTO account VALUES (1, 100)');
    gids += 1;
    branch = { transactionType: 'xa', gid: `x'${gids}\\é`, branchId: '01' };
  });

  const take = async (teller: Teller) => {
    await teller.query('UPDATE account SET balance = balance - 30 WHERE id = 1');
  };
  const balance = async () => (await bench.query('SELECT balance FROM account'))[0]?.['balance'];

  it('prepares now, and commits when it is told to, once', async () => {
    await bench.resource.prepare(branch, take);
    expect(await balance()).toBe(100);
    expect(await bench.prepared()).toHaveLength(1);
    await bench.resource.finish(branch, 'commit');
    await bench.resource.finish(branch, 'commit');
    expect(await balance()).toBe(70);
    expect(await bench.prepared()).toEqual([]);
  });

  it('is ended by another process as soon as it has prepared', async () => {
    // The commit may come before the server has noticed that the first connection is gone.
    for (let turn = 0; turn < 20; turn += 1) {
      const each = { ...branch, gid: `${branch.gid}-${turn}` };
      await bench.resource.prepare(each, take);
      await bench.resource.finish(each, 'commit');
    }
    expect(await balance()).toBe(100 - 20 * 30);
    expect(await bench.prepared()).toEqual([]);
  });

  it('rolls back when it is told to, and stops a first phase that comes late', async () => {
    await bench.resource.prepare(branch, take);
    await bench.resource.finish(branch, 'rollback');
    await bench.resource.finish(branch, 'rollback');
    expect(await balance()).toBe(100);
    await expect(bench.resource.prepare(branch, take)).rejects.toBeInstanceOf(FailureError);
    expect(await balance()).toBe(100);
    expect(await bench.prepared()).toEqual([]);
  });

  it('leaves nothing behind when the business, or its registration, fails', async () => {
    const failing = bench.resource.prepare(branch, async (teller) => {
      await take(teller);
      throw new FailureError('poor');
    });
    await expect(failing).rejects.toThrow('poor');
    expect(await balance()).toBe(100);
    expect(await bench.prepared()).toEqual([]);
    await bench.resource.prepare(branch, take);
    await bench.resource.finish(branch, 'commit');
    expect(await balance()).toBe(70);
  });

  it('never prepares a transaction that a hidden error has ended', async () => {
    const run = bench.resource.prepare(branch, async (teller) => {
      await take(teller);
      // MariaDB refuses what ends an XA transaction; a deadlock would end it all the same.
      const breaking = name === 'MariaDB' ? 'XA END garbage' : 'SELECT * FROM nowhere';
      await teller.query(breaking).catch(() => undefined);
      if (name === 'MariaDB') throw new Error('said plainly');
    });
    await expect(run).rejects.toThrow();
    expect(await bench.prepared()).toEqual([]);
    expect(await balance()).toBe(100);
  });

  it('does not let a repeated first phase wait for the second one', async () => {
    await bench.resource.prepare(branch, take);
    // More of them than the pool has connections.
    const repeats = Array.from({ length: 10 }, () => bench.resource.prepare(branch, take));
    const ends = await Promise.allSettled(repeats);
    expect(ends.map(({ status }) => status)).toEqual(repeats.map(() => 'rejected'));
    expect(await bench.prepared()).toHaveLength(1);
    await bench.resource.finish(branch, 'commit');
    expect(await balance()).toBe(70);
    expect(await bench.prepared()).toEqual([]);
  });

  it('survives a kill of the database between both phases', async () => {
    if (server.kind === 'skipped') return;
    const { process, url } = server;
    await bench.resource.prepare(branch, take);
    await bench.close();
    await process.kill();
    await process.run();
    bench = await benchOf({ ...server, url });
    expect(await bench.prepared()).toHaveLength(1);
    await bench.resource.finish(branch, 'commit');
    expect(await balance()).toBe(70);
    expect(await bench.prepared()).toEqual([]);
  });
});

describe('MariaDB and the connection that prepared', () => {
  it('is asked until the server has let go of it, not taken at its first word', async ({
    skip,
  }) => {
    const server = await startMariaDb();
    if (server.kind === 'skipped') return skip(server.reason);
    const pool = createPool({ uri: server.url });
    for (const statement of barrierSchema('mysql')) await pool.query(statement);
    await pool.query('CREATE TABLE account (id INT PRIMARY KEY)');
    const holder = await pool.getConnection();
    for (const statement of [
      "XA START 'g-01'",
      'INSERT INTO account VALUES (1)',
      "XA END 'g-01'",
      "XA PREPARE 'g-01'",
    ]) {
      await holder.query(statement);
    }
    const branch = { transactionType: 'xa', gid: 'g', branchId: '01' };
    // Without the list of prepared ones this would be "unknown xid", and so a success.
    await expect(mysqlXa(pool).finish(branch, 'commit')).rejects.toThrow('XAER_NOTA');
    const finished = mysqlXa(pool).finish(branch, 'commit');
    holder.destroy();
    await finished;
    expect((await pool.query('SELECT id FROM account'))[0]).toEqual([{ id: 1 }]);
    await pool.end();
    await server.stop();
  });
});
