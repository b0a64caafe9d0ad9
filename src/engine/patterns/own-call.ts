// The call that the coordinator makes on its own account: asking a message's client whether its local
// transaction was committed (`query_prepared`), and calling a workflow's client back.
//
// It is a row like any other, the first one, so that attempts, back-off, held results and takeovers
// need nothing of their own for it. dtm has no such row: whoever shows rows to clients leaves it out.

import type { BranchDefinition, BranchOp, BranchProgress } from '../machine/index.ts';
import type { AttemptEnd } from './backoff.ts';

/** Fixed, because rows that are registered or expanded come after it. */
export const OWN_CALL_ROW = 0;

const OWN_CALL_BRANCH_ID = '00';

export type OwnCallOp = 'msg' | 'callback';

export function ownCall(op: OwnCallOp, url: string): BranchDefinition {
  return { branchId: OWN_CALL_BRANCH_ID, op, url, payload: undefined };
}

export function isOwnCall(branch: { readonly op: BranchOp } | undefined): boolean {
  return branch?.op === 'msg' || branch?.op === 'callback';
}

/**
 * What the back-off of a call goes by. A callback that answers success has not ended its workflow,
 * which only its client does: it is not called again any sooner than after an error (defect 12.8). A
 * check-back that is told to come again does so after the base interval (dtm reference §4.5).
 */
export function backoffOf(
  op: BranchOp | undefined,
  row: Pick<BranchProgress, 'intervalMs'>,
  outcome: AttemptEnd['outcome'],
  baseIntervalMs: number,
): Pick<AttemptEnd, 'row' | 'outcome'> {
  if (op === 'callback' && outcome === 'success') return { row, outcome: 'unknown' };
  if (op === 'msg' && outcome === 'ongoing')
    return { row: { intervalMs: baseIntervalMs }, outcome };
  return { row, outcome };
}
