// A transaction explained to a person: what it waits for, until when, and what would unblock it (P4).

import { createPatterns, twoPhaseOf } from '../patterns/index.ts';
import { holdsUp } from './holding-up.ts';
import { targetOf } from './keyspace.ts';
import type { Attempt, BranchOp, BranchProgress, Transaction, TransactionStatus } from './types.ts';
import { isFinal } from './words.ts';

export interface BranchDescription {
  readonly branchId: string;
  readonly op: BranchOp;
  readonly url: string;
  readonly attemptCount: number;
  readonly lastOutcome: Attempt['outcome'];
  readonly lastDetail: string;
  readonly nextAttemptMs: number | undefined;
}

export interface TransactionDescription {
  readonly status: TransactionStatus;
  readonly waitingFor: string;
  readonly untilMs: number | undefined;
  /** What a person could do, or make happen; empty when nothing is needed. */
  readonly unblock: string;
  /** Open rows that have been called without success. */
  readonly stuck: readonly BranchDescription[];
  /** After a forced stop: branches that did something, or may have, and were not undone. */
  readonly notUndone: readonly string[];
}

const PATTERNS = createPatterns();
/** What the state alone says: nothing in flight, nothing held. */
const COMMITTED_ONLY = {
  drivenSinceAccepted: true,
  started: new Set<number>(),
  inflight: new Set<number>(),
  held: new Map<number, never>(),
  commitEachResult: false,
};

export function describeTransaction(
  transaction: Transaction,
  nowMs: number,
): TransactionDescription {
  const { definition, state } = transaction;
  const next = PATTERNS[definition.type]?.next(transaction, nowMs, COMMITTED_ONLY);
  const stuck = stuckBranches(transaction);
  return {
    status: state.status,
    waitingFor: next?.waitingFor ?? `support of trans type '${definition.type}'`,
    untilMs: next?.waitUntilMs,
    unblock: unblockOf(transaction, stuck),
    stuck,
    notUndone: state.forced === undefined ? [] : notUndone(transaction),
  };
}

function stuckBranches({ definition, state }: Transaction): readonly BranchDescription[] {
  if (isFinal(state.status)) return [];
  const stuck: BranchDescription[] = [];
  for (const [row, progress] of state.branches.entries()) {
    const branch = definition.branches[row];
    const last = progress.lastAttempts.at(-1) ?? progress.firstAttempts.at(-1);
    if (branch === undefined || last === undefined) continue;
    if (!holdsUp(state.status, branch, progress)) continue;
    stuck.push({
      branchId: branch.branchId,
      op: branch.op,
      url: branch.url,
      attemptCount: progress.attemptCount,
      lastOutcome: last.outcome,
      lastDetail: last.detail,
      nextAttemptMs: progress.retryAtMs,
    });
  }
  return stuck;
}

function unblockOf({ state }: Transaction, stuck: readonly BranchDescription[]): string {
  if (isFinal(state.status)) return '';
  const [first] = stuck;
  if (state.status === 'prepared' && first === undefined) return 'a submit of this gid';
  if (first === undefined) return '';
  const branch = `${first.op} ${first.branchId} at ${targetOf(first.url)}`;
  const answer =
    first.lastOutcome === 'ongoing'
      ? `${branch} answering something else than ongoing`
      : `${branch} answering success; its last answer was ${first.lastOutcome}`;
  return state.status === 'prepared' ? `a submit of this gid, or ${answer}` : answer;
}

/**
 * Branches with a trace of an action, or of a workflow's local XA, and no finished compensation, cancel
 * or rollback.
 */
function notUndone({ definition, state }: Transaction): readonly string[] {
  const phases = twoPhaseOf(definition.type);
  if (phases !== undefined) {
    // The client's own calls leave no trace here: whatever is registered may have run.
    return definition.branches.flatMap(({ branchId, op }, row) =>
      op === phases.backward && state.branches[row]?.status !== 'succeed' ? [branchId] : [],
    );
  }
  const ran = (progress: BranchProgress | undefined): boolean =>
    progress !== undefined && (progress.status !== 'prepared' || progress.attemptCount > 0);
  const undone = new Set<string>();
  for (const [row, { branchId, op }] of definition.branches.entries()) {
    // A workflow's client undoes its steps itself, and says so.
    const undoes = op === 'compensate' || op === 'rollback';
    if (undoes && state.branches[row]?.status === 'succeed') undone.add(branchId);
  }
  const branchIds: string[] = [];
  for (const [row, { branchId, op }] of definition.branches.entries()) {
    const wanted = state.branches[row - 1]?.wanted === true;
    if ((op !== 'action' && op !== 'business') || undone.has(branchId)) continue;
    if (ran(state.branches[row]) || wanted) branchIds.push(branchId);
  }
  return branchIds;
}
