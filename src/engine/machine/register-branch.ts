// registerBranch: a client adds a branch to a prepared transaction (dtm reference §1.4, §5.9, §5.10).
//
// Invariants
//   R1. Rows are added only while the transaction is prepared and of the type that is stated (defect
//       12.12); what has been decided sees no new branch.
//   R2. The same content again is a success, so that a client may repeat a request whose answer was
//       lost (defect 12.11); other content under the same id is refused and changes nothing.
//
// A workflow's steps follow rules of their own (workflow-operations.ts).
// Branch ids are opaque (§11.32): clients pad and nest them as they like.

import { twoPhaseOf } from '../patterns/index.ts';
import { load, type OperationContext } from './operation-context.ts';
import { error, failure, success } from './operation-results.ts';
import {
  addRows,
  findRow,
  type NewRow,
  type RegisterRequest,
  samePayload,
} from './registered-rows.ts';
import { textProblem } from './text-problem.ts';
import type { OperationResult, Registration, Transaction } from './types.ts';
import { registerProgress } from './workflow-operations.ts';

export const BRANCH_ID_BYTES_MAX = 1024;

export function registerBranch(
  context: OperationContext,
  request: RegisterRequest,
): OperationResult {
  const problem = branchIdProblem(request.branchId);
  if (problem !== undefined) return error(problem);
  const stored = load(context, request.gid);
  const { registration } = request;
  if (registration.kind === 'workflow') {
    return registerProgress(context, stored, request, registration);
  }
  const open = stored?.state.status === 'prepared' || context.bugs.has('registerAfterDecision');
  if (stored === undefined || !open || stored.definition.type !== registration.kind) {
    return failure(`no trans with gid: ${request.gid} status: prepared found`);
  }
  return registerTwoPhase(context, stored, request, twoPhaseRows(registration));
}

/** Backward first: the order is visible in `query` (dtm reference §11.12). */
function twoPhaseRows(
  registration: Exclude<Registration, { readonly kind: 'workflow' }>,
): readonly NewRow[] {
  const phases = twoPhaseOf(registration.kind);
  if (phases === undefined) throw new Error(`${registration.kind} is not decided in two phases`);
  const [backwardUrl, forwardUrl] =
    registration.kind === 'tcc'
      ? [registration.cancel, registration.confirm]
      : [registration.url, registration.url];
  return [
    { op: phases.backward, url: backwardUrl, status: 'prepared' },
    { op: phases.forward, url: forwardUrl, status: 'prepared' },
  ];
}

function registerTwoPhase(
  context: OperationContext,
  stored: Transaction,
  request: RegisterRequest,
  rows: readonly NewRow[],
): OperationResult {
  const { branchId } = request;
  const known = rows.map(({ op }) => findRow(stored, branchId, op));
  if (known.every((row) => row === undefined)) return addRows(context, stored, request, rows);
  const same = rows.every(({ url }, at) => {
    const row = known[at];
    return row?.url === url && samePayload(stored, row, request.payload);
  });
  return same
    ? success(stored)
    : failure(`branch ${branchId} is registered with different content.`);
}

/** What is wrong with a branch id, or undefined. */
function branchIdProblem(branchId: string): string | undefined {
  return branchId === ''
    ? 'branch_id is empty'
    : textProblem('branch_id', branchId, BRANCH_ID_BYTES_MAX);
}
