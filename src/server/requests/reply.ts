// What a request is answered, before any protocol: HTTP, JSON-RPC and gRPC are mappings of this.
//
// Business answers (failure, ongoing) come only from what the log says of a transaction; a condition
// of the cluster is an error with a code and never uses the reserved words (P7; dtm reference §1.2).

import type {
  OperationOutcome,
  OperationResult,
  ReadOutcome,
  RefusalCode,
} from '../../engine/index.ts';
import type { ErrorCode } from './errors.ts';

export type Reply<T = undefined> = SuccessReply<T> | FailureReply | OngoingReply | ErrorReply;

export interface SuccessReply<T> {
  readonly kind: 'success';
  readonly value: T;
}
/** An answer about the transaction; the message ends in the word FAILURE. */
export interface FailureReply {
  readonly kind: 'failure';
  readonly message: string;
}
export interface OngoingReply {
  readonly kind: 'ongoing';
  readonly message: 'ONGOING';
}
export interface ErrorReply {
  readonly kind: 'error';
  /**
   * Of the catalogue, which also says whether to retry and whether it may have happened. Undefined: a
   * branch that was waited for gave no result; dtm's plain error, the transaction goes on.
   */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly gid: string | undefined;
  readonly retryAfterMs: number | undefined;
}

export const SUCCESS: SuccessReply<undefined> = { kind: 'success', value: undefined };
export const ONGOING: OngoingReply = { kind: 'ongoing', message: 'ONGOING' };

export function successReply<T>(value: T): SuccessReply<T> {
  return { kind: 'success', value };
}

/** The text always ends in the word, once (dtm reference §5.12, §11.6). */
export function failureReply(text: string): FailureReply {
  return { kind: 'failure', message: text.endsWith(' FAILURE') ? text : `${text} FAILURE` };
}

export function errorReply(
  code: ErrorCode | undefined,
  message: string,
  more: { readonly gid?: string; readonly retryAfterMs?: number } = {},
): ErrorReply {
  return { kind: 'error', code, message, gid: more.gid, retryAfterMs: more.retryAfterMs };
}

/** dtm's plain error: the request cannot be carried out. */
export function invalidReply(message: string): ErrorReply {
  return errorReply('INVALID_REQUEST', message);
}

interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
  readonly retryAfterMs: number;
}

function refusedReply({ code, message, retryAfterMs }: Refusal): ErrorReply {
  return errorReply(code, message, { retryAfterMs });
}

export function unknownReply(gid: string, message: string): ErrorReply {
  const query = gid === '' ? '' : `, query gid ${gid}`;
  const text = `outcome unknown${query}: ${message}`;
  return errorReply('OUTCOME_UNKNOWN', text, gid === '' ? {} : { gid });
}

function resultReply(result: OperationResult): Reply {
  switch (result.kind) {
    case 'success':
      return SUCCESS;
    case 'failure':
      return failureReply(result.message);
    case 'error':
      return invalidReply(result.message);
  }
}

export function operationReply(outcome: OperationOutcome, gid: string): Reply {
  switch (outcome.kind) {
    case 'applied':
      return resultReply(outcome.result);
    case 'refused':
      return refusedReply(outcome);
    case 'unknown':
      return unknownReply(gid, outcome.message);
  }
}

export function readReply<T>(outcome: ReadOutcome<T>): SuccessReply<T> | ErrorReply {
  switch (outcome.kind) {
    case 'value':
      return successReply(outcome.value);
    case 'refused':
      return refusedReply(outcome);
    case 'badPosition':
      return invalidReply('position is not one that this server gave out');
  }
}
