// The barrier on MySQL and MariaDB, with `mysql2/promise`.

import { CommitUnknownError, UsageError } from '../errors.ts';
import type { BarrierRow } from './rules.ts';
import { type Barrier, SqlBarrier, type SqlSession } from './sql-barrier.ts';
import { barrierStatements, DEFAULT_TABLE, insertValues, keyValues } from './table.ts';

/** What is used of mysql2's PoolConnection. */
export interface MysqlConnection {
  query(sql: string, values?: unknown[]): Promise<[unknown, unknown]>;
  release(): void;
  destroy(): void;
}
export interface MysqlPool<Connection> {
  getConnection(): Promise<Connection>;
}

/** A flag in the status that the server sends with each answer. */
const IN_TRANSACTION = 1;

function numberOf(header: unknown, key: string): number | undefined {
  const value = (header as Readonly<Record<string, unknown>> | null)?.[key];
  return typeof value === 'number' ? value : undefined;
}

/** MySQL compares texts as if they were padded with blanks: such an id would be a repeat of another. */
function checkBlanks({ gid, branchId }: BarrierRow): void {
  if (!gid.endsWith(' ') && !branchId.endsWith(' ')) return;
  throw new UsageError('a barrier on MySQL takes no gids and no branch ids that end in a blank');
}

export class MysqlSession<Connection extends MysqlConnection> implements SqlSession<Connection> {
  readonly connection: Connection;
  readonly #statements;

  constructor(connection: Connection, table: string) {
    this.connection = connection;
    this.#statements = barrierStatements('mysql', table);
  }

  async begin(): Promise<void> {
    await this.connection.query('START TRANSACTION');
  }

  async insert(row: BarrierRow): Promise<boolean> {
    checkBlanks(row);
    const [header] = await this.connection.query(this.#statements.insert, insertValues(row));
    return numberOf(header, 'affectedRows') === 1;
  }

  async readReason(row: BarrierRow): Promise<unknown> {
    const [rows] = await this.connection.query(this.#statements.selectReason, keyValues(row));
    const [first] = rows as readonly Readonly<Record<string, unknown>>[];
    return first?.['reason'];
  }

  /**
   * A deadlock whose error the business hid, or a statement that commits implicitly, has ended the
   * transaction: the barrier row may be lost while later statements are kept.
   */
  async commit(): Promise<void> {
    const [header] = await this.connection.query('DO 0');
    const status = numberOf(header, 'serverStatus');
    if (status !== undefined && (status & IN_TRANSACTION) === 0) {
      throw new CommitUnknownError('the transaction had ended before the business did');
    }
    await this.connection.query('COMMIT');
  }

  async rollback(): Promise<void> {
    await this.connection.query('ROLLBACK');
  }

  release(broken: boolean): void {
    if (broken) this.connection.destroy();
    else this.connection.release();
  }
}

/** `mysqlBarrier<PoolConnection>(pool)` gives the business mysql2's own type. */
export function mysqlBarrier<Connection extends MysqlConnection = MysqlConnection>(
  pool: MysqlPool<NoInfer<Connection>>,
  { table = DEFAULT_TABLE }: { readonly table?: string } = {},
): Barrier<Connection> {
  return new SqlBarrier(async () => new MysqlSession(await pool.getConnection(), table));
}
