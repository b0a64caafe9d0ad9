// The two-phase message: a client prepares it, commits its local transaction and submits; a client that
// falls silent in between is asked (dtm reference §5.8).
//
// Owns: what a message is made of, and what apply may believe about a decision. What happens next is in
// msg-next.ts, what a client may say in msg-input.ts.
//
// Invariants
//   M1. A message is delivered if and only if it was submitted by its client or its check-back
//       succeeded. It fails only while prepared: a submitted message never rolls back.
//   M2. Rows are fixed when the record is created, each topic by its subscribers of that moment: a
//       later submit runs them, whatever has become of the topic.
//   M3. Nothing is delivered before its time, however early it is looked at (defect 12.21).

import type {
  BranchDefinition,
  Decision,
  StepInput,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from '../machine/index.ts';
import { defaultTimeoutMs } from './limits.ts';
import { deliverAtMs, topicOf, validateMsg } from './msg-input.ts';
import { checkBackAtMs, nextMsg } from './msg-next.ts';
import { type CreatedAt, newTransaction } from './new-transaction.ts';
import { OWN_CALL_ROW, ownCall } from './own-call.ts';
import { type Bugs, NO_BUGS, type Pattern } from './types.ts';

/** `bugs` is for the simulator alone. */
export function createMsgPattern(bugs: Bugs = NO_BUGS): Pattern {
  return {
    validate: validateMsg,
    create: createMsg,
    next: (transaction, nowMs, knowledge) => nextMsg(transaction, nowMs, knowledge, bugs),
    // The check-back alone may say no; what was submitted is retried for ever.
    failureEndsRow: (op) => op === 'msg',
    checkDecision: (transaction, decision) => checkDecision(transaction, decision, bugs),
    compensationOf: () => undefined,
    dueMs,
  };
}

function createMsg(
  input: TransactionInput,
  defaults: TransactionDefaults,
  at: CreatedAt,
): Transaction {
  const steps = input.steps ?? [];
  const created = newTransaction(input, defaults, at, {
    steps,
    payloads: (input.payloads ?? []).slice(0, steps.length),
    branches: [
      ownCall('msg', input.queryPrepared ?? ''),
      ...steps.flatMap((step, number) => rowsOf(step, number, at)),
    ],
    concurrent: input.options.concurrent === true,
    orders: new Map(),
    defaultTimeoutMs: defaultTimeoutMs(defaults),
  });
  return { ...created, state: { ...created.state, dueMs: dueMs(created, at.timeMs) } };
}

/** Ids have a suffix only where a step became several (dtm reference §5.2). */
function rowsOf(step: StepInput, number: number, at: CreatedAt): readonly BranchDefinition[] {
  const branchId = String(number + 1).padStart(2, '0');
  const topic = topicOf(step);
  const urls = topic === undefined ? [step.action] : (at.subscribersOf?.(topic) ?? []);
  return urls.map((url, position) => ({
    branchId: urls.length === 1 ? branchId : `${branchId}-${String(position + 1).padStart(2, '0')}`,
    op: 'action',
    url,
    payload: number,
  }));
}

function checkDecision(
  { state }: Transaction,
  decision: Decision,
  bugs: Bugs,
): Decision | undefined {
  const answer = state.status === 'prepared' ? state.branches[OWN_CALL_ROW]?.status : undefined;
  switch (decision.to) {
    case 'submitted':
      if (answer === 'failed' && bugs.has('ignoreCheckBackFailure')) return decision;
      if (answer === 'prepared' && bugs.has('deliverWithoutCheckBack')) return decision;
      return answer === 'succeed' ? decision : undefined;
    case 'failed':
      return answer === 'failed' ? decision : undefined;
    case 'succeed': {
      const done = state.branches.every(
        ({ status }, row) => row === OWN_CALL_ROW || status === 'succeed',
      );
      return state.status === 'submitted' && done ? decision : undefined;
    }
    case 'aborting':
      return undefined;
  }
}

/** The check-back while prepared; then the delivery, and the attempts planned for what is open. */
function dueMs(transaction: Transaction, nowMs: number): number | undefined {
  const { definition, state } = transaction;
  switch (state.status) {
    case 'succeed':
    case 'failed':
      return undefined;
    case 'prepared':
      return checkBackAtMs(transaction);
    case 'submitted':
    case 'aborting': {
      const deliverMs = deliverAtMs(transaction);
      if (deliverMs !== undefined && deliverMs > nowMs) return deliverMs;
      const soonMs = nowMs + definition.baseIntervalMs;
      let due = soonMs;
      for (const [row, { status, retryAtMs }] of state.branches.entries()) {
        if (row === OWN_CALL_ROW || status === 'succeed') continue;
        if (!definition.concurrent) return retryAtMs ?? soonMs;
        due = Math.min(due, retryAtMs ?? soonMs);
      }
      return due;
    }
  }
}
