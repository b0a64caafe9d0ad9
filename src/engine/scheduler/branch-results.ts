// From the outcome of a call to the result that a command carries: attempt number, times, back-off.

import type { BranchProgress, BranchResult, Transaction } from '../machine/index.ts';
import type { CallOutcome } from '../participants/index.ts';
import { backoffOf, nextAttempt, type Pattern, rowEnd } from '../patterns/index.ts';

export type CallEnd = Exclude<CallOutcome, { kind: 'notSent' }>;

/** A call as it was started. */
export interface StartedCall {
  readonly row: number;
  readonly attempt: number;
  readonly term: number;
  /** Cluster time at which the request was written; before that, at which it was asked for. */
  atMs: number;
}

export function progressOf(transaction: Transaction, row: number): BranchProgress {
  const progress = transaction.state.branches[row];
  if (progress === undefined) {
    throw new Error(`transaction ${transaction.definition.gid} has no row ${row}`);
  }
  return progress;
}

/** An empty URL succeeds without a call (dtm reference §4.1). */
export function emptyUrlResult(
  transaction: Transaction,
  row: number,
  at: { readonly term: number; readonly nowMs: number },
): BranchResult {
  const progress = progressOf(transaction, row);
  return {
    row,
    attempt: progress.attemptCount + 1,
    term: at.term,
    atMs: at.nowMs,
    durationMs: 0,
    outcome: 'success',
    detail: '',
    retryAtMs: undefined,
    intervalMs: progress.intervalMs,
  };
}

export function resultOf(
  transaction: Transaction,
  pattern: Pattern,
  call: StartedCall,
  end: CallEnd,
  backoff: { readonly nowMs: number; readonly random: number; readonly capMs: number },
): BranchResult {
  const { definition } = transaction;
  const progress = progressOf(transaction, call.row);
  const op = definition.branches[call.row]?.op;
  const ends = op !== undefined && rowEnd(pattern, op, end.kind) !== undefined;
  const next = ends
    ? { retryAtMs: undefined, intervalMs: progress.intervalMs }
    : nextAttempt({
        ...backoffOf(op, progress, end.kind, definition.baseIntervalMs),
        baseIntervalMs: definition.baseIntervalMs,
        ...backoff,
      });
  return {
    row: call.row,
    attempt: call.attempt,
    term: call.term,
    atMs: Math.round(call.atMs),
    durationMs: Math.round(end.durationMs),
    outcome: end.kind,
    detail: end.detail,
    retryAtMs: next.retryAtMs,
    intervalMs: next.intervalMs,
  };
}
