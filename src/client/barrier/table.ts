// The barrier table: its statements for each database, and how to create it.
//
// Invariant: ids are compared byte by byte. A collation that ignores case would take one transaction
// for a repeat of another.
//
// Source: dtm reference §10.1.

import { UsageError } from '../errors.ts';
import type { BarrierRow } from './rules.ts';

export const DEFAULT_TABLE = 'dtm_barrier.barrier';

const COLUMNS = 'trans_type, gid, branch_id, op, barrier_id, reason';
const KEY = 'gid, branch_id, op, barrier_id';

export type SqlDialect = 'mysql' | 'postgres' | 'sqlite';

/** The name goes into statements as it is. */
export function checkTable(table: string): string {
  if (!/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$/.test(table)) {
    throw new UsageError(`"${table}" is no table name: letters, digits, _ and at most one dot`);
  }
  return table;
}

export interface BarrierStatements {
  readonly insert: string;
  readonly selectReason: string;
}

export function barrierStatements(dialect: SqlDialect, table: string): BarrierStatements {
  const name = checkTable(table);
  const mark = (position: number) => (dialect === 'postgres' ? `$${position}` : '?');
  const marks = (count: number) =>
    Array.from({ length: count }, (_, at) => mark(at + 1)).join(', ');
  const values = `${name} (${COLUMNS}) VALUES (${marks(6)})`;
  const where = KEY.split(', ').map((column, at) => `${column} = ${mark(at + 1)}`);
  return {
    insert:
      dialect === 'mysql'
        ? `INSERT IGNORE INTO ${values}`
        : `INSERT INTO ${values} ON CONFLICT (${KEY}) DO NOTHING`,
    selectReason: `SELECT reason FROM ${name} WHERE ${where.join(' AND ')}`,
  };
}

export function insertValues(row: BarrierRow): string[] {
  const { transactionType, gid, branchId, op, barrierId, reason } = row;
  return [transactionType, gid, branchId, op, barrierId, reason];
}

export function keyValues({ gid, branchId, op, barrierId }: BarrierRow): string[] {
  return [gid, branchId, op, barrierId];
}

function columns(text: (length: number) => string): string {
  return [
    `trans_type ${text(45)} NOT NULL DEFAULT ''`,
    `gid ${text(128)} NOT NULL DEFAULT ''`,
    `branch_id ${text(128)} NOT NULL DEFAULT ''`,
    `op ${text(45)} NOT NULL DEFAULT ''`,
    `barrier_id ${text(45)} NOT NULL DEFAULT ''`,
    `reason ${text(45)} NOT NULL DEFAULT ''`,
  ].join(', ');
}

function schemaOf(table: string): string | undefined {
  const dot = table.indexOf('.');
  return dot < 0 ? undefined : table.slice(0, dot);
}

/** The statements that create the table where it is missing; dtm's other clients can share it. */
export function barrierSchema(dialect: SqlDialect, table = defaultTable(dialect)): string[] {
  const name = checkTable(table);
  const schema = schemaOf(name);
  const varchar = (length: number) => `VARCHAR(${length})`;
  switch (dialect) {
    case 'mysql':
      return [
        ...(schema === undefined ? [] : [`CREATE DATABASE IF NOT EXISTS ${schema}`]),
        `CREATE TABLE IF NOT EXISTS ${name} (id BIGINT AUTO_INCREMENT PRIMARY KEY, ${columns(varchar)},` +
          ' create_time DATETIME DEFAULT CURRENT_TIMESTAMP, update_time DATETIME DEFAULT CURRENT_TIMESTAMP,' +
          ` KEY (create_time), UNIQUE KEY uniq_barrier (${KEY}))` +
          ' ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin',
      ];
    case 'postgres':
      return [
        ...(schema === undefined ? [] : [`CREATE SCHEMA IF NOT EXISTS ${schema}`]),
        `CREATE TABLE IF NOT EXISTS ${name} (id BIGSERIAL PRIMARY KEY, ${columns(varchar)},` +
          ' create_time TIMESTAMPTZ DEFAULT now(), update_time TIMESTAMPTZ DEFAULT now(),' +
          // dtm's Go client names this constraint in its insert.
          ` CONSTRAINT uniq_barrier UNIQUE (${KEY}))`,
      ];
    case 'sqlite':
      return [
        `CREATE TABLE IF NOT EXISTS ${name} (id INTEGER PRIMARY KEY, ${columns(() => 'TEXT')},` +
          ' create_time TEXT DEFAULT CURRENT_TIMESTAMP, update_time TEXT DEFAULT CURRENT_TIMESTAMP,' +
          ` UNIQUE (${KEY}))`,
      ];
  }
}

/** SQLite has no schemas: a dot would name an attached file. */
export function defaultTable(dialect: SqlDialect): string {
  return dialect === 'sqlite' ? 'barrier' : DEFAULT_TABLE;
}
