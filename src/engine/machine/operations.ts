// What clients ask of transactions: prepare, submit, abort, forceStop, resetNextCronTime. What else
// they ask is in register-branch.ts, workflow-operations.ts and topics.ts.
//
// Each function checks every precondition itself and answers with dtm's words (dtm reference §1.4),
// exact to its spelling. A repeat of what was already decided is a success (P6); a contradiction keeps
// dtm's 409 and adds the stored reason. `strict` restores dtm's answer.

import { REASON_BYTES_MAX, truncateText, withoutFailure } from '../patterns/index.ts';
import { create } from './creation.ts';
import { topicKey, topicProblem } from './keyspace.ts';
import { abortMsg } from './msg-abort.ts';
import { hasPlannedAttempt, load, type OperationContext, retryNow } from './operation-context.ts';
import { failure, success, unknownGid } from './operation-results.ts';
import { registerBranch } from './register-branch.ts';
import { mergeSubmit, saysTheSame, stepsAgree } from './resubmit.ts';
import { runTopicOperation, topicKeysOf } from './topics.ts';
import { abortTwoPhase } from './two-phase-abort.ts';
import type {
  Key,
  OperationRequest,
  OperationResult,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from './types.ts';
import { validateInput } from './validate.ts';
import { isFinal } from './words.ts';
import { prepareWorkflow, submitWorkflow } from './workflow-operations.ts';

type Request<K extends OperationRequest['kind']> = Extract<OperationRequest, { readonly kind: K }>;

export function runOperation(
  context: OperationContext,
  request: OperationRequest,
): OperationResult {
  switch (request.kind) {
    case 'prepare':
      return prepare(context, request.transaction, request.defaults);
    case 'submit':
      return submit(context, request.transaction, request.defaults);
    case 'abort':
      return abort(context, request);
    case 'forceStop':
      return forceStop(context, request);
    case 'registerBranch':
      return registerBranch(context, request);
    case 'prepareWorkflow':
      return prepareWorkflow(context, request);
    case 'subscribe':
    case 'unsubscribe':
    case 'deleteTopic':
      return runTopicOperation(context.topics, request);
    case 'resetNextCronTime':
      return resetNextCronTime(context, request);
  }
}

/** The gids whose records an operation reads. */
export function gidsOf(request: OperationRequest): readonly string[] {
  switch (request.kind) {
    case 'prepare':
    case 'submit':
    case 'prepareWorkflow':
      return [request.transaction.gid];
    case 'abort':
    case 'forceStop':
    case 'registerBranch':
      return [request.gid];
    case 'resetNextCronTime':
      return request.gids;
    case 'subscribe':
    case 'unsubscribe':
    case 'deleteTopic':
      return [];
  }
}

/** The topics whose records an operation reads. */
export function topicKeysRead(request: OperationRequest): readonly Key[] {
  switch (request.kind) {
    case 'prepare':
    case 'submit':
      return topicKeysOf(request.transaction);
    case 'subscribe':
    case 'unsubscribe':
    case 'deleteTopic':
      return topicProblem(request.topic) === undefined ? [topicKey(request.topic)] : [];
    case 'prepareWorkflow':
    case 'abort':
    case 'forceStop':
    case 'registerBranch':
    case 'resetNextCronTime':
      return [];
  }
}

function prepare(
  context: OperationContext,
  input: TransactionInput,
  defaults: TransactionDefaults,
): OperationResult {
  const stored = load(context, input.gid);
  if (stored === undefined) return create(context, input, defaults, false);
  if (stored.state.status === 'prepared' && stored.definition.type === input.type) {
    return success(stored);
  }
  return failure(`current status '${stored.state.status}', cannot prepare.`);
}

function submit(
  context: OperationContext,
  input: TransactionInput,
  defaults: TransactionDefaults,
): OperationResult {
  const stored = load(context, input.gid);
  const strict = defaults.strictResubmit;
  if (input.type === 'workflow' || stored?.definition.type === 'workflow') {
    return submitWorkflow(context, stored, input, strict);
  }
  if (stored === undefined) return create(context, input, defaults, true);
  switch (stored.state.status) {
    case 'prepared':
      return submitPrepared(context, stored, input, defaults);
    case 'submitted':
      // The rows are the stored ones, never generated again (defect 12.1).
      if (!strict && !saysTheSame(input, stored)) return cannotSubmit(stored, strict);
      return context.bugs.has('resubmitReruns')
        ? create(context, input, defaults, true, stored)
        : success(hasPlannedAttempt(context, stored) ? retryNow(context, stored) : stored);
    case 'succeed':
      if (strict || !saysTheSame(input, stored)) return cannotSubmit(stored, strict);
      return context.bugs.has('resubmitReruns')
        ? create(context, input, defaults, true, stored)
        : success(stored);
    case 'aborting':
    case 'failed':
      return cannotSubmit(stored, strict);
  }
}

/** What the prepare stored is kept; what the submit gives besides overrides (dtm reference §5.3). */
function submitPrepared(
  context: OperationContext,
  stored: Transaction,
  input: TransactionInput,
  defaults: TransactionDefaults,
): OperationResult {
  const { definition, state } = stored;
  const strict = defaults.strictResubmit;
  // What is prepared is submitted as what it is, however strict (defect 12.12).
  if (input.type !== definition.type) return cannotSubmit(stored, strict);
  // To run other steps than asked for, or none, after a 200 would break P1.
  if (!strict && !stepsAgree(input, definition)) return cannotSubmit(stored, strict);
  const merged = mergeSubmit(definition, input, state.rollbackReason);
  const refused = validateInput(merged, context.patterns);
  const pattern = context.patterns[merged.type];
  if (refused !== undefined || pattern === undefined) return refused ?? cannotSubmit(stored, true);
  const at = { timeMs: state.createTimeMs, term: context.term, submitted: true };
  const created = pattern.create(merged, defaults, at);
  // The rows are those that were prepared or registered since, never generated again (§1.4).
  const { branches, payloads } = definition;
  const { intervalMs } = created.state;
  const after = {
    definition: { ...created.definition, branches, payloads },
    state: {
      ...created.state,
      updateTimeMs: context.timeMs,
      branches: state.branches.map((progress) => ({ ...progress, intervalMs })),
    },
  };
  return success(context.table.save(stored, after, { opId: context.opId }));
}

/** dtm's checks, in its order (dtm reference §1.4). What only its own branches end is refused. */
function abort(context: OperationContext, request: Request<'abort'>): OperationResult {
  const stored = load(context, request.gid);
  if (stored === undefined) return unknownGid(request.gid);
  const { definition, state } = stored;
  return (
    abortMsg(context, stored, request) ??
    abortTwoPhase(context, stored, request) ??
    failure(`trans type: '${definition.type}' current status '${state.status}', cannot abort.`)
  );
}

/** Ends a transaction where it stands (P3's one exception): by whom and why is kept. */
function forceStop(context: OperationContext, request: Request<'forceStop'>): OperationResult {
  const stored = load(context, request.gid);
  if (stored === undefined) return unknownGid(request.gid);
  const { definition, state } = stored;
  if (isFinal(state.status)) {
    if (state.forced !== undefined && request.strict !== true) return success(stored);
    return failure(`global transaction force stop error. status: ${state.status}. error:`);
  }
  const forced = {
    by: truncateText(request.by, REASON_BYTES_MAX),
    reason: truncateText(request.reason, REASON_BYTES_MAX),
  };
  // Why it was rolling back already says more than that it was stopped (defect 12.15).
  const why = forced.reason === '' ? '' : `: ${forced.reason}`;
  const stopped = truncateText(`force stopped by ${forced.by}${why}`, REASON_BYTES_MAX);
  const after: Transaction = {
    definition,
    state: {
      ...state,
      status: 'failed',
      updateTimeMs: context.timeMs,
      rollbackTimeMs: context.timeMs,
      rollbackReason: state.rollbackReason === '' ? stopped : state.rollbackReason,
      forced,
    },
  };
  return success(context.table.save(stored, after, { opId: context.opId }));
}

/** Finished ones are counted and left alone: nothing of them is due (defect 12.6). */
function resetNextCronTime(
  context: OperationContext,
  request: Request<'resetNextCronTime'>,
): OperationResult {
  let first: Transaction | undefined;
  let count = 0;
  const found: Transaction[] = [];
  for (const gid of request.gids) {
    const stored = load(context, gid);
    if (stored === undefined) {
      if (request.mustExist) return unknownGid(gid);
      continue;
    }
    first ??= stored;
    count += 1;
    if (!isFinal(stored.state.status)) found.push(stored);
  }
  for (const stored of found) retryNow(context, stored);
  return {
    kind: 'success',
    gid: first?.definition.gid ?? '',
    status: first?.state.status ?? 'prepared',
    count,
    waitResult: first?.definition.options.waitResult ?? false,
  };
}

/** dtm's text with its spelling; the stored reason, when there is one, stands before the last word. */
function cannotSubmit({ state }: Transaction, strict: boolean): OperationResult {
  const text = `current status '${state.status}', cannot sumbmit.`;
  const reason = strict ? '' : withoutFailure(state.rollbackReason);
  return failure(reason === '' ? text : `${text} ${reason}`);
}
