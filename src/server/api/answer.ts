// What a route answers, before anything of HTTP but its status: and the mapping of outcomes to it.
//
// Business results (200, 409, 425) come only from what the log says of a transaction; a condition of
// the cluster is 503 or 504 without the reserved words (P7; dtm reference §1.2, §5.4).

import type {
  OperationOutcome,
  OperationResult,
  ReadOutcome,
  RefusalCode,
  WaitOutcome,
} from '../../engine/index.ts';
import { ERROR_CODES, type ErrorCode } from './errors.ts';
import { jsonText, jsonTextWithoutReservedWords } from './json-text.ts';

export interface Answer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
  /** Undefined: an answer of the log. */
  readonly code: ErrorCode | undefined;
  readonly retryAfterMs: number | undefined;
}

export const SUCCESS: Answer = {
  status: 200,
  body: '{"dtm_result":"SUCCESS"}',
  code: undefined,
  retryAfterMs: undefined,
};

const NOT_FINISHED = 'wait result not return success: FAILURE';

export function valueAnswer(value: unknown): Answer {
  return { status: 200, body: jsonText(value), code: undefined, retryAfterMs: undefined };
}

/** dtm's failure: the text always ends in the word, once (reference §5.12, §11.6). */
export function failureAnswer(text: string): Answer {
  const message = text.endsWith(' FAILURE') ? text : `${text} FAILURE`;
  const body = jsonText({ dtm_result: 'FAILURE', message });
  return { status: 409, body, code: undefined, retryAfterMs: undefined };
}

function ongoingAnswer(): Answer {
  const body = '{"dtm_result":"ONGOING","message":"ONGOING"}';
  return { status: 425, body, code: undefined, retryAfterMs: undefined };
}

/** dtm's plain error: 500 and nothing but a message. */
export function invalidAnswer(message: string): Answer {
  return {
    status: ERROR_CODES.INVALID_REQUEST.http,
    body: jsonTextWithoutReservedWords({ message }),
    code: 'INVALID_REQUEST',
    retryAfterMs: undefined,
  };
}

export function errorAnswer(
  code: ErrorCode,
  message: string,
  more: { readonly gid?: string; readonly retryAfterMs?: number } = {},
): Answer {
  const fields = { code, ...(more.gid === undefined ? {} : { gid: more.gid }), message };
  return {
    status: ERROR_CODES[code].http,
    body: jsonTextWithoutReservedWords(fields),
    code,
    retryAfterMs: more.retryAfterMs,
  };
}

interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
  readonly retryAfterMs: number;
}

function refusedAnswer(refusal: Refusal): Answer {
  return errorAnswer(refusal.code, refusal.message, { retryAfterMs: refusal.retryAfterMs });
}

export function unknownAnswer(gid: string, message: string): Answer {
  const query = gid === '' ? '' : `, query gid ${gid}`;
  return errorAnswer('OUTCOME_UNKNOWN', `outcome unknown${query}: ${message}`, {
    ...(gid === '' ? {} : { gid }),
  });
}

function resultAnswer(result: OperationResult): Answer {
  switch (result.kind) {
    case 'success':
      return SUCCESS;
    case 'failure':
      return failureAnswer(result.message);
    case 'error':
      return invalidAnswer(result.message);
  }
}

export function operationAnswer(outcome: OperationOutcome, gid: string): Answer {
  switch (outcome.kind) {
    case 'applied':
      return resultAnswer(outcome.result);
    case 'refused':
      return refusedAnswer(outcome);
    case 'unknown':
      return unknownAnswer(gid, outcome.message);
  }
}

/** `waited`: what was asked; an abort that is not finished is ongoing (reference §5.4). */
export function waitAnswer(outcome: WaitOutcome, gid: string, waited: 'submit' | 'abort'): Answer {
  switch (outcome.kind) {
    case 'unknown':
      return unknownAnswer(gid, outcome.message);
    case 'final':
      if (waited === 'abort' || outcome.transaction.state.status === 'succeed') return SUCCESS;
      return reasonAnswer(outcome.transaction.state.rollbackReason);
    case 'notFinished':
      if (waited === 'abort') return ongoingAnswer();
      return reasonAnswer(outcome.transaction.state.rollbackReason);
  }
}

function reasonAnswer(reason: string): Answer {
  return failureAnswer(reason === '' ? NOT_FINISHED : reason);
}

/** `view` turns the value into an answer. */
export function readAnswer<T>(outcome: ReadOutcome<T>, view: (value: T) => Answer): Answer {
  switch (outcome.kind) {
    case 'value':
      return view(outcome.value);
    case 'refused':
      return refusedAnswer(outcome);
    case 'badPosition':
      return invalidAnswer('position is not one that this server gave out');
  }
}
