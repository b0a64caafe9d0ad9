// The money of the scenarios in real databases: the schema that dtm's barriers expect, two accounts
// per scenario, and what is found there afterwards. Also finds prepared XA transactions left behind.

import { Redis } from 'ioredis';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { createConnection } from 'mysql2/promise';
import { Pool } from 'pg';
import type { RedisServer, Skipped, SqlServer } from '../databases/index.ts';
import { startMariaDb, startPostgreSql, startRedis } from '../databases/index.ts';
import type { Language } from './toolchains.ts';

const OPENING_BALANCE = 100;
const AMOUNT = 30;
const SIDES = ['out', 'in'] as const;

const BANK_TABLES = [
  'create table assent_bank.account (id varchar(128) primary key, balance bigint not null, trading bigint not null)',
  'create table assent_bank.ledger (cell varchar(128) not null, side varchar(16) not null, op varchar(16) not null)',
];

// dtm reference §10.1.
const BARRIER_COLUMNS = [
  "trans_type varchar(45) default ''",
  "gid varchar(128) default ''",
  "branch_id varchar(128) default ''",
  "op varchar(45) default ''",
  "barrier_id varchar(45) default ''",
  "reason varchar(45) default ''",
].join(', ');

const MARIADB_SCHEMA = [
  // As services of money run it: without locks on gaps, branches of different transactions do not meet.
  'set global transaction isolation level read committed',
  'create database assent_bank',
  ...BANK_TABLES,
  'create database dtm_barrier',
  `create table dtm_barrier.barrier (id bigint auto_increment primary key, ${BARRIER_COLUMNS},
    create_time datetime default now(), update_time datetime default now(),
    unique key uniq_barrier (gid, branch_id, op, barrier_id))`,
];

const POSTGRESQL_SCHEMA = [
  'create schema assent_bank',
  ...BANK_TABLES,
  'create schema dtm_barrier',
  `create table dtm_barrier.barrier (id bigserial primary key, ${BARRIER_COLUMNS},
    create_time timestamptz default now(), update_time timestamptz default now(),
    constraint uniq_barrier unique (gid, branch_id, op, barrier_id))`,
];

export interface Expectation {
  readonly moved: boolean;
  readonly effects: readonly string[];
  readonly inRedis: boolean;
}

export interface Account {
  readonly id: string;
  readonly language: Language;
}

interface Row {
  readonly balance: number;
  readonly trading: number;
}

function running<T extends { readonly kind: string }>(server: T | Skipped): T | undefined {
  return server.kind === 'skipped' ? undefined : (server as T);
}

export class Bank {
  /** What could not be started, with the reason. */
  readonly skipped: readonly string[];
  readonly #mariadb: { readonly server: SqlServer; readonly connection: Connection };
  readonly #postgres: { readonly server: SqlServer; readonly connection: Pool } | undefined;
  readonly #redis: { readonly server: RedisServer; readonly connection: Redis } | undefined;

  private constructor(
    mariadb: { server: SqlServer; connection: Connection },
    postgres: { server: SqlServer; connection: Pool } | undefined,
    redis: { server: RedisServer; connection: Redis } | undefined,
    skipped: readonly string[],
  ) {
    this.#mariadb = mariadb;
    this.#postgres = postgres;
    this.#redis = redis;
    this.skipped = skipped;
  }

  /** Nothing can be shown without MariaDB: every client has a barrier for it. */
  static async start(): Promise<Bank | Skipped> {
    const servers = await Promise.all([startMariaDb(), startPostgreSql(), startRedis()]);
    const [mariadb, postgres, redis] = servers;
    const skipped = servers.flatMap((server) => (server.kind === 'skipped' ? [server.reason] : []));
    if (mariadb.kind === 'skipped') {
      await Promise.all([running(postgres)?.stop(), running(redis)?.stop()]);
      return mariadb;
    }
    const { host, port, user, password } = mariadb;
    const connection = await createConnection({ host, port, user, password });
    for (const statement of MARIADB_SCHEMA) await connection.query(statement);
    let pg: { server: SqlServer; connection: Pool } | undefined;
    if (postgres.kind !== 'skipped') {
      pg = { server: postgres, connection: new Pool({ connectionString: postgres.url, max: 4 }) };
      // The server may say that it stops to a connection that is just being closed.
      pg.connection.on('error', () => undefined);
      for (const statement of POSTGRESQL_SCHEMA) await pg.connection.query(statement);
    }
    const rd =
      redis.kind === 'skipped'
        ? undefined
        : { server: redis, connection: new Redis(redis.port, redis.host) };
    return new Bank({ server: mariadb, connection }, pg, rd, skipped);
  }

