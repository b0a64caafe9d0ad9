// The door of the transaction patterns.

export type { AttemptEnd } from './backoff.ts';
export { nextAttempt } from './backoff.ts';
export { endInFailure, withoutFailure } from './reasons.ts';
export type { Patterns } from './registry.ts';
export { createPatterns } from './registry.ts';
export { DETAIL_BYTES_MAX, REASON_BYTES_MAX, truncateText } from './text.ts';
export type * from './types.ts';
export { NO_BUGS } from './types.ts';
