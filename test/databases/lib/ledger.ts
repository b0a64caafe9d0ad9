// Accounts in a real database, and what the tests of whole clusters ask of it: the money, and what is
// still prepared.

import { createPool, type PoolConnection } from 'mysql2/promise';
import pg from 'pg';
import {
  type Barrier,
  barrierSchema,
  mysqlBarrier,
  mysqlXa,
  postgresBarrier,
  postgresXa,
  type XaResource,
} from '../../../src/client/index.ts';
import type { SqlServer } from '../index.ts';

export interface Teller {
  query(sql: string): Promise<unknown>;
}
type Row = Readonly<Record<string, unknown>>;

export interface Ledger {
  readonly xa: XaResource<Teller>;
  readonly barrier: Barrier<Teller>;
  query(sql: string): Promise<readonly Row[]>;
  /** The ids of the transactions that are prepared and not ended. */
  prepared(): Promise<readonly string[]>;
  close(): Promise<void>;
}

function mariaLedger(url: string): Ledger {
  const pool = createPool({ uri: url, connectionLimit: 16 });
  const query = async (sql: string) => (await pool.query(sql))[0] as Row[];
  return {
    xa: mysqlXa<PoolConnection>(pool),
    barrier: mysqlBarrier<PoolConnection>(pool),
    query,
    prepared: async () => (await query('XA RECOVER')).map(({ data }) => String(data)),
    close: () => pool.end(),
  };
}

function postgresLedger(url: string): Ledger {
  const pool = new pg.Pool({ connectionString: url, max: 16 });
  // The server's farewell may arrive after the pool has let go of the connection.
  pool.on('error', () => undefined);
  const query = async (sql: string) => (await pool.query<Row>(sql)).rows;
  return {
    xa: postgresXa<pg.PoolClient>(pool),
    barrier: postgresBarrier<pg.PoolClient>(pool),
    query,
    prepared: async () =>
      (await query('SELECT gid FROM pg_prepared_xacts')).map(({ gid }) => String(gid)),
    close: () => pool.end(),
  };
}

export function connectLedger({ kind, url }: Pick<SqlServer, 'kind' | 'url'>): Ledger {
  return kind === 'mariadb' ? mariaLedger(url) : postgresLedger(url);
}

/** With the tables, and `accounts` accounts of 100 each. */
export async function openLedger(server: SqlServer, accounts: number): Promise<Ledger> {
  const ledger = connectLedger(server);
  const dialect = server.kind === 'mariadb' ? 'mysql' : 'postgres';
  for (const statement of barrierSchema(dialect)) await ledger.query(statement);
  await ledger.query('CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL)');
  for (let id = 1; id <= accounts; id += 1) {
    await ledger.query(`INSERT INTO account VALUES (${id}, 100)`);
  }
  return ledger;
}

export async function balanceOf(ledger: Ledger, id: number): Promise<number> {
  const [row] = await ledger.query(`SELECT balance FROM account WHERE id = ${id}`);
  return Number(row?.['balance']);
}

export async function moneyIn(ledger: Ledger): Promise<number> {
  const [row] = await ledger.query('SELECT SUM(balance) AS money FROM account');
  return Number(row?.['money']);
}

export async function add(teller: Teller, id: number, amount: number): Promise<void> {
  await teller.query(`UPDATE account SET balance = balance + (${amount}) WHERE id = ${id}`);
}
