// The leader's own commands: results of calls with the decision that follows from them, and retention.
//
// Invariants
//   A1. A result is recorded while its row is open, whatever has become of the transaction, even after
//       a forced stop (defect 12.25) and when an older leader's result arrives late.
//   A2. A decision takes effect only from the status it expects and on rows that bear it out; what was
//       wanted to be compensated stays wanted (defect 12.20).
//   A3. A result of an action that arrives while the transaction aborts makes its compensation wanted.
//   A4. Nothing unresolved is ever forgotten, nothing before its retention.

import {
  type Pattern,
  type Patterns,
  REASON_BYTES_MAX,
  rowEnd,
  truncateText,
} from '../patterns/index.ts';
import { recordResult } from './branch-progress.ts';
import { expiresMs, type TransactionTable } from './transaction-table.ts';
import type {
  BranchProgress,
  BranchResult,
  Command,
  Decision,
  Transaction,
  TransactionState,
} from './types.ts';

export interface AdvanceContext {
  readonly table: TransactionTable;
  readonly patterns: Patterns;
  readonly timeMs: number;
}

type AdvanceCommand = Extract<Command, { readonly kind: 'advance' }>;

export function advance(context: AdvanceContext, command: AdvanceCommand): void {
  const stored = context.table.load(command.gid);
  // Forgotten, or stopped and forgotten: there is nothing left to tell.
  if (stored === undefined) return;
  const pattern = context.patterns[stored.definition.type];
  if (pattern === undefined) throw new Error(`${stored.definition.type} has no pattern`);
  const recorded = recordResults(stored, command.results, pattern, context.timeMs);
  const decision =
    command.decision !== undefined && recorded.state.status === command.expectStatus
      ? pattern.checkDecision(recorded, command.decision, context.timeMs)
      : undefined;
  let after = decision === undefined ? recorded : decide(recorded, decision, context.timeMs);
  if (command.retries > 0 && after !== stored) {
    after = withState(after, { retryCount: after.state.retryCount + command.retries });
  }
  if (after !== stored) context.table.save(stored, after);
}

function recordResults(
  stored: Transaction,
  results: readonly BranchResult[],
  pattern: Pattern,
  timeMs: number,
): Transaction {
  const { definition, state } = stored;
  const branches = [...state.branches];
  let intervalMs = state.intervalMs;
  let changed = false;
  for (const result of results) {
    const op = definition.branches[result.row]?.op;
    const progress = branches[result.row];
    if (op === undefined || progress === undefined) continue;
    const how = {
      timeMs,
      ended: rowEnd(pattern, op, result.outcome),
      // Progress that came while its callback ran has leased the workflow beyond the leader's plan.
      leasedUntilMs: op === 'callback' ? progress.retryAtMs : undefined,
    };
    const next = recordResult(progress, result, how);
    if (next === undefined) continue;
    changed = true;
    branches[result.row] = next;
    intervalMs = next.status === 'prepared' ? next.intervalMs : definition.baseIntervalMs;
    if (state.status === 'aborting') want(branches, pattern.compensationOf(stored, result.row));
  }
  return changed ? withState(stored, { branches, intervalMs, updateTimeMs: timeMs }) : stored;
}

function want(branches: BranchProgress[], row: number | undefined): void {
  const progress = row === undefined ? undefined : branches[row];
  if (row === undefined || progress === undefined || progress.wanted) return;
  branches[row] = { ...progress, wanted: true };
}

function decide(transaction: Transaction, decision: Decision, timeMs: number): Transaction {
  const changed = { status: decision.to, updateTimeMs: timeMs };
  switch (decision.to) {
    case 'submitted':
      return withState(transaction, changed);
    case 'succeed':
      return withState(transaction, { ...changed, finishTimeMs: timeMs });
    case 'failed': {
      const { rollbackReason } = transaction.state;
      const reason = decision.reason === '' ? rollbackReason : bounded(decision.reason);
      return withState(transaction, {
        ...changed,
        rollbackTimeMs: timeMs,
        rollbackReason: reason,
      });
    }
    case 'aborting': {
      const branches = [...transaction.state.branches];
      for (const row of decision.compensate) want(branches, row);
      const rollbackReason = bounded(decision.reason);
      return withState(transaction, { ...changed, rollbackReason, branches });
    }
  }
}

/** Retention (A4). */
export function purge(context: AdvanceContext, gids: readonly string[]): void {
  for (const gid of gids) {
    const stored = context.table.load(gid);
    if (stored === undefined) continue;
    const expiry = expiresMs(stored);
    if (expiry !== undefined && expiry <= context.timeMs) context.table.remove(stored);
  }
}

function withState(transaction: Transaction, changed: Partial<TransactionState>): Transaction {
  return { definition: transaction.definition, state: { ...transaction.state, ...changed } };
}

function bounded(reason: string): string {
  return truncateText(reason, REASON_BYTES_MAX);
}
