// When a client that waits for a result is told that the transaction is not finished
// (docs/architecture.md §Transactions, waits; dtm reference §5.4).
//
// Decidable on any node from committed state alone: a committed attempt ended ongoing or unknown,
// and a leader that knew no more than the log would neither call, nor decide, nor record anything
// now or in a moment. What is running somewhere has no result on record, so such a leader would call
// it. The moment covers the hurried retries of `retry_limit`, which dtm makes within its pass: their
// client is told how they end. A message that was accepted for later is waited for by nobody.

import { type Attempt, holdsUp, type Transaction } from '../machine/index.ts';
import { createPatterns, isDelayed, type Knowledge } from '../patterns/index.ts';

const PATTERNS = createPatterns();

const MOMENT_MS = 500;

const ONLY_THE_LOG: Knowledge = {
  drivenSinceAccepted: true,
  started: new Set(),
  inflight: new Set(),
  held: new Map(),
  commitEachResult: false,
};

export function isNotFinishedButIdle(transaction: Transaction, nowMs: number): boolean {
  const { status, type, branches } = transaction.state;
  if (status === 'succeed' || status === 'failed') {
    return false;
  }
  if (isDelayed(transaction, nowMs)) {
    return true;
  }
  const endedWithoutResult = branches.some(
    (progress) => progress.status === 'prepared' && progress.attemptCount > 0,
  );
  const pattern = PATTERNS[type];
  if (!endedWithoutResult || pattern === undefined) {
    return false;
  }
  const actions = pattern.next(transaction, nowMs, ONLY_THE_LOG);
  const { call, record, waitUntilMs } = actions;
  if (call.length > 0 || record !== undefined) return false;
  return waitUntilMs === undefined || waitUntilMs - nowMs > MOMENT_MS;
}

/** Why a transaction is not finished, as far as its state tells: what the client is answered by. */
export type Unfinished =
  /** Accepted for later (defect 12.21). */
  | { readonly kind: 'delayed' }
  /** How the last call of a row that holds it up ended. */
  | {
      readonly kind: 'failure' | 'ongoing' | 'unknown';
      readonly url: string;
      readonly detail: string;
    }
  /** No call has ended without success. */
  | { readonly kind: 'running' };

export function unfinishedBecause(transaction: Transaction): Unfinished {
  if (isDelayed(transaction)) {
    return { kind: 'delayed' };
  }
  const { definition, state } = transaction;
  let latest: Attempt | undefined;
  let url = '';
  for (const [row, progress] of state.branches.entries()) {
    const branch = definition.branches[row];
    const last = progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1);
    if (last === undefined || !holdsUp(state.status, branch, progress)) {
      continue;
    }
    if (latest === undefined || last.atMs >= latest.atMs) {
      latest = last;
      url = branch?.url ?? '';
    }
  }
  return latest === undefined || latest.outcome === 'success'
    ? { kind: 'running' }
    : { kind: latest.outcome, url, detail: latest.detail };
}
