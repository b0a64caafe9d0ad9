// XA on MySQL and MariaDB, with `mysql2/promise`.
//
// Invariant: "unknown xid" counts as done only when the database does not list the xid as prepared. A
// prepared transaction stays with its connection until the server has noticed that the connection is
// gone; until then another connection's XA COMMIT is answered with the very same error.

import { type MysqlConnection, type MysqlPool, MysqlSession } from '../barrier/mysql.ts';
import { xaRow } from '../barrier/rules.ts';
import { DEFAULT_TABLE } from '../barrier/table.ts';
import { FailureError, UsageError } from '../errors.ts';
import { type XaBranchId, type XaResource, xidOf } from './resource.ts';

const XID_BYTES_MAX = 64;
const UNKNOWN_XID = 1397;
const ATTACHED_RETRIES = 20;
const ATTACHED_PAUSE_MS = 25;

/** In hexadecimal: no quoting, the same bytes as the text. */
function xidLiteral(branch: XaBranchId): string {
  const bytes = Buffer.from(xidOf(branch));
  if (bytes.length > XID_BYTES_MAX) {
    const limit = `MySQL takes ${XID_BYTES_MAX} bytes of gid and branch id together`;
    throw new UsageError(`${limit}: "${xidOf(branch)}" has ${bytes.length}`);
  }
  return `X'${bytes.toString('hex')}'`;
}

function isUnknownXid(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && error.errno === UNKNOWN_XID;
}

export class MysqlXaResource<Connection extends MysqlConnection> implements XaResource<Connection> {
  readonly #pool: MysqlPool<Connection>;
  readonly #table: string;

  constructor(pool: MysqlPool<Connection>, table: string) {
    this.#pool = pool;
    this.#table = table;
  }

  async prepare<T>(
    branch: XaBranchId,
    business: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    const xid = xidLiteral(branch);
    const connection = await this.#pool.getConnection();
    const session = new MysqlSession(connection, this.#table);
    try {
      await connection.query(`XA START ${xid}`);
      if (!(await session.insert(xaRow(branch, 'action')))) {
        throw new FailureError(`the branch ${xidOf(branch)} was executed or rolled back before`);
      }
      const value = await business(connection);
      await connection.query(`XA END ${xid}`);
      await connection.query(`XA PREPARE ${xid}`);
      return value;
    } finally {
      // Closing gives a prepared transaction free, and rolls back one that is not prepared.
      connection.destroy();
    }
  }

  async finish(branch: XaBranchId, decision: 'commit' | 'rollback'): Promise<void> {
    const connection = await this.#pool.getConnection();
    const session = new MysqlSession(connection, this.#table);
    let broken = true;
    try {
      await this.#end(connection, branch, decision);
      // A first phase that comes after this finds the row and stops.
      if (decision === 'rollback') await session.insert(xaRow(branch, 'rollback'));
      broken = false;
    } finally {
      session.release(broken);
    }
  }

  async #end(
    connection: Connection,
    branch: XaBranchId,
    decision: 'commit' | 'rollback',
  ): Promise<void> {
    const statement = `XA ${decision === 'commit' ? 'COMMIT' : 'ROLLBACK'} ${xidLiteral(branch)}`;
    for (let tried = 1; ; tried += 1) {
      try {
        await connection.query(statement);
        return;
      } catch (error) {
        if (!isUnknownXid(error)) throw error;
        if (!(await stillPrepared(connection, xidOf(branch)))) return;
        if (tried > ATTACHED_RETRIES) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, ATTACHED_PAUSE_MS));
    }
  }
}

async function stillPrepared(connection: MysqlConnection, xid: string): Promise<boolean> {
  const bytes = Buffer.from(xid);
  try {
    const [rows] = await connection.query('XA RECOVER');
    return (rows as readonly Readonly<Record<string, unknown>>[]).some(({ data }) =>
      Buffer.isBuffer(data) ? data.equals(bytes) : data === xid,
    );
  } catch (error) {
    if (await detachesOnPrepare(connection)) return false;
    throw new UsageError('XA needs the privilege XA_RECOVER_ADMIN: the xid is unknown here', error);
  }
}

/** MySQL from 8.0.29: a prepared transaction belongs to no connection, so an unknown xid is unknown. */
async function detachesOnPrepare(connection: MysqlConnection): Promise<boolean> {
  try {
    const [rows] = await connection.query('SELECT @@xa_detach_on_prepare AS detaches');
    const [first] = rows as readonly Readonly<Record<string, unknown>>[];
    return first?.['detaches'] === 1;
  } catch {
    // No such variable: an older MySQL, or MariaDB.
    return false;
  }
}

export function mysqlXa<Connection extends MysqlConnection = MysqlConnection>(
  pool: MysqlPool<NoInfer<Connection>>,
  { table = DEFAULT_TABLE }: { readonly table?: string } = {},
): XaResource<Connection> {
  return new MysqlXaResource(pool, table);
}
