// The workflow: its client runs it; the coordinator keeps what it has done, and calls a client back
// that falls silent (dtm reference §5.10).
//
// Invariants
//   F1. Only its client ends a workflow, or a forced stop: no answer of a callback, and no time, does.
//   F2. A callback comes one interval after the last sign of the run: creation, start of a run, recorded
//       step. So a run that makes progress is left alone (defect 12.8; dtm calls while it runs).
//   F3. A callback without progress after it is followed by the next at a growing, capped and jittered
//       distance; progress brings the base interval back.

import type { Transaction, TransactionDefaults, TransactionInput } from '../machine/index.ts';
import { heldResults, recordedResults } from './held-results.ts';
import { type CreatedAt, newTransaction } from './new-transaction.ts';
import { OWN_CALL_ROW, ownCall } from './own-call.ts';
import { type Bugs, type Knowledge, type NextActions, NO_BUGS, type Pattern } from './types.ts';
import { parseWorkflowStart, validateWorkflow } from './workflow-input.ts';

/** `bugs` is for the simulator alone. */
export function createWorkflowPattern(bugs: Bugs = NO_BUGS): Pattern {
  return {
    validate: validateWorkflow,
    create: createWorkflow,
    next: (transaction, nowMs, knowledge) => nextWorkflow(transaction, nowMs, knowledge, bugs),
    failureEndsRow: () => false,
    checkDecision: () => undefined,
    compensationOf: () => undefined,
    dueMs: (transaction) => dueMs(transaction),
    callOf({ definition }) {
      const start = parseWorkflowStart(definition.customData);
      if (typeof start === 'string') throw new Error(`created without validation: ${start}`);
      return { op: start.name, payload: start.data };
    },
  };
}

/** A sign of life: the callback waits, counted from now. `progress`: back-off starts again. */
export function renewLease(
  transaction: Transaction,
  nowMs: number,
  sign: 'progress' | 'run',
): Transaction {
  const { definition, state } = transaction;
  const row = state.branches[OWN_CALL_ROW];
  if (row === undefined) throw new Error(`workflow ${definition.gid} has no callback row`);
  const intervalMs = sign === 'progress' ? definition.baseIntervalMs : row.intervalMs;
  const leasedMs = nowMs + intervalMs;
  const retryAtMs = sign === 'progress' ? leasedMs : Math.max(leasedMs, row.retryAtMs ?? 0);
  const branches = state.branches.map((progress, at) =>
    at === OWN_CALL_ROW ? { ...progress, intervalMs, retryAtMs } : progress,
  );
  return { definition, state: { ...state, intervalMs, branches } };
}

function createWorkflow(
  input: TransactionInput,
  defaults: TransactionDefaults,
  at: CreatedAt,
): Transaction {
  // A workflow is never submitted into being: its client has nothing to submit before it ran.
  const created = newTransaction(
    input,
    defaults,
    { ...at, submitted: false },
    {
      steps: [],
      payloads: [],
      branches: [ownCall('callback', input.queryPrepared ?? '')],
      concurrent: input.options.concurrent === true,
      orders: new Map(),
      defaultTimeoutMs: undefined,
    },
  );
  const leased = renewLease(created, at.timeMs, 'progress');
  return { ...leased, state: { ...leased.state, dueMs: dueMs(leased) } };
}

function nextWorkflow(
  transaction: Transaction,
  nowMs: number,
  knowledge: Knowledge,
  bugs: Bugs,
): NextActions {
  const held = heldResults(transaction, knowledge);
  const results = recordedResults(held);
  const record = held.length === 0 ? undefined : { results, decision: undefined, retries: 0 };
  const { definition, state } = transaction;
  if (state.status !== 'prepared') {
    return actions({ record, waitingFor: 'nothing: it is finished' });
  }
  // At once, whatever it says: the next callback's time must survive this leader.
  if (record !== undefined) return actions({ record, waitingFor: 'the commit of results' });
  if (definition.queryPrepared === '') {
    return actions({ waitingFor: 'its client: it has no URL to call back' });
  }
  if (knowledge.inflight.has(OWN_CALL_ROW) && !bugs.has('callbackTwice')) {
    return actions({ waitingFor: 'the answer of its callback' });
  }
  const atMs = callbackAtMs(transaction);
  return nowMs < atMs
    ? actions({ waitUntilMs: atMs, waitingFor: 'progress of its client' })
    : actions({ call: [OWN_CALL_ROW], waitingFor: 'the answer of its callback' });
}

function callbackAtMs({ definition, state }: Transaction): number {
  return state.branches[OWN_CALL_ROW]?.retryAtMs ?? state.createTimeMs + definition.baseIntervalMs;
}

function dueMs(transaction: Transaction): number | undefined {
  const { definition, state } = transaction;
  if (state.status === 'succeed' || state.status === 'failed') return undefined;
  // Nothing is to be done for it ever; the due index has every unfinished one all the same.
  if (definition.queryPrepared === '') return state.createTimeMs + definition.preparedExpiryMs;
  return callbackAtMs(transaction);
}

function actions(given: Partial<NextActions> & Pick<NextActions, 'waitingFor'>): NextActions {
  return { call: [], record: undefined, waitUntilMs: undefined, ...given };
}
