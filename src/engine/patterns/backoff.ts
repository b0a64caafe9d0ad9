// When a call that did not succeed is tried again.
//
// dtm's rules (dtm reference §5.6) with defect 12.16 repaired: an unknown error doubles the row's
// interval from the transaction's base, up to a cap; an ongoing answer keeps the interval. Jitter
// spreads rows that failed together. The leader computes this and the command carries it, so that
// apply stays deterministic; the random number is an argument.

import type { BranchProgress } from '../machine/index.ts';

/** Attempts are planned within ± this share of the interval. */
const JITTER = 0.1;

export interface AttemptEnd {
  readonly row: Pick<BranchProgress, 'intervalMs'>;
  readonly outcome: 'success' | 'failure' | 'ongoing' | 'unknown';
  readonly baseIntervalMs: number;
  readonly capMs: number;
  /** In [0, 1). */
  readonly random: number;
  readonly nowMs: number;
}

/** The next attempt of a row (undefined after a success) and the interval that it then has. */
export function nextAttempt(end: AttemptEnd): {
  readonly retryAtMs: number | undefined;
  readonly intervalMs: number;
} {
  const baseMs = Math.max(1, end.baseIntervalMs);
  if (end.outcome === 'success') return { retryAtMs: undefined, intervalMs: baseMs };
  // A client may ask for a base above the cap; doubling then stops at its base.
  const capMs = Math.max(end.capMs, baseMs);
  const currentMs = Math.max(end.row.intervalMs, baseMs);
  const intervalMs = Math.min(end.outcome === 'ongoing' ? currentMs : 2 * currentMs, capMs);
  const factor = 1 - JITTER + 2 * JITTER * end.random;
  return { retryAtMs: end.nowMs + Math.max(1, Math.round(intervalMs * factor)), intervalMs };
}
