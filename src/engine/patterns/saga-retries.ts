// `retry_limit`: how often a saga's actions may end without a result before the saga is rolled back.
//
// dtm's rule (dtm reference §5.7): unknown errors and ongoing answers both count, over all actions;
// L allows L + 1 calls. Defect 12.17 repaired: the count is taken from the rows on record, so it
// survives passes, crashes and leaders; retries are immediate once, then spread (dtm hammers);
// compensations are neither counted nor hurried.

import type { Attempt, BranchProgress, Transaction } from '../machine/index.ts';
import { isActionRow } from './saga-graph.ts';
import type { SagaView } from './saga-view.ts';

/** The second immediate retry of a transaction waits this long, the following ones twice as long. */
const HURRIED_DELAY_MS = 50;

export function hasRetryLimit(transaction: Transaction): boolean {
  return transaction.definition.options.retryLimit > 0;
}

/** Action calls on record that ended without a result, after those the client says there were. */
export function endedWithoutResult(transaction: Transaction): number {
  let count = Math.max(0, transaction.definition.options.retryCount);
  for (const [row, progress] of transaction.state.branches.entries()) {
    if (isActionRow(row)) count += progress.ongoingCount + progress.unknownCount;
  }
  return count;
}

/** What the held results add to the count, and whether they exceed the limit. */
export function retriesOf(view: SagaView): {
  readonly retries: number;
  readonly exceeded: boolean;
} {
  const { definition, state } = view.transaction;
  if (!hasRetryLimit(view.transaction)) return { retries: 0, exceeded: false };
  let count = endedWithoutResult(view.transaction);
  for (const { row, outcome } of view.held) {
    if (isActionRow(row) && (outcome === 'ongoing' || outcome === 'unknown')) count += 1;
  }
  const limit = definition.options.retryLimit;
  return {
    retries: Math.max(0, Math.min(count, limit) - state.retryCount),
    exceeded: count > limit,
  };
}

/** Not before this time may the row be called again; undefined = at once. */
export function notBeforeMs(transaction: Transaction, row: number): number | undefined {
  const progress = transaction.state.branches[row];
  if (progress?.retryAtMs === undefined) return undefined;
  if (!hasRetryLimit(transaction) || !isActionRow(row)) return progress.retryAtMs;
  const last = lastAttempt(progress);
  if (last === undefined) return progress.retryAtMs;
  const doublings = endedWithoutResult(transaction) - 2;
  const delayMs = doublings < 0 ? 0 : HURRIED_DELAY_MS * 2 ** Math.min(doublings, 20);
  return Math.min(progress.retryAtMs, last.atMs + last.durationMs + delayMs);
}

export function lastAttempt(progress: BranchProgress): Attempt | undefined {
  return progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1);
}
