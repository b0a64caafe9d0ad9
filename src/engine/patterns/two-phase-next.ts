// What a TCC or an XA transaction does next (dtm reference §5.9).
//
// Invariants
//   W3. A row is called only when those before it have succeeded and at most one of their successes
//       is not committed; with `commitEachResult`, none. An empty URL runs nothing and counts as none.
//   W4. After a takeover the rows without a committed success are called again (P5). As every row of
//       the direction is called anyway, nothing needs to be known of what an earlier leader started.

import type { BranchResult, Decision, Transaction } from '../machine/index.ts';
import { earliest, heldResults, proposeHeldMs, recordedResults } from './held-results.ts';
import { rowsInOrder, type TwoPhase, timeoutOf } from './two-phase-rows.ts';
import type { Bugs, Knowledge, NextActions } from './types.ts';

export interface TwoPhaseView {
  readonly phases: TwoPhase;
  readonly transaction: Transaction;
  readonly knowledge: Knowledge;
  readonly bugs: Bugs;
}

export function nextTwoPhase(view: TwoPhaseView, nowMs: number): NextActions {
  const { transaction, knowledge, bugs } = view;
  const held = heldResults(transaction, knowledge);
  switch (transaction.state.status) {
    case 'prepared': {
      const { atMs, reason } = timeoutOf(transaction);
      if (nowMs >= atMs) return decide(held, { to: 'aborting', reason, compensate: [] });
      const [first] = rowsInOrder(view.phases, transaction.definition, view.phases.forward);
      if (bugs.has('commitBeforeSubmit') && first !== undefined && knowledge.inflight.size === 0) {
        return { call: [first], record: undefined, waitUntilMs: atMs, waitingFor: 'a bug' };
      }
      return { call: [], record: undefined, waitUntilMs: atMs, waitingFor: 'its submit or abort' };
    }
    case 'submitted': {
      const { atMs, reason } = timeoutOf(transaction);
      const late = bugs.has('timeoutAfterSubmit') && nowMs >= atMs;
      const took = bugs.has('cancelAfterTakeover') && !knowledge.drivenSinceAccepted;
      return late || took
        ? decide(held, { to: 'aborting', reason, compensate: [] })
        : drive(view, held, nowMs);
    }
    case 'aborting':
      return drive(view, held, nowMs);
    case 'succeed':
    case 'failed':
      // Results that still arrive are recorded, such as after a forced stop (defect 12.25).
      return {
        call: [],
        record: held.length === 0 ? undefined : recordOf(held, undefined),
        waitUntilMs: undefined,
        waitingFor: 'nothing: it is finished',
      };
  }
}

/** Calls the row whose turn it is; decides when none is left. */
function drive(view: TwoPhaseView, held: readonly BranchResult[], nowMs: number): NextActions {
  const { knowledge, transaction } = view;
  const { state } = transaction;
  const { turn, uncommitted } = turnOf(view);
  if (turn === undefined) {
    const forward = state.status === 'submitted';
    return decide(held, forward ? { to: 'succeed' } : { to: 'failed', reason: '' });
  }
  // A row that another leader's late result has ended meanwhile may still be running here: one call
  // at a time.
  const [running] = knowledge.inflight;
  const blocked = uncommitted > (knowledge.commitEachResult ? 0 : 1);
  const free = running === undefined && !blocked && !knowledge.held.has(turn);
  const retryAtMs = state.branches[turn]?.retryAtMs;
  const isDue = retryAtMs === undefined || retryAtMs <= nowMs;
  const call = free && isDue ? [turn] : [];
  const times: (number | undefined)[] = free && !isDue ? [retryAtMs] : [];
  let record: NextActions['record'];
  if (held.length > 0) {
    const proposeMs = blocked ? nowMs : proposeHeldMs(held, knowledge);
    if (proposeMs <= nowMs) record = recordOf(held, undefined);
    else times.push(proposeMs);
  }
  const waitingFor = describeWait(transaction, turn, { running: running ?? call[0], held });
  return { call, record, waitUntilMs: earliest(times), waitingFor };
}

function describeWait(
  { definition }: Transaction,
  turn: number,
  now: { readonly running: number | undefined; readonly held: readonly BranchResult[] },
): string {
  const branch = definition.branches[now.running ?? turn];
  const name = `${branch?.op ?? 'row'} ${branch?.branchId ?? turn}`;
  if (now.running !== undefined) return `the answer of ${name}`;
  return now.held.length > 0 ? 'the commit of results' : `the next attempt of ${name}`;
}

/** The first row without a success, and how many before it have one that is not committed (W3). */
function turnOf({ phases, transaction, knowledge, bugs }: TwoPhaseView): {
  readonly turn: number | undefined;
  readonly uncommitted: number;
} {
  const { definition, state } = transaction;
  const op = state.status === 'submitted' ? phases.forward : phases.backward;
  let uncommitted = 0;
  const rows = rowsInOrder(phases, definition, op);
  const early = bugs.has('confirmAllButOne') && rows.length > 1;
  for (const row of early ? rows.slice(0, -1) : rows) {
    if (state.branches[row]?.status === 'succeed') continue;
    if (knowledge.held.get(row)?.outcome !== 'success') return { turn: row, uncommitted };
    if (definition.branches[row]?.url !== '') uncommitted += 1;
  }
  return { turn: undefined, uncommitted };
}

function decide(held: readonly BranchResult[], decision: Decision): NextActions {
  return {
    call: [],
    record: recordOf(held, decision),
    waitUntilMs: undefined,
    waitingFor: `the commit of its decision: ${decision.to}`,
  };
}

function recordOf(held: readonly BranchResult[], decision: Decision | undefined) {
  return { results: recordedResults(held), decision, retries: 0 };
}
