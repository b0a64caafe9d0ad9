// What a saga does next: forward while `submitted`, backward while `aborting` (dtm reference §5.7).
//
// Invariants
//   S4. A step starts only when its predecessors have succeeded and at most one level of those
//       successes is not committed; with `commitEachResult`, none.
//   S5. A failure, and every decision, is proposed at once, in one command with all held results;
//       after it nothing is called until it is committed (P2).
//   S6. A compensation never overtakes its own action while that is in flight here: it waits for the
//       call's end, which its request timeout bounds. dtm does not wait and relies on the barrier
//       alone, which is still needed for calls of a leader that died.
//   S7. Held results are proposed when held-results.ts says, or when what they hold up could start.

import type { BranchResult, Decision } from '../machine/index.ts';
import { earliest, proposeHeldMs, recordedResults } from './held-results.ts';
import {
  actionFailedReason,
  FAIL_MESSAGE_LOST,
  neverSubmittedReason,
  retryLimitReason,
  timeoutReason,
} from './reasons.ts';
import { compensationsWanted } from './saga-compensation.ts';
import { actionRow, compensateRow, heldLevels, isActionRow, stepOfRow } from './saga-graph.ts';
import { lastAttempt, notBeforeMs, retriesOf } from './saga-retries.ts';
import {
  effectiveStatus,
  everyAction,
  isHeld,
  isRunnable,
  progressOf,
  type SagaView,
} from './saga-view.ts';
import type { Bugs, NextActions } from './types.ts';

/** A prepared saga waits for its submit, but not for ever (defect 12.34). */
export function nextPrepared(view: SagaView, nowMs: number): NextActions {
  const { definition, state } = view.transaction;
  const expiresMs = state.createTimeMs + definition.preparedExpiryMs;
  if (nowMs < expiresMs) return idle(expiresMs, 'its submit');
  return decide(view, {
    to: 'failed',
    reason: neverSubmittedReason(definition.preparedExpiryMs),
  });
}

export function nextSubmitted(view: SagaView, nowMs: number, bugs: Bugs): NextActions {
  const lastRow = actionRow(view.stepCount - 1);
  const early = bugs.has('decideSucceedEarly') && view.stepCount > 1;
  const done = everyAction(
    view,
    (row) => effectiveStatus(view, row) === 'succeed' || (early && row === lastRow),
  );
  if (done) return decide(view, { to: 'succeed' });
  const reason = abortReason(view, nowMs);
  if (reason !== undefined) {
    const compensate = compensationsWanted(view, bugs);
    return decide(view, { to: 'aborting', reason, compensate });
  }
  const candidates: number[] = [];
  const succeeded = (step: number): boolean => effectiveStatus(view, actionRow(step)) === 'succeed';
  for (let step = 0; step < view.stepCount; step += 1) {
    const row = actionRow(step);
    if (effectiveStatus(view, row) === 'prepared' && isRunnable(view, step, succeeded)) {
      candidates.push(row);
    }
  }
  const { definition, state } = view.transaction;
  const deadlineMs =
    definition.timeoutMs === undefined ? undefined : state.createTimeMs + definition.timeoutMs;
  return drive(view, nowMs, { candidates, adjacency: view.predecessors, deadlineMs });
}

export function nextAborting(view: SagaView, nowMs: number): NextActions {
  const { branches } = view.transaction.state;
  const isRolledBack = (step: number): boolean =>
    branches[compensateRow(step)]?.wanted !== true ||
    effectiveStatus(view, compensateRow(step)) === 'succeed';
  const { followers } = view;
  const candidates: number[] = [];
  let open = 0;
  for (let step = 0; step < view.stepCount; step += 1) {
    if (isRolledBack(step)) continue;
    open += 1;
    const ownActionEnded = !view.knowledge.inflight.has(actionRow(step));
    if (ownActionEnded && (followers[step] ?? []).every(isRolledBack)) {
      candidates.push(compensateRow(step));
    }
  }
  if (open === 0) return decide(view, { to: 'failed', reason: '' });
  return drive(view, nowMs, { candidates, adjacency: followers, deadlineMs: undefined });
}

/** A finished saga only records what still arrives, such as results after a forced stop (12.25). */
export function nextFinished(view: SagaView): NextActions {
  const record = view.held.length === 0 ? undefined : recordOf(view, undefined);
  return { call: [], record, waitUntilMs: undefined, waitingFor: 'nothing: it is finished' };
}

