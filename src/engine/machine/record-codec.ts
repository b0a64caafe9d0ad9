// The two records of a transaction in the state: its definition, written once, and its state, which
// every step rewrites. Payloads are in the first, so that progress never rewrites them.
//
// Times in a state are distances from its creation, and a row that nothing has happened to is one
// number: a two-step saga's state takes about 60 bytes before it starts.

import { isOwnCall } from '../patterns/index.ts';
import { absent, codeOf, packVersioned, unpackVersioned, wordOf } from './format.ts';
import { packOptions, packSteps, unpackOptions, unpackSteps } from './input-codec.ts';
import type {
  Attempt,
  BranchDefinition,
  BranchProgress,
  Transaction,
  TransactionDefinition,
  TransactionState,
} from './types.ts';
import {
  BRANCH_OPS,
  BRANCH_STATUSES,
  OUTCOMES,
  PROTOCOLS,
  TRANSACTION_STATUSES,
  TRANSACTION_TYPES,
} from './words.ts';

const DEFINITION_VERSION = 1;
const STATE_VERSION = 1;
/** Fields of one row in the flat list of rows. */
const ROW_FIELDS = 4;
/** Fields of the progress of a row that was registered and nothing else. */
const REGISTERED_ROW_FIELDS = 2;

export function encodeDefinition(definition: TransactionDefinition): Uint8Array {
  const urls = packSteps(definition.steps);
  const rows: unknown[] = [];
  for (const [position, { branchId, op, url, payload }] of definition.branches.entries()) {
    const known = knownUrlAt(definition, position);
    const stands = known === urls.length ? definition.queryPrepared : urls[known];
    rows.push(branchId, codeOf(BRANCH_OPS, op), stands === url ? known : url, payload);
  }
  const orders: unknown[] = [];
  for (const [step, before] of definition.orders) orders.push(step, before);
  return packVersioned(DEFINITION_VERSION, [
    definition.gid,
    codeOf(TRANSACTION_TYPES, definition.type),
    codeOf(PROTOCOLS, definition.protocol),
    urls,
    definition.payloads,
    definition.queryPrepared,
    definition.customData,
    packOptions(definition.options),
    rows,
    definition.concurrent,
    orders,
    definition.timeoutMs,
    definition.requestTimeoutMs,
    definition.baseIntervalMs,
    definition.retentionMs,
    definition.preparedExpiryMs,
  ]);
}

/**
 * Where a row's URL is likely to stand already, so that it is not written twice: in the flat list of
 * steps' URLs, or behind it, which stands for `queryPrepared`.
 */
function knownUrlAt({ type, branches, steps }: TransactionDefinition, position: number): number {
  const branch = branches[position];
  if (isOwnCall(branch)) return 2 * steps.length;
  // A saga's rows are its steps, compensation first; a message's, its steps' actions.
  return type === 'msg' ? 2 * (branch?.payload ?? 0) : position ^ 1;
}

type DefinitionFields = readonly [
  string,
  number,
  number,
  readonly string[],
  readonly Uint8Array[],
  string,
  string,
  readonly unknown[],
  readonly unknown[],
  boolean,
  readonly unknown[],
  number | null,
  number,
  number,
  number,
  number,
];

export function decodeDefinition(bytes: Uint8Array): TransactionDefinition {
  const fields = unpackVersioned('definition', DEFINITION_VERSION, bytes) as DefinitionFields;
  const [gid, type, protocol, urls, payloads, queryPrepared, customData, options] = fields;
  const [, , , , , , , , rows, concurrent, orders, timeoutMs, requestTimeoutMs] = fields;
  const [, , , , , , , , , , , , , baseIntervalMs, retentionMs, preparedExpiryMs] = fields;
  return {
    gid,
    type: wordOf(TRANSACTION_TYPES, type),
    protocol: wordOf(PROTOCOLS, protocol),
    steps: unpackSteps(urls),
    payloads,
    queryPrepared,
    customData,
    options: unpackOptions(options),
    branches: unpackRows(rows, [...urls, queryPrepared]),
    concurrent,
    orders: unpackOrders(orders),
    timeoutMs: absent(timeoutMs),
    requestTimeoutMs,
    baseIntervalMs,
    retentionMs,
    preparedExpiryMs,
  };
}

