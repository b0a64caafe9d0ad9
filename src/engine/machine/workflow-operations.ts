// What the client of a workflow asks: to start or resume it, to keep a step's result, to end it
// (dtm reference §1.4, §5.10).
//
// Invariants
//   K1. Starting finds what exists, in any status: the client then goes by the recorded progress.
//   K2. The first result of a step stands. A repeat of it is a success, another one an error, never the
//       answer 409, which a client would take for a business failure of the step and roll back.
//   K3. An end is recorded once, by the client's word, together with its result and reason.

import { REASON_BYTES_MAX, renewLease, truncateText } from '../patterns/index.ts';
import { create } from './creation.ts';
import { load, type OperationContext } from './operation-context.ts';
import { error, failure, success } from './operation-results.ts';
import { addRows, findRow, type RegisterRequest, samePayload } from './registered-rows.ts';
import type {
  BranchDefinition,
  BranchOp,
  BranchStatus,
  OperationRequest,
  OperationResult,
  Registration,
  Transaction,
  TransactionInput,
  TransactionState,
  WorkflowEnd,
} from './types.ts';

type Request<K extends OperationRequest['kind']> = Extract<OperationRequest, { readonly kind: K }>;
type Progress = Extract<Registration, { readonly kind: 'workflow' }>;

const STEP_OPS = [
  'action',
  'commit',
  'rollback',
  'business',
] as const satisfies readonly BranchOp[];

/** K1. A run begins: the callback leaves it an interval's time. */
export function prepareWorkflow(
  context: OperationContext,
  request: Request<'prepareWorkflow'>,
): OperationResult {
  const { transaction: input, defaults } = request;
  const stored = load(context, input.gid);
  if (stored === undefined) {
    return input.type === 'workflow'
      ? create(context, input, defaults, false)
      : error(`trans type '${input.type}' cannot be prepared as a workflow`);
  }
  if (!isRunning(stored)) return success(stored);
  const leased = renewLease(stored, context.timeMs, 'run');
  return success(context.table.save(stored, leased, { opId: context.opId }));
}

/**
 * K2. A workflow that has ended is told apart from one that never was: its client must not take it
 * for the failure of a step either.
 */
export function registerProgress(
  context: OperationContext,
  stored: Transaction | undefined,
  request: RegisterRequest,
  progress: Progress,
): OperationResult {
  const text = `no trans with gid: ${request.gid} status: prepared found`;
  if (stored?.definition.type !== 'workflow') return failure(text);
  const op = STEP_OPS.find((word) => word === progress.op);
  if (op === undefined) return error(`op must be one of ${STEP_OPS.join(', ')}`);
  const status = stepStatus(progress.status);
  if (status === undefined) return error('status must be succeed or failed');
  const { branchId, payload } = request;
  const known = findRow(stored, branchId, op);
  if (known !== undefined) {
    const row = stored.definition.branches.indexOf(known);
    const same = stored.state.branches[row]?.status === status;
    if (same && samePayload(stored, known, payload)) return success(stored);
    if (context.bugs.has('workflowRecordOverwritten')) {
      return overwrite(context, stored, known, payload);
    }
    return error(`${op} of branch ${branchId} is on record with another result, which stands`);
  }
  if (!isRunning(stored)) return error(text);
  const leased = context.bugs.has('callbackWithoutLease')
    ? stored
    : renewLease(stored, context.timeMs, 'progress');
  return addRows(context, stored, request, [{ op, url: '', status }], leased);
}

/** `workflowRecordOverwritten`: a deliberate bug. */
function overwrite(
  context: OperationContext,
  stored: Transaction,
  row: BranchDefinition,
  payload: Uint8Array,
): OperationResult {
  const { definition } = stored;
  const payloads = definition.payloads.map((bytes, at) => (at === row.payload ? payload : bytes));
  const after = { ...stored, definition: { ...definition, payloads } };
  return success(context.table.save(stored, after, { opId: context.opId }));
}

/** K3. dtm moves a prepared record only, and knows no other (`storage: NotFound`). */
export function submitWorkflow(
  context: OperationContext,
  stored: Transaction | undefined,
  input: TransactionInput,
  strict: boolean,
): OperationResult {
  if (stored?.definition.type !== 'workflow') return error('storage: NotFound');
  const { status } = stored.state;
  if (input.type !== 'workflow') return failure(`current status '${status}', cannot sumbmit.`);
  const end = input.workflowEnd;
  if (end === undefined) return error('req_extra: status must be succeed or failed');
  if (isRunning(stored)) {
    const after = {
      definition: stored.definition,
      state: ended(stored.state, end, context.timeMs),
    };
    return success(context.table.save(stored, after, { opId: context.opId }));
  }
  const repeats = !strict && saysTheSameEnd(stored.state, end);
  return repeats ? success(stored) : error('storage: NotFound');
}

function ended(state: TransactionState, end: WorkflowEnd, timeMs: number): TransactionState {
  const succeeded = end.status === 'succeed';
  return {
    ...state,
    status: end.status,
    updateTimeMs: timeMs,
    finishTimeMs: succeeded ? timeMs : undefined,
    rollbackTimeMs: succeeded ? undefined : timeMs,
    rollbackReason: reasonOf(end) === '' ? state.rollbackReason : reasonOf(end),
    result: end.result,
  };
}

/**
 * P6. A result that is empty says nothing. The reason of a failure decides nothing, and the first one
 * stands: dtm's Go client words it anew in a run that resumed over gRPC (dtm reference §10.5).
 */
function saysTheSameEnd(state: TransactionState, end: WorkflowEnd): boolean {
  if (state.forced !== undefined || state.status !== end.status) return false;
  return end.status === 'failed' || end.result === '' || end.result === state.result;
}

function reasonOf({ rollbackReason }: WorkflowEnd): string {
  return truncateText(rollbackReason, REASON_BYTES_MAX);
}

function isRunning({ definition, state }: Transaction): boolean {
  return definition.type === 'workflow' && state.status === 'prepared';
}

function stepStatus(status: string): Exclude<BranchStatus, 'prepared'> | undefined {
  return status === 'succeed' || status === 'failed' ? status : undefined;
}
