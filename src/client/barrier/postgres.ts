// The barrier on PostgreSQL, with `pg`.

import { CommitUnknownError } from '../errors.ts';
import type { BarrierRow } from './rules.ts';
import { type Barrier, SqlBarrier, type SqlSession } from './sql-barrier.ts';
import { barrierStatements, DEFAULT_TABLE, insertValues, keyValues } from './table.ts';

/** What is used of pg's PoolClient. */
export interface PgConnection {
  query(text: string, values?: unknown[]): Promise<PgResult>;
  release(destroy?: boolean): void;
}
export interface PgResult {
  readonly command: string;
  readonly rowCount: number | null;
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}
export interface PgPool<Connection> {
  connect(): Promise<Connection>;
}

export class PostgresSession<Connection extends PgConnection> implements SqlSession<Connection> {
  readonly connection: Connection;
  readonly #statements;

  constructor(connection: Connection, table: string) {
    this.connection = connection;
    this.#statements = barrierStatements('postgres', table);
  }

  async begin(): Promise<void> {
    await this.connection.query('BEGIN');
  }

  async insert(row: BarrierRow): Promise<boolean> {
    const { rowCount } = await this.connection.query(this.#statements.insert, insertValues(row));
    return rowCount === 1;
  }

  async readReason(row: BarrierRow): Promise<unknown> {
    const { rows } = await this.connection.query(this.#statements.selectReason, keyValues(row));
    return rows[0]?.['reason'];
  }

  /** After a statement that failed, and whose error the business hid, COMMIT answers ROLLBACK. */
  async commit(): Promise<void> {
    const { command } = await this.connection.query('COMMIT');
    if (command === 'COMMIT') return;
    throw new CommitUnknownError(
      'a statement of the business had failed: PostgreSQL rolled the transaction back',
    );
  }

  async rollback(): Promise<void> {
    await this.connection.query('ROLLBACK');
  }

  release(broken: boolean): void {
    this.connection.release(broken);
  }
}

/** `postgresBarrier<PoolClient>(pool)` gives the business pg's own type. */
export function postgresBarrier<Connection extends PgConnection = PgConnection>(
  pool: PgPool<NoInfer<Connection>>,
  { table = DEFAULT_TABLE }: { readonly table?: string } = {},
): Barrier<Connection> {
  return new SqlBarrier(async () => new PostgresSession(await pool.connect(), table));
}
