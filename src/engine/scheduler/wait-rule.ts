// When a client that waits for a result is told that the transaction is not finished
// (docs/architecture.md §Transactions, waits; dtm reference §5.4).
//
// Decidable on any node from committed state alone: a committed attempt ended ongoing or unknown,
// and a leader that knew no more than the log would neither call, nor decide, nor record anything
// now or in a moment. What is running somewhere has no result on record, so such a leader would call
// it. The moment covers the hurried retries of `retry_limit`, which dtm makes within its pass: their
// client is told how they end.

import type { Transaction } from '../machine/index.ts';
import { createPatterns, type Knowledge } from '../patterns/index.ts';

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
