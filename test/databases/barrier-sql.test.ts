// The barrier against real databases (dtm reference §10.1): one suite, every SQL server.

import { createPool, type Pool as MysqlPoolOf, type PoolConnection } from 'mysql2/promise';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Barrier,
  Branch,
  barrierSchema,
  FailureError,
  mysqlBarrier,
  postgresBarrier,
} from '../../src/client/index.ts';
import { type Skipped, type SqlServer, startMariaDb, startPostgreSql } from './index.ts';

/** What the suite needs of a database, whatever its driver. */
interface Bench {
  readonly barrier: Barrier<Teller>;
  query(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  close(): Promise<void>;
}
interface Teller {
  query(sql: string): Promise<unknown>;
}

async function mariaBench(server: SqlServer): Promise<Bench> {
  const pool: MysqlPoolOf = createPool({ uri: server.url, connectionLimit: 8 });
  for (const statement of barrierSchema('mysql')) await pool.query(statement);
  const barrier = mysqlBarrier<PoolConnection>(pool);
  return {
    barrier,
    query: async (sql) => (await pool.query(sql))[0] as Readonly<Record<string, unknown>>[],
    close: () => pool.end(),
  };
}

async function postgresBench(server: SqlServer): Promise<Bench> {
  const pool = new pg.Pool({ connectionString: server.url, max: 8 });
  // The server's farewell may arrive after the pool has let go of the connection.
  pool.on('error', () => undefined);
  for (const statement of barrierSchema('postgres')) await pool.query(statement);
  return {
    barrier: postgresBarrier<pg.PoolClient>(pool),
    query: async (sql) => (await pool.query<Readonly<Record<string, unknown>>>(sql)).rows,
    close: () => pool.end(),
  };
}

let gids = 0;
function branch(op: string, gid: string, transactionType = 'tcc'): Branch {
  return new Branch({ gid, transactionType, branchId: op === 'msg' ? '00' : '01', op });
}

describe.each([
  ['MariaDB', startMariaDb, mariaBench],
  ['PostgreSQL', startPostgreSql, postgresBench],
])('the barrier on %s', (name, start, benchOf) => {
  let server: SqlServer | Skipped;
  let bench: Bench;
  let gid: string;

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
    gid = `g'${gids}"\\`;
  });

  const add = (amount: number) => async (teller: Teller) => {
    await teller.query(`UPDATE account SET balance = balance + (${amount}) WHERE id = 1`);
  };
  const balance = async () => (await bench.query('SELECT balance FROM account'))[0]?.['balance'];
  const skipped = (why: string) => ({ kind: 'skipped', why });

  it('runs an action once, however often it is asked for', async () => {
    const first = await bench.barrier.call(branch('try', gid), add(-30));
    expect(first.kind).toBe('done');
    const again = await bench.barrier.call(branch('try', gid), add(-30));
    expect(again).toEqual(skipped('repeated'));
    expect(await balance()).toBe(70);
  });

  it('compensates what was done, once', async () => {
    await bench.barrier.call(branch('try', gid), add(-30));
    await bench.barrier.call(branch('cancel', gid), add(30));
    const again = await bench.barrier.call(branch('cancel', gid), add(30));
    expect(again).toEqual(skipped('repeated'));
    expect(await balance()).toBe(100);
  });

  it.each([
    ['cancel', 'try'],
    ['compensate', 'action'],
    ['rollback', 'action'],
  ])('%s without %s does nothing, and stops the late one', async (undo, action) => {
    const empty = await bench.barrier.call(branch(undo, gid), add(30));
    expect(empty).toEqual(skipped('nothing-to-compensate'));
    const late = await bench.barrier.call(branch(action, gid), add(-30));
    expect(late).toEqual(skipped('repeated'));
    expect(await balance()).toBe(100);
  });

  it('takes the row back when the business fails, so that a repeat runs', async () => {
    const failing = bench.barrier.call(branch('action', gid), async (teller) => {
      await add(-30)(teller);
      throw new FailureError('poor');
    });
    await expect(failing).rejects.toThrow('poor');
    expect(await balance()).toBe(100);
    expect((await bench.barrier.call(branch('action', gid), add(-30))).kind).toBe('done');
  });

  it('counts the uses within one request', async () => {
    const request = branch('action', gid);
    await bench.barrier.call(request, add(-10));
    await bench.barrier.call(request, add(-10));
    const repeat = branch('action', gid);
    await bench.barrier.call(repeat, add(-10));
    await bench.barrier.call(repeat, add(-10));
    expect(await balance()).toBe(80);
  });

  it('tells gids apart that differ in case only', async () => {
    await bench.barrier.call(branch('try', `${gid}a`), add(-10));
    await bench.barrier.call(branch('try', `${gid}A`), add(-10));
    expect(await balance()).toBe(80);
  });

  it('lets one of many that come at once run', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, () => bench.barrier.call(branch('action', gid), add(-10))),
    );
    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await balance()).toBe(90);
  });

  it('decides a race of action and compensation without losing money', async () => {
    await Promise.allSettled([
      bench.barrier.call(branch('compensate', gid), add(30)),
      bench.barrier.call(branch('action', gid), add(-30)),
      bench.barrier.call(branch('compensate', gid), add(30)),
    ]);
    // As the coordinator does: until it is answered.
    await bench.barrier.call(branch('compensate', gid), add(30));
    expect(await balance()).toBe(100);
  });

  it('answers a check-back by what was committed', async () => {
    const message = branch('msg', gid, 'msg');
    await bench.barrier.call(message, add(-30));
    await bench.barrier.queryPrepared(branch('msg', gid, 'msg'));
    await bench.barrier.queryPrepared(branch('msg', gid, 'msg'));
  });

  it('settles by a check-back that a message may no longer commit', async () => {
    const check = () => bench.barrier.queryPrepared(branch('msg', gid, 'msg'));
    await expect(check()).rejects.toBeInstanceOf(FailureError);
    const late = bench.barrier.call(branch('msg', gid, 'msg'), add(-30));
    await expect(late).rejects.toMatchObject({ code: 'DUPLICATE' });
    await expect(check()).rejects.toBeInstanceOf(FailureError);
    expect(await balance()).toBe(100);
  });

  it('makes a check-back wait for the transaction that is under way', async () => {
    let checked: Promise<void> | undefined;
    let answered = false;
    await bench.barrier.call(branch('msg', gid, 'msg'), async (teller) => {
      await add(-30)(teller);
      checked = bench.barrier.queryPrepared(branch('msg', gid, 'msg')).then(() => {
        answered = true;
      });
      // The check-back is at the server, behind this row, once another query has been answered twice.
      for (let turn = 0; turn < 5; turn += 1) await bench.query('SELECT 1');
      expect(answered).toBe(false);
    });
    await checked;
    expect(answered).toBe(true);
  });

  it('does not call a transaction committed that a hidden error has ended', async () => {
    const run = bench.barrier.call(branch('action', gid), async (teller) => {
      await add(-30)(teller);
      if (name === 'MariaDB') await teller.query('ROLLBACK');
      else await teller.query('SELECT * FROM nowhere').catch(() => undefined);
    });
    await expect(run).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' });
    expect(await balance()).toBe(100);
  });

  it('refuses a gid that the column would cut off', async () => {
    const run = bench.barrier.call(branch('action', 'x'.repeat(129)), add(-30));
    await expect(run).rejects.toMatchObject({ code: 'USAGE' });
  });
});
