// Deliberate bugs that the simulator must find. Test-only: nothing but a test passes a non-empty set.
//
// - `callBeforeCommit`: branches are called when a submit is proposed, not when it is applied.
// - `compensateBeforeDecision`: compensations run when the decision is proposed.
// - `dropHeldOnTimer`: results whose holding time is over are lost instead of proposed.
// - `ignoreLease`: calls are made without the dispatch lease.

import type { BranchResult, Command, Decision, Transaction } from '../machine/index.ts';
import type { Patterns } from '../patterns/index.ts';

export type SchedulerBugs = ReadonlySet<string>;

export const NO_SCHEDULER_BUGS: SchedulerBugs = new Set();

/** `callBeforeCommit`: the transaction as a submit would create it. */
export function createdBeforeCommit(
  command: Command,
  patterns: Patterns,
  at: { readonly timeMs: number; readonly term: number },
): Transaction | undefined {
  if (command.kind !== 'operation' || command.request.kind !== 'submit') {
    return undefined;
  }
  const { transaction, defaults } = command.request;
  const pattern = patterns[transaction.type];
  if (pattern?.validate(transaction) !== undefined) {
    return undefined;
  }
  return pattern?.create(transaction, defaults, { ...at, submitted: true });
}

/** `compensateBeforeDecision`: the transaction as the abort decision would leave it. */
export function abortedBeforeDecision(
  transaction: Transaction,
  results: readonly BranchResult[],
  decision: Extract<Decision, { to: 'aborting' }>,
): Transaction {
  const ended = new Map(results.map((result) => [result.row, result]));
  const branches = transaction.state.branches.map((progress, row) => {
    const outcome = ended.get(row)?.outcome;
    return {
      ...progress,
      wanted: progress.wanted || decision.compensate.includes(row),
      status: outcome === 'failure' ? ('failed' as const) : progress.status,
    };
  });
  return { ...transaction, state: { ...transaction.state, status: 'aborting', branches } };
}
