// The abort of a TCC or XA transaction by its client (dtm reference §1.4).
//
// Both the stated and the stored type must be the same one of the two (defect 12.12: dtm looks only at
// what is stated, and so pushes running workflows into a state that they cannot leave). A repeat while
// it rolls back, and after it ended so, is a success (P6, defect 12.24).

import { REASON_BYTES_MAX, truncateText, twoPhaseOf } from '../patterns/index.ts';
import { hasPlannedAttempt, type OperationContext, retryNow } from './operation-context.ts';
import { success } from './operation-results.ts';
import type { OperationRequest, OperationResult, Transaction } from './types.ts';

type AbortRequest = Extract<OperationRequest, { readonly kind: 'abort' }>;

/** Undefined: it cannot be aborted so. */
export function abortTwoPhase(
  context: OperationContext,
  stored: Transaction,
  request: AbortRequest,
): OperationResult | undefined {
  const { definition, state } = stored;
  if (twoPhaseOf(definition.type) === undefined || request.type !== definition.type) {
    return undefined;
  }
  switch (state.status) {
    case 'prepared':
      return success(rollBack(context, stored, request.rollbackReason));
    case 'aborting': {
      const told = withReason(context, stored, request.rollbackReason);
      return success(hasPlannedAttempt(context, told) ? retryNow(context, told) : told);
    }
    case 'failed':
      // Who stopped it by force left it half done: that is not what an abort asks for.
      return request.strict === true || state.forced !== undefined ? undefined : success(stored);
    case 'submitted':
    case 'succeed':
      return undefined;
  }
}

function rollBack(context: OperationContext, stored: Transaction, reason: string): Transaction {
  const { definition, state } = stored;
  const backward = twoPhaseOf(definition.type)?.backward;
  const branches = state.branches.map((progress, row) =>
    definition.branches[row]?.op === backward ? { ...progress, wanted: true } : progress,
  );
  const after: Transaction = {
    definition,
    state: {
      ...state,
      status: 'aborting',
      updateTimeMs: context.timeMs,
      rollbackReason: reason === '' ? state.rollbackReason : bounded(reason),
      branches,
    },
  };
  return context.table.save(stored, after, { opId: context.opId });
}

/** What the client says last is why, as with dtm. */
function withReason(context: OperationContext, stored: Transaction, reason: string): Transaction {
  const rollbackReason = bounded(reason);
  if (reason === '' || rollbackReason === stored.state.rollbackReason) return stored;
  const state = { ...stored.state, rollbackReason, updateTimeMs: context.timeMs };
  return context.table.save(stored, { ...stored, state }, { opId: context.opId });
}

function bounded(reason: string): string {
  return truncateText(reason, REASON_BYTES_MAX);
}
