// The core that TCC and XA share: clients register branches while the transaction is prepared; one
// decision sends all of them the same way, one at a time (dtm reference §5.9).
//
// Owns: what such a transaction is made of, and what apply may believe about a decision. What happens
// next is in two-phase-next.ts.
//
// Invariants
//   W1. Only a prepared transaction is decided, once: `submitted` never becomes `aborting`, so what
//       is confirmed is never cancelled, and the other way round (P3).
//   W2. Every row of the direction taken is called until it succeeds, in the order of its type; rows
//       of the other direction are never called. A failure is retried as an unknown error.

import type { BranchOp, Decision, Transaction } from '../machine/index.ts';
import { defaultTimeoutMs } from './limits.ts';
import { newTransaction } from './new-transaction.ts';
import { nextTwoPhase } from './two-phase-next.ts';
import { rowsInOrder, type TwoPhase, timeoutOf } from './two-phase-rows.ts';
import { type Bugs, NO_BUGS, type Pattern } from './types.ts';

const NO_PAYLOAD = new Uint8Array();

/** `bugs` is for the simulator alone. */
export function createTwoPhasePattern(phases: TwoPhase, bugs: Bugs = NO_BUGS): Pattern {
  return {
    // What a prepare or submit of these types says besides its options is not looked at (§1.3).
    validate: () => undefined,
    create(input, defaults, at) {
      const created = newTransaction(input, defaults, at, {
        steps: [],
        payloads: [],
        branches: [],
        concurrent: false,
        orders: new Map(),
        defaultTimeoutMs: defaultTimeoutMs(defaults),
      });
      const due = dueMs(phases, created, at.timeMs);
      return { ...created, state: { ...created.state, dueMs: due } };
    },
    next: (transaction, nowMs, knowledge) =>
      nextTwoPhase({ phases, transaction, knowledge, bugs }, nowMs),
    failureEndsRow: () => false,
    checkDecision: (transaction, decision, timeMs) =>
      checkDecision(phases, transaction, decision, { timeMs, bugs }),
    // Every row to roll back is wanted from the decision on.
    compensationOf: () => undefined,
    ...(phases.sendsPayload ? {} : { callOf: withoutPayload }),
    dueMs: (transaction, nowMs) => dueMs(phases, transaction, nowMs),
  };
}

function withoutPayload({ definition }: Transaction, row: number) {
  return { op: definition.branches[row]?.op ?? '', payload: NO_PAYLOAD };
}

function checkDecision(
  phases: TwoPhase,
  transaction: Transaction,
  decision: Decision,
  { timeMs, bugs }: { readonly timeMs: number; readonly bugs: Bugs },
): Decision | undefined {
  const { definition, state } = transaction;
  const isDone = (op: BranchOp): boolean =>
    bugs.has('confirmAllButOne') ||
    definition.branches.every(
      (branch, row) => branch.op !== op || state.branches[row]?.status === 'succeed',
    );
  switch (decision.to) {
    case 'submitted':
      return undefined;
    case 'aborting': {
      const takes = bugs.has('cancelAfterTakeover') && state.status === 'submitted';
      const open = state.status === 'prepared' || bugs.has('timeoutAfterSubmit') || takes;
      if (!open || (!takes && timeMs < timeoutOf(transaction).atMs)) return undefined;
      const rows = rowsInOrder(phases, definition, phases.backward);
      return { ...decision, compensate: [...rows].sort((a, b) => a - b) };
    }
    case 'succeed':
      return state.status === 'submitted' && isDone(phases.forward) ? decision : undefined;
    case 'failed':
      return state.status === 'aborting' && isDone(phases.backward) ? decision : undefined;
  }
}

/** The timeout while prepared; then the planned attempt of the row whose turn it is. */
function dueMs(phases: TwoPhase, transaction: Transaction, nowMs: number): number | undefined {
  const { definition, state } = transaction;
  switch (state.status) {
    case 'succeed':
    case 'failed':
      return undefined;
    case 'prepared':
      return timeoutOf(transaction).atMs;
    case 'submitted':
    case 'aborting': {
      const op = state.status === 'submitted' ? phases.forward : phases.backward;
      const turn = rowsInOrder(phases, definition, op).find(
        (row) => state.branches[row]?.status !== 'succeed',
      );
      const retryAtMs = turn === undefined ? undefined : state.branches[turn]?.retryAtMs;
      return retryAtMs ?? nowMs + definition.baseIntervalMs;
    }
  }
}
