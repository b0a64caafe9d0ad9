// A saga as its leader sees it: the committed rows with the held results laid over them.
//
// Held results count for starting the next step, never for what is compensated or decided without
// them: whatever is decided on a held result travels in the command that records it (P2).

import type { BranchProgress, BranchResult, BranchStatus, Transaction } from '../machine/index.ts';
import { heldResults } from './held-results.ts';
import { actionRow, graphOf, isActionRow } from './saga-graph.ts';
import type { Knowledge } from './types.ts';

export interface SagaView {
  readonly transaction: Transaction;
  readonly knowledge: Knowledge;
  readonly stepCount: number;
  readonly predecessors: readonly (readonly number[])[];
  readonly followers: readonly (readonly number[])[];
  /** Held results whose rows are open, by row. */
  readonly held: readonly BranchResult[];
}

export function viewOf(transaction: Transaction, knowledge: Knowledge): SagaView {
  const { definition } = transaction;
  const stepCount = definition.branches.length >> 1;
  return {
    transaction,
    knowledge,
    stepCount,
    ...graphOf(definition),
    held: heldResults(transaction, knowledge),
  };
}

export function progressOf(view: SagaView, row: number): BranchProgress {
  const progress = view.transaction.state.branches[row];
  if (progress === undefined) throw new Error(`saga has no row ${row}`);
  return progress;
}

export function isHeld(view: SagaView, row: number): boolean {
  return view.knowledge.held.has(row) && progressOf(view, row).status === 'prepared';
}

/** A row's status once what is held is recorded. Only an action can fail. */
export function effectiveStatus(view: SagaView, row: number): BranchStatus {
  const committed = progressOf(view, row).status;
  const held = committed === 'prepared' ? view.knowledge.held.get(row) : undefined;
  if (held?.outcome === 'success') return 'succeed';
  return held?.outcome === 'failure' && isActionRow(row) ? 'failed' : committed;
}

/** Whether every predecessor of a step has succeeded, as far as `succeeded` knows. */
export function isRunnable(
  view: SagaView,
  step: number,
  succeeded: (step: number) => boolean,
): boolean {
  return (view.predecessors[step] ?? []).every(succeeded);
}

/** Whether any call of the row is on record: it ran, or may have. */
export function isRecorded(progress: BranchProgress): boolean {
  return progress.status !== 'prepared' || progress.attemptCount > 0;
}

export function everyAction(view: SagaView, holds: (row: number) => boolean): boolean {
  for (let step = 0; step < view.stepCount; step += 1) if (!holds(actionRow(step))) return false;
  return true;
}