/** Why a submitted saga must be rolled back now, or undefined. */
function abortReason(view: SagaView, nowMs: number): string | undefined {
  const { definition, state } = view.transaction;
  for (let step = 0; step < view.stepCount; step += 1) {
    const row = actionRow(step);
    if (effectiveStatus(view, row) !== 'failed') continue;
    const attempt = view.knowledge.held.get(row) ?? lastAttempt(progressOf(view, row));
    return attempt?.outcome === 'failure'
      ? actionFailedReason(definition.branches[row]?.url ?? '', attempt.detail)
      : FAIL_MESSAGE_LOST;
  }
  if (retriesOf(view).exceeded) return retryLimitReason(definition.options.retryLimit);
  const { timeoutMs } = definition;
  const timedOut = timeoutMs !== undefined && nowMs - state.createTimeMs >= timeoutMs;
  return timedOut ? timeoutReason(timeoutMs) : undefined;
}

interface Course {
  /** Rows whose turn has come, as far as order is concerned. */
  readonly candidates: readonly number[];
  /** What each step waits for in this direction. */
  readonly adjacency: readonly (readonly number[])[];
  readonly deadlineMs: number | undefined;
}

/** Calls what may be called now, and proposes held results when their time has come. */
function drive(view: SagaView, nowMs: number, course: Course): NextActions {
  const { knowledge, transaction } = view;
  const levelsMax = knowledge.commitEachResult ? 0 : 1;
  const forward = transaction.state.status === 'submitted';
  const heldStep = (step: number): boolean =>
    isHeld(view, forward ? actionRow(step) : compensateRow(step));
  const call: number[] = [];
  const times: (number | undefined)[] = [course.deadlineMs];
  let blocked = false;
  for (const row of course.candidates) {
    if (knowledge.inflight.has(row) || isHeld(view, row)) continue;
    if (heldLevels(stepOfRow(row), course.adjacency, heldStep) > levelsMax) {
      blocked = true;
      continue;
    }
    const atMs = notBeforeMs(transaction, row);
    if (atMs === undefined || atMs <= nowMs) call.push(row);
    else times.push(atMs);
  }
  let record: NextActions['record'];
  if (view.held.length > 0) {
    const proposeMs = blocked ? nowMs : proposeHeldMs(view.held, knowledge);
    if (proposeMs <= nowMs) record = recordOf(view, undefined);
    else times.push(proposeMs);
  }
  const waitUntilMs = earliest(times);
  return { call, record, waitUntilMs, waitingFor: describeWait(view, call, waitUntilMs) };
}

function recordOf(view: SagaView, decision: Decision | undefined) {
  const results: readonly BranchResult[] = recordedResults(view.held);
  const forward = view.transaction.state.status === 'submitted';
  return { results, decision, retries: forward ? retriesOf(view).retries : 0 };
}

function decide(view: SagaView, decision: Decision): NextActions {
  return {
    call: [],
    record: recordOf(view, decision),
    waitUntilMs: undefined,
    waitingFor: `the commit of its decision: ${decision.to}`,
  };
}

function idle(waitUntilMs: number, waitingFor: string): NextActions {
  return { call: [], record: undefined, waitUntilMs, waitingFor };
}

function describeWait(
  view: SagaView,
  call: readonly number[],
  waitUntilMs: number | undefined,
): string {
  const running = [...new Set([...call, ...view.knowledge.inflight])].sort((a, b) => a - b);
  if (running.length > 0) return `the answer of ${rowNames(view, running)}`;
  if (view.held.length > 0) return 'the commit of results';
  const retried: number[] = [];
  const forward = view.transaction.state.status === 'submitted';
  for (const [row, progress] of view.transaction.state.branches.entries()) {
    const relevant = forward ? isActionRow(row) : progress.wanted;
    if (relevant && progress.status === 'prepared' && progress.retryAtMs !== undefined) {
      retried.push(row);
    }
  }
  if (retried.length > 0) return `the next attempt of ${rowNames(view, retried)}`;
  return waitUntilMs === undefined ? 'nothing' : 'its turn';
}

function rowNames(view: SagaView, rows: readonly number[]): string {
  const shown = rows.slice(0, 3).map((row) => {
    const branch = view.transaction.definition.branches[row];
    return `${branch?.op ?? 'row'} ${branch?.branchId ?? row}`;
  });
  const more = rows.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}
