// Whether a recorded result calls for an alert (dtm reference §9). Pure: committed state in, alert out.
//
// dtm alerts about branches only (defect 12.36); here every call that ended without a usable answer
// counts: branches, check-backs of messages, callbacks of workflows.

import type { BranchResult, Transaction } from '../machine/index.ts';
import { truncateText } from '../patterns/index.ts';
import type { Alert } from './types.ts';

/** An URL may be as long as a transaction; in an alert it is bounded (P8). */
const URL_BYTES_MAX = 4_096;

export interface AlertRule {
  readonly retryLimit: number;
  /** Where the intervals of rows stop growing. */
  readonly intervalMsMax: number;
}

/** `result` has just been recorded on `transaction`. */
export function alertOf(
  transaction: Transaction,
  result: BranchResult,
  rule: AlertRule,
): Alert | undefined {
  const { definition, state } = transaction;
  if (result.outcome !== 'unknown' && result.outcome !== 'failure') return undefined;
  if (state.status === 'succeed' || state.status === 'failed') return undefined;
  const branch = definition.branches[result.row];
  const progress = state.branches[result.row];
  if (branch === undefined || progress === undefined) return undefined;
  // A failure that ended its row is an answer, not an error.
  if (progress.status !== 'prepared' || progress.alerted === true) return undefined;
  const retryCount = retryCountOf(
    progress.unknownCount,
    result.intervalMs,
    definition.baseIntervalMs,
    rule,
  );
  if (retryCount < rule.retryLimit) return undefined;
  const last = progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1);
  return {
    gid: definition.gid,
    row: result.row,
    url: truncateText(branch.url, URL_BYTES_MAX),
    status: state.status,
    detail: last?.detail ?? '',
    retryCount,
  };
}

/**
 * dtm counts errors by the doublings of the interval. Where the cap ends the doubling (defect 12.16)
 * that says no more; there all errors of the row count.
 */
function retryCountOf(
  unknownCount: number,
  intervalMs: number,
  baseIntervalMs: number,
  rule: AlertRule,
): number {
  const baseMs = Math.max(1, baseIntervalMs);
  if (intervalMs >= Math.max(rule.intervalMsMax, baseMs)) return unknownCount;
  return Math.floor(Math.log2(Math.max(1, intervalMs / baseMs)));
}
