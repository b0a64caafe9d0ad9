// The barrier on MongoDB, with `mongodb`: needs a replica set, as transactions do.
//
// Source: dtm reference §10.3.

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
import type { Barrier } from './sql-barrier.ts';
import { checkTable, DEFAULT_TABLE } from './table.ts';

/** What is used of mongodb's ClientSession. */
export interface MongoSession {
  startTransaction(options?: { readonly writeConcern: { readonly w: 'majority' } }): void;
  commitTransaction(): Promise<unknown>;
  abortTransaction(): Promise<unknown>;
  endSession(): Promise<unknown>;
}
export interface MongoCollection {
  findOne(filter: object, options?: object): Promise<unknown>;
  insertOne(document: object, options?: object): Promise<unknown>;
  createIndex(
    keys: Readonly<Record<string, 1>>,
    options?: { readonly unique: boolean; readonly name: string },
  ): Promise<unknown>;
}
export interface MongoConnection<Session> {
  startSession(): Session;
  db(name: string): { collection(name: string): MongoCollection };
}

const DUPLICATE_KEY = 11_000;
/** A row that a fail-over of the replica set could take back would decide nothing. */
const DURABLE = { writeConcern: { w: 'majority' } } as const;
/** What a majority does not have yet may still be taken back; a secondary may be behind. */
const SETTLED = { readConcern: { level: 'majority' }, readPreference: 'primary' } as const;

function keyOf({ gid, branchId, op, barrierId }: BarrierRow) {
  return { gid, branch_id: branchId, op, barrier_id: barrierId };
}

function isDuplicateKey(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === DUPLICATE_KEY;
}

export class MongoBarrier<Session extends MongoSession> implements Barrier<Session> {
  readonly #client: MongoConnection<Session>;
  readonly #collection: MongoCollection;

  constructor(client: MongoConnection<Session>, table: string) {
    const [database = '', collection = 'barrier'] = checkTable(table).split('.');
    this.#client = client;
    this.#collection = client.db(database).collection(collection);
  }

  /** Creates the unique index without which two requests at once could both run. */
  async createIndex(): Promise<void> {
    const keys = { gid: 1, branch_id: 1, op: 1, barrier_id: 1 } as const;
    await this.#collection.createIndex(keys, { unique: true, name: 'uniq_barrier' });
  }

  async call<T>(
    branch: Branch,
    business: (session: Session) => Promise<T>,
  ): Promise<BarrierResult<T>> {
    const { origin, own } = barrierRows(branch);
    const session = this.#client.startSession();
    try {
      session.startTransaction(DURABLE);
      const result = await this.#run(session, { origin, own, op: branch.op }, business);
      try {
        await session.commitTransaction();
      } catch (error) {
        throw new CommitUnknownError('the commit of the local transaction failed', error);
      }
      return result;
    } finally {
      await session.endSession();
    }
  }

  async queryPrepared(branch: Branch): Promise<void> {
    const row = checkBackRow(branch);
    try {
      await this.#insert(row, undefined);
    } catch (error) {
      // The business committed between the look and the insert: its row is read below.
      if (!isDuplicateKey(error)) throw error;
    }
    const found = await this.#collection.findOne(keyOf(row), SETTLED);
    checkBackResult((found as Readonly<Record<string, unknown>> | null)?.['reason']);
  }

  async #run<T>(
    session: Session,
    rows: {
      readonly origin: BarrierRow | undefined;
      readonly own: BarrierRow;
      readonly op: string;
    },
    business: (session: Session) => Promise<T>,
  ): Promise<BarrierResult<T>> {
    try {
      const { origin, own, op } = rows;
      const originInserted = origin !== undefined && (await this.#insert(origin, session));
      const why = skipReason(op, { origin: originInserted, own: await this.#insert(own, session) });
      if (why !== undefined) return { kind: 'skipped', why };
      return { kind: 'done', value: await business(session) };
    } catch (error) {
      // Ending the session aborts as well: only the first error is of interest.
      await session.abortTransaction().catch(() => undefined);
      throw error;
    }
  }

  /** Looks first: a duplicate key would abort the whole transaction. */
  async #insert(row: BarrierRow, session: Session | undefined): Promise<boolean> {
    const found = await this.#collection.findOne(
      keyOf(row),
      session === undefined ? SETTLED : { session },
    );
    if (found !== null) return false;
    const { transactionType, reason } = row;
    const document = { trans_type: transactionType, ...keyOf(row), reason };
    await this.#collection.insertOne(document, session === undefined ? DURABLE : { session });
    return true;
  }
}

export function mongoBarrier<Session extends MongoSession>(
  client: MongoConnection<Session>,
  { table = DEFAULT_TABLE }: { readonly table?: string } = {},
): MongoBarrier<Session> {
  return new MongoBarrier(client, table);
}
