// The barrier on SQLite, with better-sqlite3 or anything of the same interface (libsql). Such a
// database is one connection without waiting: the business must not wait either, or statements of
// others would join its transaction.

import type { Branch } from '../branch.ts';
import { UsageError } from '../errors.ts';
import {
  type BarrierResult,
  type BarrierRow,
  barrierRows,
  checkBackResult,
  checkBackRow,
  skipReason,
} from './rules.ts';
import {
  type BarrierStatements,
  barrierStatements,
  defaultTable,
  insertValues,
  keyValues,
} from './table.ts';

export interface SqliteDatabase {
  readonly inTransaction: boolean;
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
}
export interface SqliteStatement {
  run(...values: unknown[]): { readonly changes: number | bigint };
  get(...values: unknown[]): unknown;
}

export class SqliteBarrier<Database extends SqliteDatabase> {
  readonly #database: Database;
  readonly #statements: BarrierStatements;

  constructor(database: Database, table: string) {
    this.#database = database;
    this.#statements = barrierStatements('sqlite', table);
  }

  /** Runs `business` at most once for this branch and op, in one transaction with the barrier. */
  call<T>(branch: Branch, business: (database: Database) => T): BarrierResult<T> {
    const { origin, own } = barrierRows(branch);
    if (this.#database.inTransaction) throw new UsageError('a transaction is open already');
    // Takes the write lock at once: two barriers cannot both read before either writes.
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const originInserted = origin !== undefined && this.#insert(origin);
      const inserted = { origin: originInserted, own: this.#insert(own) };
      const why = skipReason(branch.op, inserted);
      const result: BarrierResult<T> =
        why === undefined
          ? { kind: 'done', value: notWaiting(business(this.#database)) }
          : { kind: 'skipped', why };
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      rollBack(this.#database);
      throw error;
    }
  }

  /** Answers a message's check-back: throws a FailureError when the transaction did not commit. */
  queryPrepared(branch: Branch): void {
    const row = checkBackRow(branch);
    this.#insert(row);
    const found = this.#database.prepare(this.#statements.selectReason).get(...keyValues(row));
    checkBackResult((found as Readonly<Record<string, unknown>> | undefined)?.['reason']);
  }

  #insert(row: BarrierRow): boolean {
    const { changes } = this.#database.prepare(this.#statements.insert).run(...insertValues(row));
    return Number(changes) === 1;
  }
}

/** Some errors have ended the transaction already. */
function rollBack(database: SqliteDatabase): void {
  if (database.inTransaction) database.exec('ROLLBACK');
}

function notWaiting<T>(value: T): T {
  if (typeof value === 'object' && value !== null && 'then' in value) {
    throw new UsageError('the business of an SQLite barrier must not return a promise');
  }
  return value;
}

export function sqliteBarrier<Database extends SqliteDatabase>(
  database: Database,
  { table = defaultTable('sqlite') }: { readonly table?: string } = {},
): SqliteBarrier<Database> {
  return new SqliteBarrier(database, table);
}
