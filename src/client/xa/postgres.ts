// XA on PostgreSQL, with `pg`: prepared transactions. The server needs max_prepared_transactions > 0.

import { type PgConnection, type PgPool, PostgresSession } from '../barrier/postgres.ts';
import { type BarrierRow, xaRow } from '../barrier/rules.ts';
import { DEFAULT_TABLE } from '../barrier/table.ts';
import { CommitUnknownError, FailureError, UsageError } from '../errors.ts';
import { type XaBranchId, type XaResource, xidOf } from './resource.ts';

const XID_BYTES_MAX = 199;
const UNDEFINED_OBJECT = '42704';
/**
 * Who waits for the row waits for a first phase that runs, or that is prepared: the second phase needs
 * a connection too, which those who wait must not take away. They are called again.
 */
const LOCK_TIMEOUT = '2s';

function xidLiteral(branch: XaBranchId): string {
  const xid = xidOf(branch);
  if (Buffer.byteLength(xid) > XID_BYTES_MAX) {
    throw new UsageError(`PostgreSQL takes xids of ${XID_BYTES_MAX} bytes: "${xid}" is longer`);
  }
  // E'' has the same meaning whatever standard_conforming_strings says.
  return `E'${xid.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function isUnknownXid(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === UNDEFINED_OBJECT;
}

export class PostgresXaResource<Connection extends PgConnection> implements XaResource<Connection> {
  readonly #pool: PgPool<Connection>;
  readonly #table: string;

  constructor(pool: PgPool<Connection>, table: string) {
    this.#pool = pool;
    this.#table = table;
  }

  async prepare<T>(
    branch: XaBranchId,
    business: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    const xid = xidLiteral(branch);
    const connection = await this.#pool.connect();
    const session = new PostgresSession(connection, this.#table);
    let broken = true;
    try {
      await session.begin();
      try {
        if (!(await insertSoon(session, xaRow(branch, 'action')))) {
          throw new FailureError(`the branch ${xidOf(branch)} was executed or rolled back before`);
        }
        const value = await business(connection);
        const { command } = await connection.query(`PREPARE TRANSACTION ${xid}`);
        // As with COMMIT: a failed statement, hidden by the business, makes it a rollback.
        if (command === 'ROLLBACK') throw new CommitUnknownError('PostgreSQL did not prepare');
        broken = false;
        return value;
      } catch (error) {
        broken = await session.rollback().then(
          () => false,
          () => true,
        );
        throw error;
      }
    } finally {
      session.release(broken);
    }
  }

  async finish(branch: XaBranchId, decision: 'commit' | 'rollback'): Promise<void> {
    const connection = await this.#pool.connect();
    const session = new PostgresSession(connection, this.#table);
    const verb = decision === 'commit' ? 'COMMIT' : 'ROLLBACK';
    let broken = true;
    try {
      await connection.query(`${verb} PREPARED ${xidLiteral(branch)}`).catch((error: unknown) => {
        if (!isUnknownXid(error)) throw error;
      });
      if (decision === 'rollback') await blockLatePhase(session, branch);
      broken = false;
    } finally {
      session.release(broken);
    }
  }
}

/** The limit is for this statement alone: the business keeps the one that it has. */
async function insertSoon<Connection extends PgConnection>(
  session: PostgresSession<Connection>,
  row: BarrierRow,
): Promise<boolean> {
  const { connection } = session;
  const { rows } = await connection.query("SELECT current_setting('lock_timeout') AS own");
  const limit = (value: unknown) =>
    connection.query("SELECT set_config('lock_timeout', $1, true)", [value]);
  await limit(LOCK_TIMEOUT);
  const inserted = await session.insert(row);
  await limit(rows[0]?.['own']);
  return inserted;
}

/** A first phase that comes after this finds the row and stops. */
async function blockLatePhase<Connection extends PgConnection>(
  session: PostgresSession<Connection>,
  branch: XaBranchId,
): Promise<void> {
  await session.begin();
  await session.connection.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
  await session.insert(xaRow(branch, 'rollback'));
  await session.commit();
}

export function postgresXa<Connection extends PgConnection = PgConnection>(
  pool: PgPool<NoInfer<Connection>>,
  { table = DEFAULT_TABLE }: { readonly table?: string } = {},
): XaResource<Connection> {
  return new PostgresXaResource(pool, table);
}
