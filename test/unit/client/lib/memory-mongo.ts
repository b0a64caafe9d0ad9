// The part of MongoDB that the barrier relies on, in memory: documents with one unique index,
// transactions that read their snapshot, write conflicts, and single writes that wait for an open
// transaction. Source: MongoDB's manual, "Transactions" and "Production considerations".

import type { MongoCollection, MongoConnection } from '../../../../src/client/barrier/mongodb.ts';

type Document = Readonly<Record<string, unknown>>;

const UNIQUE = ['gid', 'branch_id', 'op', 'barrier_id', 'owner'] as const;

function keyOf(document: Document): string {
  return JSON.stringify(UNIQUE.map((field) => document[field] ?? null));
}

class MongoError extends Error {
  readonly code: number;
  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

export class MemorySession {
  readonly #server: MemoryMongo;
  snapshot: ReadonlyMap<string, Document> | undefined;
  readonly writes = new Map<string, Document>();
  ended: Promise<void> = Promise.resolve();
  #end: () => void = () => undefined;

  constructor(server: MemoryMongo) {
    this.#server = server;
  }

  startTransaction(): void {
    this.snapshot = new Map(this.#server.committed);
    this.#server.open.add(this);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async commitTransaction(): Promise<void> {
    await this.#server.failure('commit');
    if (this.snapshot === undefined) throw new MongoError('no transaction', 251);
    for (const [key, document] of this.writes) this.#server.committed.set(key, document);
    this.#finish();
  }

  async abortTransaction(): Promise<void> {
    await Promise.resolve();
    this.#finish();
  }

  async endSession(): Promise<void> {
    await this.abortTransaction();
  }

  #finish(): void {
    this.snapshot = undefined;
    this.writes.clear();
    this.#server.open.delete(this);
    this.#end();
  }
}

export class MemoryMongo implements MongoConnection<MemorySession> {
  readonly committed = new Map<string, Document>();
  readonly open = new Set<MemorySession>();
  readonly indexes: object[] = [];
  /** The options of every findOne. */
  readonly reads: object[] = [];
  /** Rejects to make the named act fail. */
  failure: (act: 'commit') => Promise<void> = () => Promise.resolve();

  startSession(): MemorySession {
    return new MemorySession(this);
  }

  db(): { collection(name: string): MongoCollection } {
    return { collection: () => this.#collection() };
  }

  /** As an update with the session of the business. */
  add(session: MemorySession, owner: string, amount: number): void {
    const key = keyOf({ owner });
    const found = session.writes.get(key) ?? session.snapshot?.get(key);
    this.#write(session, { owner, balance: Number(found?.['balance'] ?? 0) + amount });
  }

  balance(owner: string): number {
    return Number(this.committed.get(keyOf({ owner }))?.['balance'] ?? 0);
  }

  #collection(): MongoCollection {
    return {
      createIndex: async (keys, options) => {
        this.indexes.push({ keys, ...options });
        await Promise.resolve();
      },
      findOne: async (filter, options) => {
        await Promise.resolve();
        const session = sessionOf(options);
        const key = keyOf(filter as Document);
        this.reads.push(options ?? {});
        if (session === undefined) return this.committed.get(key) ?? null;
        return session.writes.get(key) ?? session.snapshot?.get(key) ?? null;
      },
      insertOne: async (document, options) => {
        await Promise.resolve();
        const session = sessionOf(options);
        if (session === undefined) {
          await this.#insertAlone(document as Document);
          return;
        }
        const key = keyOf(document as Document);
        if (session.writes.has(key) || session.snapshot?.has(key) === true) throw duplicate();
        this.#write(session, document as Document);
      },
    };
  }

  async #insertAlone(document: Document): Promise<void> {
    const key = keyOf(document);
    for (;;) {
      const holder = [...this.open].find(({ writes }) => writes.has(key));
      if (holder === undefined) break;
      await holder.ended;
    }
    if (this.committed.has(key)) throw duplicate();
    this.committed.set(key, document);
  }

  #write(session: MemorySession, document: Document): void {
    const key = keyOf(document);
    const taken = [...this.open].some((other) => other !== session && other.writes.has(key));
    const changed = this.committed.get(key) !== session.snapshot?.get(key);
    if (taken || changed) throw new MongoError('WriteConflict', 112);
    session.writes.set(key, document);
  }
}

function sessionOf(options: object | undefined): MemorySession | undefined {
  const session = options !== undefined && 'session' in options ? options.session : undefined;
  return session instanceof MemorySession ? session : undefined;
}

function duplicate(): MongoError {
  return new MongoError('E11000 duplicate key', 11_000);
}