function unpackRows(flat: readonly unknown[], urls: readonly string[]): BranchDefinition[] {
  const rows: BranchDefinition[] = [];
  for (let at = 0; at + ROW_FIELDS <= flat.length; at += ROW_FIELDS) {
    const url = flat[at + 2] as string | number;
    rows.push({
      branchId: flat[at] as string,
      op: wordOf(BRANCH_OPS, flat[at + 1]),
      url: typeof url === 'number' ? (urls[url] ?? '') : url,
      payload: absent(flat[at + 3] as number | null),
    });
  }
  return rows;
}

function unpackOrders(flat: readonly unknown[]): ReadonlyMap<number, readonly number[]> {
  const orders = new Map<number, readonly number[]>();
  for (let at = 0; at + 1 < flat.length; at += 2) {
    orders.set(flat[at] as number, flat[at + 1] as readonly number[]);
  }
  return orders;
}

export function encodeState(state: TransactionState): Uint8Array {
  const { createTimeMs } = state;
  const since = (timeMs: number | undefined): number | undefined =>
    timeMs === undefined ? undefined : timeMs - createTimeMs;
  return packVersioned(STATE_VERSION, [
    codeOf(TRANSACTION_STATUSES, state.status),
    createTimeMs,
    since(state.updateTimeMs),
    since(state.finishTimeMs),
    since(state.rollbackTimeMs),
    state.rollbackReason,
    state.acceptedTerm,
    state.retryCount,
    since(state.dueMs),
    state.intervalMs,
    state.forced === undefined ? null : [state.forced.by, state.forced.reason],
    state.branches.map((progress) => packProgress(progress, createTimeMs)),
    // Absent where empty: such a state has the bytes that version 0.1.0 writes for it.
    ...(state.result === '' ? [] : [state.result]),
  ]);
}

type StateFields = readonly [
  number,
  number,
  number,
  number | null,
  number | null,
  string,
  number,
  number,
  number | null,
  number,
  readonly [string, string] | null,
  readonly (number | readonly unknown[])[],
  string?,
];

/** A state names neither gid nor type: the definition beside it does. */
export function decodeState(
  definition: Pick<TransactionDefinition, 'gid' | 'type'>,
  bytes: Uint8Array,
): TransactionState {
  const fields = unpackVersioned('state', STATE_VERSION, bytes) as StateFields;
  const [status, createTimeMs, update, finish, rollback, rollbackReason, acceptedTerm] = fields;
  const [, , , , , , , retryCount, due, intervalMs, forced, rows, result] = fields;
  const at = (sinceMs: number | null): number | undefined =>
    sinceMs === null ? undefined : createTimeMs + sinceMs;
  return {
    gid: definition.gid,
    type: definition.type,
    status: wordOf(TRANSACTION_STATUSES, status),
    createTimeMs,
    updateTimeMs: createTimeMs + update,
    finishTimeMs: at(finish),
    rollbackTimeMs: at(rollback),
    rollbackReason,
    result: result ?? '',
    acceptedTerm,
    retryCount,
    dueMs: at(due),
    intervalMs,
    forced: forced === null ? undefined : { by: forced[0], reason: forced[1] },
    branches: rows.map((row) => unpackProgress(row, createTimeMs)),
  };
}

/** The transaction that the two records of a gid make. @throws {FormatError} */
export function decodeTransaction(
  definitionBytes: Uint8Array,
  stateBytes: Uint8Array,
): Transaction {
  const definition = decodeDefinition(definitionBytes);
  return { definition, state: decodeState(definition, stateBytes) };
}

/**
 * A row that nothing has happened to is its interval alone, with the time of its registration where
 * that was later than the transaction's creation.
 */