  /** The databases that run, each with its version. */
  async versions(): Promise<readonly string[]> {
    const [rows] = await this.#mariadb.connection.query<RowDataPacket[]>('select version() as v');
    const mariadb = String(rows[0]?.['v']).split('-')[0] ?? '';
    const shown = await this.#postgres?.connection.query<{ server_version: string }>(
      'show server_version',
    );
    const postgres = shown?.rows[0]?.server_version.split(' ')[0];
    const redis = /redis_version:(\S+)/.exec((await this.#redis?.connection.info('server')) ?? '');
    return [
      `MariaDB ${mariadb}`,
      ...(postgres === undefined ? [] : [`PostgreSQL ${postgres}`]),
      ...(redis?.[1] === undefined ? [] : [`Redis ${redis[1]}`]),
    ];
  }

  /** As the drivers take it. */
  addresses(): object {
    const of = ({ host, port, user, password, database }: SqlServer) => ({
      ...{ host, port, user, password, database },
    });
    return {
      mariadb: of(this.#mariadb.server),
      postgres: this.#postgres === undefined ? null : of(this.#postgres.server),
      redis:
        this.#redis === undefined
          ? null
          : { host: this.#redis.server.host, port: this.#redis.server.port },
    };
  }

  async open({ id, language }: Account): Promise<void> {
    for (const side of SIDES) {
      const account = `${id}-${side}`;
      if (this.#inPostgres(language, side)) {
        await this.#postgres?.connection.query(
          'insert into assent_bank.account values ($1, $2, 0)',
          [account, OPENING_BALANCE],
        );
      } else {
        await this.#mariadb.connection.query('insert into assent_bank.account values (?, ?, 0)', [
          account,
          OPENING_BALANCE,
        ]);
      }
      await this.#redis?.connection.set(`${id}-redis-${side}`, OPENING_BALANCE);
    }
  }

  /** What is wrong with the accounts and the ledger; empty when all is as expected. */
  async check({ id, language }: Account, expected: Expectation): Promise<readonly string[]> {
    const wrong: string[] = [];
    for (const side of SIDES) {
      const delta = side === 'out' ? -AMOUNT : AMOUNT;
      const balance = OPENING_BALANCE + (expected.moved ? delta : 0);
      if (expected.inRedis) {
        const found = Number(await this.#redis?.connection.get(`${id}-redis-${side}`));
        if (found !== balance) wrong.push(`${side} has ${found}, not ${balance}`);
        continue;
      }
      const row = await this.#account(language, side, `${id}-${side}`);
      if (row?.balance !== balance || row.trading !== 0)
        wrong.push(`${side} has ${row?.balance}, frozen ${row?.trading}, not ${balance}, 0`);
    }
    const found = (await this.#ledger({ id, language })).toSorted().join(' ');
    const wanted = [...expected.effects].sort().join(' ');
    if (found !== wanted) wrong.push(`effects [${found}], not [${wanted}]`);
    return wrong;
  }

  /** The ids of prepared XA transactions, in both databases. */
  async prepared(): Promise<readonly string[]> {
    const [rows] = await this.#mariadb.connection.query<RowDataPacket[]>('xa recover');
    const inMariadb = rows.map((row) => `${String(row['data'])} (MariaDB)`);
    const result = await this.#postgres?.connection.query<{ gid: string }>(
      'select gid from pg_prepared_xacts',
    );
    return [...inMariadb, ...(result?.rows ?? []).map((row) => `${row.gid} (PostgreSQL)`)];
  }

  async stop(): Promise<void> {
    this.#mariadb.connection.destroy();
    await this.#postgres?.connection.end();
    this.#redis?.connection.disconnect();
    await Promise.all([
      this.#mariadb.server.stop(),
      this.#postgres?.server.stop(),
      this.#redis?.server.stop(),
    ]);
  }

  /** Only the Go client has a barrier for PostgreSQL. */
  #inPostgres(language: Language, side: string): boolean {
    return language === 'go' && side === 'in';
  }

  async #account(language: Language, side: string, account: string): Promise<Row | undefined> {
    const columns = 'select balance, trading from assent_bank.account where id =';
    let row: Record<string, unknown> | undefined;
    if (this.#inPostgres(language, side)) {
      const result = await this.#postgres?.connection.query<Record<string, unknown>>(
        `${columns} $1`,
        [account],
      );
      row = result?.rows[0];
    } else {
      const [rows] = await this.#mariadb.connection.query<RowDataPacket[]>(`${columns} ?`, [
        account,
      ]);
      row = rows[0];
    }
    return row && { balance: Number(row['balance']), trading: Number(row['trading']) };
  }

  async #ledger({ id, language }: Account): Promise<readonly string[]> {
    const columns = 'select side, op from assent_bank.ledger where cell =';
    const [rows] = await this.#mariadb.connection.query<RowDataPacket[]>(`${columns} ?`, [id]);
    const found = rows.map((row) => `${String(row['op'])}@${String(row['side'])}`);
    if (language !== 'go') return found;
    const result = await this.#postgres?.connection.query<{ side: string; op: string }>(
      `${columns} $1`,
      [id],
    );
    return [...found, ...(result?.rows ?? []).map((row) => `${row.op}@${row.side}`)];
  }
}
