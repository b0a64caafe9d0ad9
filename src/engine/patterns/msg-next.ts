// What a message does next (dtm reference §5.8; invariants in msg.ts).
//
// Rows are called in order, each after the success of the one before, of which one may be uncommitted;
// or all at once where the client asked for it, none waiting for another.

import type { BranchResult, BranchStatus, Decision, Transaction } from '../machine/index.ts';
import { earliest, heldResults, proposeHeldMs, recordedResults } from './held-results.ts';
import { deliverAtMs } from './msg-input.ts';
import { OWN_CALL_ROW } from './own-call.ts';
import { actionFailedReason, FAIL_MESSAGE_LOST } from './reasons.ts';
import { type Bugs, type Knowledge, type NextActions, NO_BUGS } from './types.ts';

interface MsgView {
  readonly transaction: Transaction;
  readonly knowledge: Knowledge;
  /** Held results whose rows are open, by row. */
  readonly held: readonly BranchResult[];
  readonly bugs: Bugs;
}

export function nextMsg(
  transaction: Transaction,
  nowMs: number,
  knowledge: Knowledge,
  bugs: Bugs = NO_BUGS,
): NextActions {
  const view = { transaction, knowledge, held: heldResults(transaction, knowledge), bugs };
  switch (transaction.state.status) {
    case 'prepared':
      return nextPrepared(view, nowMs);
    case 'submitted':
      return nextSubmitted(view, nowMs);
    case 'aborting':
    case 'succeed':
    case 'failed':
      // What still arrives is recorded, such as after a forced stop (defect 12.25).
      return {
        call: [],
        record: view.held.length === 0 ? undefined : recordOf(view, undefined),
        waitUntilMs: undefined,
        waitingFor: 'nothing: it is finished',
      };
  }
}

/** When the client is asked, if it says nothing before: after its timeout, then as planned. */
export function checkBackAtMs({ definition, state }: Transaction): number {
  const { timeoutMs, gid } = definition;
  if (timeoutMs === undefined) throw new Error(`${gid} has no timeout`);
  const retryAtMs = state.branches[OWN_CALL_ROW]?.retryAtMs;
  return Math.max(state.createTimeMs + timeoutMs, retryAtMs ?? 0);
}

/** The check-back decides; a client without one is taken to have committed (dtm reference §5.8). */
function nextPrepared(view: MsgView, nowMs: number): NextActions {
  const { transaction, knowledge, bugs } = view;
  const answer = effectiveStatus(view, OWN_CALL_ROW);
  if (answer === 'succeed') return decide(view, { to: 'submitted' });
  if (answer === 'failed' && bugs.has('ignoreCheckBackFailure')) {
    return decide(view, { to: 'submitted' });
  }
  if (answer === 'failed') return decide(view, { to: 'failed', reason: checkBackReason(view) });
  if (view.held.length > 0) return waiting('the commit of results', recordOf(view, undefined));
  if (knowledge.inflight.has(OWN_CALL_ROW)) return waiting('the answer of query_prepared');
  const atMs = checkBackAtMs(transaction);
  if (nowMs < atMs) {
    return { ...waiting('its submit or abort'), waitUntilMs: atMs };
  }
  if (bugs.has('deliverWithoutCheckBack')) return decide(view, { to: 'submitted' });
  return { ...waiting('the answer of query_prepared'), call: [OWN_CALL_ROW] };
}

