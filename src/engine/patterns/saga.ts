// The saga pattern: actions forward, compensations backward (dtm reference §5.7).
//
// Owns: what a saga is made of, and what apply may believe about a decision. What happens next is in
// saga-next.ts, what is compensated in saga-compensation.ts.

import type {
  BranchDefinition,
  Decision,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from '../machine/index.ts';
import { type CreatedAt, newTransaction } from './new-transaction.ts';
import { recordedCompensations } from './saga-compensation.ts';
import { actionRow, compensateRow, graphOf, isActionRow, stepOfRow } from './saga-graph.ts';
import { parseSagaOrder, validateSaga } from './saga-input.ts';
import { nextAborting, nextFinished, nextPrepared, nextSubmitted } from './saga-next.ts';
import { notBeforeMs } from './saga-retries.ts';
import { viewOf } from './saga-view.ts';
import { type Bugs, NO_BUGS, type Pattern } from './types.ts';

/** The saga pattern; `bugs` is for the simulator alone. */
export function createSagaPattern(bugs: Bugs = NO_BUGS): Pattern {
  return {
    validate: validateSaga,
    create: createSaga,
    next(transaction, nowMs, knowledge) {
      const view = viewOf(transaction, knowledge);
      switch (transaction.state.status) {
        case 'prepared':
          return nextPrepared(view, nowMs);
        case 'submitted':
          return nextSubmitted(view, nowMs, bugs);
        case 'aborting':
          return nextAborting(view, nowMs);
        case 'succeed':
        case 'failed':
          return nextFinished(view);
      }
    },
    failureEndsRow: (op) => op === 'action',
    checkDecision: (transaction, decision, timeMs) =>
      checkDecision(transaction, decision, timeMs, bugs),
    compensationOf: (_transaction, row) =>
      isActionRow(row) && !bugs.has('compensateOnlyRecorded') ? row - 1 : undefined,
    dueMs,
  };
}

function createSaga(
  input: TransactionInput,
  defaults: TransactionDefaults,
  at: CreatedAt,
): Transaction {
  const steps = input.steps ?? [];
  const order = parseSagaOrder(input.customData ?? '');
  if (typeof order === 'string') throw new Error(`created without validation: ${order}`);
  const branches = steps.flatMap((step, number): BranchDefinition[] => {
    const branchId = String(number + 1).padStart(2, '0');
    return [
      { branchId, op: 'compensate', url: step.compensate, payload: number },
      { branchId, op: 'action', url: step.action, payload: number },
    ];
  });
  const transaction = newTransaction(input, defaults, at, {
    steps,
    payloads: (input.payloads ?? []).slice(0, steps.length),
    branches,
    ...order,
    defaultTimeoutMs: undefined,
  });
  return { ...transaction, state: { ...transaction.state, dueMs: dueMs(transaction, at.timeMs) } };
}

function checkDecision(
  transaction: Transaction,
  decision: Decision,
  timeMs: number,
  bugs: Bugs,
): Decision | undefined {
  const { definition, state } = transaction;
  switch (decision.to) {
    case 'submitted':
      return undefined;
    case 'succeed': {
      const lastRow = bugs.has('decideSucceedEarly') ? state.branches.length - 1 : -1;
      const done = state.branches.every(
        ({ status }, row) => !isActionRow(row) || status === 'succeed' || row === lastRow,
      );
      return state.status === 'submitted' && done ? decision : undefined;
    }
    case 'aborting': {
      if (state.status !== 'submitted') return undefined;
      const named = decision.compensate.filter(
        (row) => definition.branches[row]?.op === 'compensate',
      );
      const rows = new Set([...named, ...recordedCompensations(transaction)]);
      return { ...decision, compensate: [...rows].sort((a, b) => a - b) };
    }
    case 'failed': {
      if (state.status === 'prepared') {
        return timeMs >= state.createTimeMs + definition.preparedExpiryMs ? decision : undefined;
      }
      const open = state.branches.some(({ wanted, status }) => wanted && status !== 'succeed');
      return state.status === 'aborting' && !open ? decision : undefined;
    }
  }
}

/**
 * Every unfinished saga has a time: of the rows whose turn has come, the next planned attempt, or one
 * interval from now where none is planned (an answer comes before); or its timeout or expiry.
 */
function dueMs(transaction: Transaction, nowMs: number): number | undefined {
  const { definition, state } = transaction;
  const forward = state.status === 'submitted';
  switch (state.status) {
    case 'succeed':
    case 'failed':
      return undefined;
    case 'prepared':
      return state.createTimeMs + definition.preparedExpiryMs;
    case 'submitted':
    case 'aborting': {
      const timeoutMs = forward ? definition.timeoutMs : undefined;
      let due = state.createTimeMs + (timeoutMs ?? Number.POSITIVE_INFINITY);
      let open = 0;
      for (const [row, progress] of state.branches.entries()) {
        const relevant = forward ? isActionRow(row) : progress.wanted;
        if (!relevant || progress.status !== 'prepared') continue;
        if (!hasTurn(transaction, row, forward)) continue;
        open += 1;
        due = Math.min(due, notBeforeMs(transaction, row) ?? nowMs + definition.baseIntervalMs);
      }
      return open === 0 ? Math.min(due, nowMs + definition.baseIntervalMs) : due;
    }
  }
}

/** Whether everything that a row waits for is committed: steps before it, or those rolled back first. */
function hasTurn({ definition, state }: Transaction, row: number, forward: boolean): boolean {
  const { predecessors, followers } = graphOf(definition);
  const step = stepOfRow(row);
  if (forward) {
    const before = predecessors[step] ?? [];
    return before.every((number) => state.branches[actionRow(number)]?.status === 'succeed');
  }
  return (followers[step] ?? []).every((number) => {
    const progress = state.branches[compensateRow(number)];
    return progress?.wanted !== true || progress.status === 'succeed';
  });
}