function packProgress(progress: BranchProgress, baseMs: number): unknown {
  const untouched =
    progress.status === 'prepared' &&
    !progress.wanted &&
    progress.attemptCount === 0 &&
    progress.retryAtMs === undefined &&
    progress.finishTimeMs === undefined &&
    progress.updateTimeMs === progress.createTimeMs &&
    progress.ongoingCount + progress.unknownCount === 0 &&
    progress.firstAttempts.length + progress.lastAttempts.length === 0;
  if (untouched) {
    const { createTimeMs, intervalMs } = progress;
    return createTimeMs === baseMs ? intervalMs : [intervalMs, createTimeMs - baseMs];
  }
  const { finishTimeMs, retryAtMs } = progress;
  return [
    codeOf(BRANCH_STATUSES, progress.status),
    progress.createTimeMs - baseMs,
    progress.updateTimeMs - baseMs,
    finishTimeMs === undefined ? null : finishTimeMs - baseMs,
    progress.wanted,
    retryAtMs === undefined ? null : retryAtMs - baseMs,
    progress.intervalMs,
    progress.attemptCount,
    progress.ongoingCount,
    progress.unknownCount,
    progress.firstAttempts.map((attempt) => packAttempt(attempt, baseMs)),
    progress.lastAttempts.map((attempt) => packAttempt(attempt, baseMs)),
    // Absent where false: such a row has the bytes that version 0.1.0 writes for it.
    ...(progress.alerted === true ? [true] : []),
  ];
}

type ProgressFields = readonly [
  number,
  number,
  number,
  number | null,
  boolean,
  number | null,
  number,
  number,
  number,
  number,
  readonly (readonly unknown[])[],
  readonly (readonly unknown[])[],
  true?,
];

function unpackProgress(row: number | readonly unknown[], baseMs: number): BranchProgress {
  const fields = progressFields(row);
  const [status, create, update, finish, wanted, retryAt, intervalMs] = fields;
  const [, , , , , , , attemptCount, ongoingCount, unknownCount, first, last, alerted] = fields;
  return {
    status: wordOf(BRANCH_STATUSES, status),
    createTimeMs: baseMs + create,
    updateTimeMs: baseMs + update,
    finishTimeMs: finish === null ? undefined : baseMs + finish,
    wanted,
    retryAtMs: retryAt === null ? undefined : baseMs + retryAt,
    intervalMs,
    attemptCount,
    ongoingCount,
    unknownCount,
    firstAttempts: first.map((attempt) => unpackAttempt(attempt, baseMs)),
    lastAttempts: last.map((attempt) => unpackAttempt(attempt, baseMs)),
    ...(alerted === true ? { alerted } : {}),
  };
}

function progressFields(row: number | readonly unknown[]): ProgressFields {
  if (typeof row !== 'number' && row.length > REGISTERED_ROW_FIELDS) return row as ProgressFields;
  const [intervalMs, create] = typeof row === 'number' ? [row, 0] : (row as [number, number]);
  return [0, create, create, null, false, null, intervalMs, 0, 0, 0, [], []];
}

function packAttempt(attempt: Attempt, baseMs: number): readonly unknown[] {
  return [
    attempt.attempt,
    attempt.term,
    attempt.atMs - baseMs,
    attempt.durationMs,
    codeOf(OUTCOMES, attempt.outcome),
    attempt.detail,
    attempt.retryAtMs === undefined ? null : attempt.retryAtMs - baseMs,
  ];
}

type AttemptFields = readonly [number, number, number, number, number, string, number | null];

function unpackAttempt(fields: readonly unknown[], baseMs: number): Attempt {
  const [attempt, term, at, durationMs, outcome, detail, retryAt] = fields as AttemptFields;
  return {
    attempt,
    term,
    atMs: baseMs + at,
    durationMs,
    outcome: wordOf(OUTCOMES, outcome),
    detail,
    retryAtMs: retryAt === null ? undefined : baseMs + retryAt,
  };
}