function nextSubmitted(view: MsgView, nowMs: number): NextActions {
  const { transaction, knowledge } = view;
  const proposeMs = view.held.length === 0 ? undefined : proposeHeldMs(view.held, knowledge);
  const deliverMs = view.bugs.has('ignoreDelay') ? undefined : deliverAtMs(transaction);
  if (deliverMs !== undefined && nowMs < deliverMs) {
    const record = isDue(proposeMs, nowMs) ? recordOf(view, undefined) : undefined;
    const waitUntilMs = earliest([deliverMs, record === undefined ? proposeMs : undefined]);
    return { call: [], record, waitUntilMs, waitingFor: 'the time of its delivery' };
  }
  const { open, blocked } = openRows(view);
  if (open.length === 0) return decide(view, { to: 'succeed' });
  const call: number[] = [];
  const times: (number | undefined)[] = [];
  for (const row of blocked ? [] : open) {
    if (knowledge.inflight.has(row) || knowledge.held.has(row)) continue;
    const retryAtMs = transaction.state.branches[row]?.retryAtMs;
    if (retryAtMs === undefined || retryAtMs <= nowMs) call.push(row);
    else times.push(retryAtMs);
  }
  let record: NextActions['record'];
  if (view.held.length > 0 && (blocked || isDue(proposeMs, nowMs))) {
    record = recordOf(view, undefined);
  } else {
    times.push(proposeMs);
  }
  return { call, record, waitUntilMs: earliest(times), waitingFor: describeWait(view, open, call) };
}

/**
 * The rows whose turn it is: all that are open, or in order the first one, with those behind it as long
 * as none has a URL, which take no call. `blocked`: they wait for the commit of the successes before.
 */
function openRows(view: MsgView): { readonly open: readonly number[]; readonly blocked: boolean } {
  const { transaction, knowledge } = view;
  const { definition, state } = transaction;
  const open: number[] = [];
  let uncommitted = 0;
  for (let row = OWN_CALL_ROW + 1; row < state.branches.length; row += 1) {
    if (effectiveStatus(view, row) !== 'succeed') {
      const together = definition.concurrent || definition.branches[row]?.url === '';
      if (together || open.length === 0) open.push(row);
      if (!together) break;
    } else if (state.branches[row]?.status !== 'succeed' && definition.branches[row]?.url !== '') {
      uncommitted += 1;
    }
  }
  const uncommittedMax = knowledge.commitEachResult ? 0 : 1;
  return { open, blocked: !definition.concurrent && uncommitted > uncommittedMax };
}

/** A row's status once what is held is recorded. Only the check-back can fail. */
function effectiveStatus({ transaction, knowledge }: MsgView, row: number): BranchStatus {
  const committed = transaction.state.branches[row]?.status ?? 'prepared';
  if (committed !== 'prepared') return committed;
  const outcome = knowledge.held.get(row)?.outcome;
  if (outcome === 'success') return 'succeed';
  return outcome === 'failure' && row === OWN_CALL_ROW ? 'failed' : committed;
}

function checkBackReason({ transaction, knowledge }: MsgView): string {
  const progress = transaction.state.branches[OWN_CALL_ROW];
  const recorded = progress?.lastAttempts.at(-1) ?? progress?.firstAttempts.at(-1);
  const attempt = knowledge.held.get(OWN_CALL_ROW) ?? recorded;
  return attempt?.outcome === 'failure'
    ? actionFailedReason(transaction.definition.queryPrepared, attempt.detail)
    : FAIL_MESSAGE_LOST;
}

function isDue(timeMs: number | undefined, nowMs: number): boolean {
  return timeMs !== undefined && timeMs <= nowMs;
}

function recordOf({ held }: MsgView, decision: Decision | undefined) {
  return { results: recordedResults(held), decision, retries: 0 };
}

function decide(view: MsgView, decision: Decision): NextActions {
  return waiting(`the commit of its decision: ${decision.to}`, recordOf(view, decision));
}

function waiting(waitingFor: string, record?: NextActions['record']): NextActions {
  return { call: [], record, waitUntilMs: undefined, waitingFor };
}

function describeWait(view: MsgView, open: readonly number[], call: readonly number[]): string {
  const running = open.filter((row) => call.includes(row) || view.knowledge.inflight.has(row));
  const rows = running.length > 0 ? running : open;
  const [first = OWN_CALL_ROW] = rows;
  const branchId = view.transaction.definition.branches[first]?.branchId ?? '';
  const named =
    rows.length > 1 ? `action ${branchId} and ${rows.length - 1} more` : `action ${branchId}`;
  if (running.length > 0) return `the answer of ${named}`;
  return view.held.length > 0 ? 'the commit of results' : `the next attempt of ${named}`;
}
