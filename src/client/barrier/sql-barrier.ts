// The barrier over a database with transactions and an asynchronous driver: the rows and the business
// commit together, or not at all.

import type { Branch } from '../branch.ts';
import { CommitUnknownError } from '../errors.ts';
import {
  type BarrierResult,
  type BarrierRow,
  barrierRows,
  checkBackResult,
  checkBackRow,
  skipReason,
} from './rules.ts';

/** One connection, for one transaction at a time. */
export interface SqlSession<Connection> {
  readonly connection: Connection;
  begin(): Promise<void>;
  /** Whether the row was inserted; waits for a transaction that has inserted it and is still open. */
  insert(row: BarrierRow): Promise<boolean>;
  readReason(row: BarrierRow): Promise<unknown>;
  /** Throws when the transaction is certainly, or possibly, not committed. */
  commit(): Promise<void>;
  rollback(): Promise<void>;
  /** `broken`: the connection is not to be used again. */
  release(broken: boolean): void;
}

export interface Barrier<Connection> {
  /** Runs `business` at most once for this branch and op, in one transaction with the barrier. */
  call<T>(
    branch: Branch,
    business: (connection: Connection) => Promise<T>,
  ): Promise<BarrierResult<T>>;
  /** Answers a message's check-back: a FailureError when the local transaction did not commit. */
  queryPrepared(branch: Branch): Promise<void>;
}

export class SqlBarrier<Connection> implements Barrier<Connection> {
  readonly #connect: () => Promise<SqlSession<Connection>>;

  constructor(connect: () => Promise<SqlSession<Connection>>) {
    this.#connect = connect;
  }

  async call<T>(
    branch: Branch,
    business: (connection: Connection) => Promise<T>,
  ): Promise<BarrierResult<T>> {
    const { origin, own } = barrierRows(branch);
    return await inTransaction(await this.#connect(), async (session) => {
      const originInserted = origin !== undefined && (await session.insert(origin));
      const inserted = { origin: originInserted, own: await session.insert(own) };
      const why = skipReason(branch.op, inserted);
      if (why !== undefined) return { kind: 'skipped', why };
      return { kind: 'done', value: await business(session.connection) };
    });
  }

  async queryPrepared(branch: Branch): Promise<void> {
    const row = checkBackRow(branch);
    const session = await this.#connect();
    let broken = true;
    try {
      // Not in one transaction: the read must see what a concurrent one has committed.
      await session.insert(row);
      const reason = await session.readReason(row);
      broken = false;
      checkBackResult(reason);
    } finally {
      session.release(broken);
    }
  }
}

/** Commits what `work` did, or rolls it back and throws what it threw. */
async function inTransaction<Connection, T>(
  session: SqlSession<Connection>,
  work: (session: SqlSession<Connection>) => Promise<T>,
): Promise<T> {
  let broken = true;
  try {
    await session.begin();
    let value: T;
    try {
      value = await work(session);
    } catch (error) {
      // A connection that cannot roll back is closed, which rolls back as well.
      broken = await session.rollback().then(
        () => false,
        () => true,
      );
      throw error;
    }
    try {
      await session.commit();
    } catch (error) {
      if (error instanceof CommitUnknownError) throw error;
      throw new CommitUnknownError('the commit of the local transaction failed', error);
    }
    broken = false;
    return value;
  } finally {
    session.release(broken);
  }
}
