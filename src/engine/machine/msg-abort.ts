// The abort of a message by its client: possible while it is prepared, whatever type the request states
// (dtm reference §1.4). Nothing was sent, so it fails at once; why is stored (defect 12.15).

import { REASON_BYTES_MAX, truncateText } from '../patterns/index.ts';
import type { OperationContext } from './operation-context.ts';
import { success } from './operation-results.ts';
import type { OperationRequest, OperationResult, Transaction } from './types.ts';

type AbortRequest = Extract<OperationRequest, { readonly kind: 'abort' }>;

const NO_REASON_GIVEN = 'aborted by its client';

/** Undefined: it cannot be aborted so. */
export function abortMsg(
  context: OperationContext,
  stored: Transaction,
  request: AbortRequest,
): OperationResult | undefined {
  const { definition, state } = stored;
  if (definition.type !== 'msg') return undefined;
  // What an abort asks for is what has happened (P6), also where the check-back said so.
  const repeats = state.status === 'failed' && state.forced === undefined;
  if (repeats && request.strict !== true) return success(stored);
  if (state.status !== 'prepared') return undefined;
  const { timeMs } = context;
  const reason = request.rollbackReason === '' ? NO_REASON_GIVEN : request.rollbackReason;
  const after: Transaction = {
    definition,
    state: {
      ...state,
      status: 'failed',
      updateTimeMs: timeMs,
      rollbackTimeMs: timeMs,
      rollbackReason: truncateText(reason, REASON_BYTES_MAX),
    },
  };
  return success(context.table.save(stored, after, { opId: context.opId }));
}
