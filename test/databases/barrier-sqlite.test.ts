// The barrier on SQLite with libsql, whose interface is better-sqlite3's (dtm reference §10.1).

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  Branch,
  barrierSchema,
  FailureError,
  type SqliteBarrier,
  sqliteBarrier,
} from '../../src/client/index.ts';

type Connection = InstanceType<typeof Database>;

let folder: string;
let database: Connection;
let barrier: SqliteBarrier<Connection>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'assent-sqlite-'));
  database = new Database(join(folder, 'bank.db'));
  for (const statement of barrierSchema('sqlite')) database.exec(statement);
  database.exec('CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)');
  database.exec('INSERT INTO account VALUES (1, 100)');
  barrier = sqliteBarrier(database);
});
afterEach(async () => {
  database.close();
  await rm(folder, { recursive: true, force: true });
});

function branch(op: string, gid = "g'1"): Branch {
  const transactionType = op === 'msg' ? 'msg' : 'tcc';
  return new Branch({ gid, transactionType, branchId: op === 'msg' ? '00' : '01', op });
}
const add = (amount: number) => (connection: Connection) => {
  connection.prepare('UPDATE account SET balance = balance + ? WHERE id = 1').run(amount);
};
const balance = () =>
  (database.prepare('SELECT balance FROM account').get() as { balance: number }).balance;

it('runs an action once, and compensates it once', () => {
  expect(barrier.call(branch('try'), add(-30)).kind).toBe('done');
  expect(barrier.call(branch('try'), add(-30))).toEqual({ kind: 'skipped', why: 'repeated' });
  expect(balance()).toBe(70);
  expect(barrier.call(branch('cancel'), add(30)).kind).toBe('done');
  expect(barrier.call(branch('cancel'), add(30)).kind).toBe('skipped');
  expect(balance()).toBe(100);
});

it('compensates nothing where nothing ran, and stops the late action', () => {
  const empty = barrier.call(branch('compensate'), add(30));
  expect(empty).toEqual({ kind: 'skipped', why: 'nothing-to-compensate' });
  expect(barrier.call(branch('action'), add(-30)).kind).toBe('skipped');
  expect(balance()).toBe(100);
});

it('takes the row back when the business fails, or tries to wait', () => {
  const failing = () =>
    barrier.call(branch('action'), (connection) => {
      add(-30)(connection);
      throw new FailureError('poor');
    });
  expect(failing).toThrow('poor');
  const waiting = () => barrier.call(branch('action'), () => Promise.resolve());
  expect(waiting).toThrow('must not return a promise');
  expect(database.inTransaction).toBe(false);
  expect(barrier.call(branch('action'), add(-30)).kind).toBe('done');
  expect(balance()).toBe(70);
});

it('refuses to join a transaction that is open', () => {
  database.exec('BEGIN');
  expect(() => barrier.call(branch('action'), add(-30))).toThrow('open already');
  database.exec('ROLLBACK');
});

it('answers a check-back by what was committed, and settles what was not', () => {
  barrier.call(branch('msg'), add(-30));
  barrier.queryPrepared(branch('msg'));
  expect(() => barrier.queryPrepared(branch('msg', 'g2'))).toThrow(FailureError);
  expect(() => barrier.call(branch('msg', 'g2'), add(-30))).toThrow('refused before');
  expect(balance()).toBe(70);
});

it('is shared by two connections of one file', () => {
  const other = new Database(join(folder, 'bank.db'));
  expect(barrier.call(branch('action'), add(-30)).kind).toBe('done');
  expect(sqliteBarrier(other).call(branch('action'), add(-30)).kind).toBe('skipped');
  other.close();
  expect(balance()).toBe(70);
});
