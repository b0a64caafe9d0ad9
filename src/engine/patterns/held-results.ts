// Results that arrived and are not committed yet: when they are proposed, and in what form.
//
// docs/architecture.md §Transactions, "Held successes": a success may wait for the transaction's next
// command, at the latest HOLD_MS; an answer without a result is proposed at once, because its next
// attempt's time must survive this leader.

import type { BranchResult, Transaction } from '../machine/index.ts';
import { DETAIL_BYTES_MAX, truncateText } from './text.ts';
import type { Knowledge } from './types.ts';

const HOLD_MS = 20;

/** The held results whose rows are open, by row. */
export function heldResults({ state }: Transaction, knowledge: Knowledge): readonly BranchResult[] {
  const held: BranchResult[] = [];
  for (const result of knowledge.held.values()) {
    if (state.branches[result.row]?.status === 'prepared') held.push(result);
  }
  if (held.length > 1) held.sort((a, b) => a.row - b.row);
  return held;
}

/** As a command carries them. */
export function recordedResults(held: readonly BranchResult[]): readonly BranchResult[] {
  return held.map((result) => ({
    ...result,
    detail: truncateText(result.detail, DETAIL_BYTES_MAX),
  }));
}

/**
 * When they must be proposed if no other command carries them before. Times are cluster time; a
 * clock that moved back only makes the proposal earlier.
 */
export function proposeHeldMs(held: readonly BranchResult[], knowledge: Knowledge): number {
  if (knowledge.commitEachResult) return Number.NEGATIVE_INFINITY;
  let earliestMs = Number.POSITIVE_INFINITY;
  for (const { outcome, atMs, durationMs } of held) {
    if (outcome !== 'success') return Number.NEGATIVE_INFINITY;
    earliestMs = Math.min(earliestMs, atMs + durationMs + HOLD_MS);
  }
  return earliestMs;
}

/** The earliest of the times given; undefined when there is none. */
export function earliest(times: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const time of times) {
    if (time !== undefined && (first === undefined || time < first)) first = time;
  }
  return first;
}
