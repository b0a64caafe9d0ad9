// What a route answers over HTTP: the mapping of replies to statuses and JSON text.
//
// Source: the dtm protocol reference §1.2.

import { ERROR_CODES, type ErrorCode, type Reply } from '../requests/index.ts';
import { jsonText, jsonTextWithoutReservedWords } from './json-text.ts';

export interface Answer {
  readonly status: number;
  /** JSON text. */
  readonly body: string;
  /** Undefined: JSON. */
  readonly contentType?: string;
  /** Undefined: an answer of the log. */
  readonly code: ErrorCode | undefined;
  readonly retryAfterMs: number | undefined;
}

const OVERLOAD_RETRY_MS = 1_000;

const SUCCESS: Answer = {
  status: 200,
  body: '{"dtm_result":"SUCCESS"}',
  code: undefined,
  retryAfterMs: undefined,
};

/** A stored text may have the words that clients search a 200 for (reference §1.2, §10.6). */
export function valueAnswer(value: unknown): Answer {
  const body = jsonTextWithoutReservedWords(value);
  return { status: 200, body, code: undefined, retryAfterMs: undefined };
}

/** An answer about the transaction: the text says which. */
function businessAnswer(status: 409 | 425, word: 'FAILURE' | 'ONGOING', message: string): Answer {
  const body = jsonText({ dtm_result: word, message });
  return { status, body, code: undefined, retryAfterMs: undefined };
}

/** dtm's plain error: 500 and nothing but a message. */
function plainErrorAnswer(message: string, code: ErrorCode | undefined): Answer {
  const body = jsonTextWithoutReservedWords({ message });
  return { status: ERROR_CODES.INVALID_REQUEST.http, body, code, retryAfterMs: undefined };
}

export function invalidAnswer(message: string): Answer {
  return plainErrorAnswer(message, 'INVALID_REQUEST');
}

/** A registerBranch that is no flat map: dtm's 400, its JSON under a plain type (reference §1.2). */
export function unreadableAnswer(message: string): Answer {
  const answer = invalidAnswer(message);
  return { ...answer, status: 400, contentType: 'text/plain; charset=utf-8' };
}

export function errorAnswer(
  code: ErrorCode,
  message: string,
  more: { readonly gid?: string | undefined; readonly retryAfterMs?: number | undefined } = {},
): Answer {
  const fields = { code, ...(more.gid === undefined ? {} : { gid: more.gid }), message };
  return {
    status: ERROR_CODES[code].http,
    body: jsonTextWithoutReservedWords(fields),
    code,
    retryAfterMs: more.retryAfterMs,
  };
}

export function overloadedAnswer(message: string): Answer {
  return errorAnswer('OVERLOADED', message, { retryAfterMs: OVERLOAD_RETRY_MS });
}

/** `view`: the answer of a success; without it, that of a success with nothing to return. */
export function replyAnswer<T>(reply: Reply<T>, view?: (value: T) => Answer): Answer {
  switch (reply.kind) {
    case 'success':
      return view === undefined ? SUCCESS : view(reply.value);
    case 'failure':
      return businessAnswer(409, 'FAILURE', reply.message);
    case 'ongoing':
      return businessAnswer(425, 'ONGOING', reply.message);
    case 'error': {
      const { code, message } = reply;
      if (code === undefined || code === 'INVALID_REQUEST') return plainErrorAnswer(message, code);
      return errorAnswer(code, message, reply);
    }
  }
}
