// What a saga compensates: every step whose action may have run (docs/architecture.md §Transactions,
// "What may have run"; dtm reference §5.7 rules 5–6).
//
// Invariants
//   S1. Every action on record is compensated, the failed one included.
//   S2. Every action that this leader started is compensated, whatever it answered (defect 12.20).
//   S3. Unless this leader has driven the saga since it was accepted, an earlier leader may have
//       started what is runnable in the committed state, and, because at most one level of successes
//       is uncommitted when a step starts, what would be runnable if those had succeeded. No more.
//
// Forgetting S3 loses money after a takeover: it is the first deliberate bug of the simulator.

import type { Transaction } from '../machine/index.ts';
import { actionRow, compensateRow } from './saga-graph.ts';
import { isRecorded, isRunnable, progressOf, type SagaView } from './saga-view.ts';
import type { Bugs } from './types.ts';

/** The compensating rows of all steps whose action may have run, in order. */
export function compensationsWanted(view: SagaView, bugs: Bugs): readonly number[] {
  const inherited =
    view.knowledge.drivenSinceAccepted || bugs.has('compensateOnlyRecorded')
      ? new Set<number>()
      : startedByEarlierLeader(view);
  const rows: number[] = [];
  for (let step = 0; step < view.stepCount; step += 1) {
    const row = actionRow(step);
    const { started, inflight, held } = view.knowledge;
    const ran = isRecorded(progressOf(view, row)) || held.has(row);
    if (ran || started.has(row) || inflight.has(row) || inherited.has(step)) {
      rows.push(compensateRow(step));
    }
  }
  return rows;
}

/** S3: steps that a leader before this one may have started without a trace in the log. */
function startedByEarlierLeader(view: SagaView): ReadonlySet<number> {
  const reached = new Set<number>();
  for (const level of [0, 1]) {
    const before = new Set(reached);
    const succeeded = (step: number): boolean =>
      progressOf(view, actionRow(step)).status === 'succeed' || (level > 0 && before.has(step));
    for (let step = 0; step < view.stepCount; step += 1) {
      const open = progressOf(view, actionRow(step)).status === 'prepared';
      if (open && isRunnable(view, step, succeeded)) reached.add(step);
    }
  }
  return reached;
}

/** The compensating rows of the actions on record (S1): what apply adds to any abort decision. */
export function recordedCompensations(transaction: Transaction): readonly number[] {
  const rows: number[] = [];
  for (const [row, definition] of transaction.definition.branches.entries()) {
    const progress = transaction.state.branches[row];
    if (definition.op === 'action' && progress !== undefined && isRecorded(progress)) {
      rows.push(row - 1);
    }
  }
  return rows;
}
