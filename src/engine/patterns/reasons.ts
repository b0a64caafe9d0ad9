// The texts of `rollback_reason`, exactly as dtm writes them (dtm reference §5.12): services and
// tests look for them.

import { REASON_BYTES_MAX, truncateText } from './text.ts';

const SUFFIX = ' FAILURE';

/** The reason of a saga whose action answered failure; the word at the end is never doubled. */
export function actionFailedReason(url: string, detail: string): string {
  const text = detail.trim();
  const body = text.endsWith(SUFFIX) ? text.slice(0, -SUFFIX.length) : text;
  return endInFailure(`url:${url} return failed: ${body}`);
}

/** A failed row whose answer is not on record. */
export const FAIL_MESSAGE_LOST = 'fail message lost';

/** Prints the effective limit (defect 12.14: dtm prints 0 for a default one). */
export function timeoutReason(timeoutMs: number): string {
  return `Timeout after ${Math.round(timeoutMs / 1000)} seconds`;
}

export function retryLimitReason(retryLimit: number): string {
  return `RetryCount is greater than RetryLimit, RetryLimit: ${retryLimit}`;
}

/** A prepared transaction that nobody submitted (defect 12.34, P4). */
export function neverSubmittedReason(preparedExpiryMs: number): string {
  return `Not submitted within ${Math.round(preparedExpiryMs / 1000)} seconds`;
}

/** `text`, bounded, ending in the word that tells a dtm client of a business failure. */
export function endInFailure(text: string): string {
  return truncateText(text, REASON_BYTES_MAX - SUFFIX.length) + SUFFIX;
}

/** `reason` without the word at its end. */
export function withoutFailure(reason: string): string {
  return reason.endsWith(SUFFIX) ? reason.slice(0, -SUFFIX.length) : reason;
}
