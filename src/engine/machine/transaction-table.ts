// Transactions while one entry is applied: loaded from their two records, saved with every index key
// that follows from them, and reported as changes.
//
// Invariants
//   T1. Index keys are a function of the transaction: saving writes the difference of the functions
//       before and after, so none is ever left behind.
//   T2. The definition is written only when it changes.

import type { Patterns } from '../patterns/index.ts';
import { holdsUp } from './holding-up.ts';
import {
  definitionKey,
  dueKey,
  expiryKey,
  listingKey,
  stateKey,
  stuckKey,
  targetOf,
} from './keyspace.ts';
import { decodeTransaction, encodeDefinition, encodeState } from './record-codec.ts';
import type { Key, MutableState, OperationId, Transaction, TransactionChange } from './types.ts';
import { isFinal } from './words.ts';

const NO_VALUE = new Uint8Array(0);

/** Keys that loading a transaction reads. */
export function transactionKeys(gid: string): readonly Key[] {
  return [definitionKey(gid), stateKey(gid)];
}

export class TransactionTable {
  readonly changes: TransactionChange[] = [];
  readonly #state: MutableState;
  readonly #patterns: Patterns;
  readonly #timeMs: number;

  constructor(state: MutableState, patterns: Patterns, timeMs: number) {
    this.#state = state;
    this.#patterns = patterns;
    this.#timeMs = timeMs;
  }

  load(gid: string): Transaction | undefined {
    const definition = this.#state.get(definitionKey(gid));
    const state = this.#state.get(stateKey(gid));
    if (definition === undefined && state === undefined) return undefined;
    if (definition === undefined || state === undefined) {
      throw new Error(`transaction ${gid} has only one of its two records`);
    }
    return decodeTransaction(definition, state);
  }

  /**
   * Writes `after` in place of `before` with its indexes, and reports the change. It is due when its
   * pattern says, unless the command says when.
   */
  save(
    before: Transaction | undefined,
    after: Transaction,
    by: { readonly opId?: OperationId; readonly dueMs?: number } = {},
  ): Transaction {
    const { definition } = after;
    const dueMs = by.dueMs ?? this.#dueMs(after);
    const saved = dueMs === after.state.dueMs ? after : withDue(after, dueMs);
    const isNew = before === undefined;
    if (before?.definition !== definition) {
      this.#state.put(definitionKey(definition.gid), encodeDefinition(definition), isNew);
    }
    this.#state.put(stateKey(definition.gid), encodeState(saved.state), isNew);
    this.#writeIndexes(before, saved);
    this.#report(before, saved, by.opId);
    return saved;
  }

  remove(transaction: Transaction): void {
    const { gid } = transaction.definition;
    this.#state.delete(definitionKey(gid));
    this.#state.delete(stateKey(gid));
    this.#writeIndexes(transaction, undefined);
    this.#report(transaction, undefined, undefined);
  }

  #dueMs(transaction: Transaction): number | undefined {
    const pattern = this.#patterns[transaction.definition.type];
    if (pattern === undefined) throw new Error(`${transaction.definition.type} has no pattern`);
    return pattern.dueMs(transaction, this.#timeMs);
  }

  #writeIndexes(before: Transaction | undefined, after: Transaction | undefined): void {
    // A handful of keys each: looking through the lists costs less than making sets of them.
    const wanted = after === undefined ? [] : indexKeys(after);
    const present = before === undefined ? [] : indexKeys(before);
    for (const key of present) if (!wanted.includes(key)) this.#state.delete(key);
    // What is not present does not exist (T1).
    for (const key of wanted) if (!present.includes(key)) this.#state.put(key, NO_VALUE, true);
  }

  #report(
    before: Transaction | undefined,
    after: Transaction | undefined,
    opId: OperationId | undefined,
  ): void {
    const gid = after?.definition.gid ?? before?.definition.gid ?? '';
    this.changes.push({ gid, before: before?.state.status, after, opId });
  }
}

function withDue(transaction: Transaction, dueMs: number | undefined): Transaction {
  return { ...transaction, state: { ...transaction.state, dueMs } };
}

/** When a finished transaction may be forgotten; undefined while it is unfinished. */
export function expiresMs({ definition, state }: Transaction): number | undefined {
  if (!isFinal(state.status)) return undefined;
  const endedMs = state.finishTimeMs ?? state.rollbackTimeMs ?? state.updateTimeMs;
  return endedMs + definition.retentionMs;
}

/** Every index key of a transaction (T1), without duplicates. */
export function indexKeys(transaction: Transaction): readonly Key[] {
  const { definition, state } = transaction;
  const { gid } = definition;
  const keys = [listingKey(state.status, definition.type, state.createTimeMs, gid)];
  const expiry = expiresMs(transaction);
  if (expiry !== undefined) {
    keys.push(expiryKey(expiry, gid));
    return keys;
  }
  if (state.dueMs === undefined) throw new Error(`unfinished transaction ${gid} has no due time`);
  keys.push(dueKey(state.dueMs, gid));
  for (const [row, progress] of state.branches.entries()) {
    if (!holdsUp(state.status, definition.branches[row], progress)) continue;
    const outcome = (progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1))?.outcome;
    if (outcome === undefined || outcome === 'success') continue;
    const key = stuckKey(targetOf(definition.branches[row]?.url ?? ''), outcome, gid);
    if (!keys.includes(key)) keys.push(key);
  }
  return keys;
}
