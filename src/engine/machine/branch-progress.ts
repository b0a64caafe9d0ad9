// Recording the result of one call on its row (dtm reference §4.5).
//
// Invariants
//   B1. A row that has ended never changes again.
//   B2. A result is recorded once: the leader's term and attempt number tell a repeat, which a leader
//       sends when the outcome of its first proposal was unknown.
//   B3. The trace is bounded: the first two attempts, the last five of the others, each with a bounded
//       text (P8).

import { DETAIL_BYTES_MAX, truncateText } from '../patterns/index.ts';
import type { Attempt, BranchProgress, BranchResult } from './types.ts';

const FIRST_ATTEMPTS_MAX = 2;
const LAST_ATTEMPTS_MAX = 5;

/** The row with the result recorded, or undefined when nothing changes. */
export function recordResult(
  progress: BranchProgress,
  result: BranchResult,
  how: {
    readonly timeMs: number;
    readonly ended: 'succeed' | 'failed' | undefined;
    /** The next attempt comes no earlier, whatever the leader planned. */
    readonly leasedUntilMs?: number | undefined;
  },
): BranchProgress | undefined {
  if (progress.status !== 'prepared' || isRecorded(progress, result)) return undefined;
  const { outcome } = result;
  const { ended } = how;
  // A failure that cannot end its row counts as an unknown error (dtm reference §4.5).
  const isUnknown = ended === undefined && (outcome === 'unknown' || outcome === 'failure');
  const attempt: Attempt = {
    attempt: result.attempt,
    term: result.term,
    atMs: result.atMs,
    durationMs: result.durationMs,
    outcome,
    detail: truncateText(result.detail, DETAIL_BYTES_MAX),
    retryAtMs: ended === undefined ? notBefore(result.retryAtMs, how.leasedUntilMs) : undefined,
  };
  const { firstAttempts, lastAttempts } = progress;
  const early = firstAttempts.length < FIRST_ATTEMPTS_MAX;
  return {
    status: ended ?? 'prepared',
    createTimeMs: progress.createTimeMs,
    updateTimeMs: how.timeMs,
    finishTimeMs: ended === undefined ? undefined : how.timeMs,
    wanted: progress.wanted,
    retryAtMs: attempt.retryAtMs,
    intervalMs: result.intervalMs,
    attemptCount: progress.attemptCount + 1,
    ongoingCount: progress.ongoingCount + (outcome === 'ongoing' ? 1 : 0),
    unknownCount: progress.unknownCount + (isUnknown ? 1 : 0),
    firstAttempts: early ? [...firstAttempts, attempt] : firstAttempts,
    lastAttempts: early ? lastAttempts : [...lastAttempts, attempt].slice(-LAST_ATTEMPTS_MAX),
    ...(progress.alerted === true || result.alerted === true ? { alerted: true } : {}),
  };
}

function notBefore(plannedMs: number | undefined, leasedMs: number | undefined) {
  return leasedMs === undefined ? plannedMs : Math.max(leasedMs, plannedMs ?? leasedMs);
}

function isRecorded(progress: BranchProgress, result: BranchResult): boolean {
  const same = (attempt: Attempt): boolean =>
    attempt.term === result.term && attempt.attempt === result.attempt;
  return progress.firstAttempts.some(same) || progress.lastAttempts.some(same);
}
