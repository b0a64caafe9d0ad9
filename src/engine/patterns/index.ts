// The door of the transaction patterns.

export type { AttemptEnd } from './backoff.ts';
export { nextAttempt } from './backoff.ts';
export { isDelayed, MSG_ROWS_MAX, topicOf } from './msg-input.ts';
export { freshProgress } from './new-transaction.ts';
export { backoffOf, isOwnCall, OWN_CALL_ROW } from './own-call.ts';
export { endInFailure, withoutFailure } from './reasons.ts';
export type { Patterns } from './registry.ts';
export { createPatterns } from './registry.ts';
export { rowEnd } from './row-end.ts';
export { DETAIL_BYTES_MAX, REASON_BYTES_MAX, truncateText } from './text.ts';
export { twoPhaseOf } from './two-phase-rows.ts';
export type * from './types.ts';
export { NO_BUGS } from './types.ts';
export { renewLease } from './workflow.ts';
