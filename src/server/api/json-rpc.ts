// JSON-RPC 2.0 on the HTTP port: newGid, prepare, submit, abort, registerBranch, one call per request.
//
// Where dtm is defective (12.30) this differs: dtm takes a numeric or null id for a parse error and
// answers parse errors with 400 and errors with `result: {}`. Here any id that is a text, a number or
// null is taken and echoed, every call is answered with 200, and `result` is null beside an error.
// As in dtm all four keys are always there, an empty or missing id is -32600, and ongoing is -32603
// (-32902 is reserved and never sent): clients look at `error` alone.
//
// What never becomes a call (a body too long, a node that starts) is answered by the HTTP server.
//
// Source: the dtm protocol reference, §2.

import type { Coordinator } from '../../engine/index.ts';
import {
  type ErrorReply,
  InvalidRequestError,
  invalidReply,
  type JsonLimits,
  newGid,
  parseJson,
  type Reply,
  successReply,
  type TransactionRequests,
  topLevelMembers,
} from '../requests/index.ts';
import { type Answer, overloadedAnswer } from './answer.ts';
import { jsonText, jsonTextWithoutReservedWords } from './json-text.ts';
import type { ApiRequest, Route } from './route.ts';
import type { TransactionBodyReader } from './transaction-body.ts';

export interface JsonRpcOptions {
  readonly reader: TransactionBodyReader;
  readonly limits: JsonLimits;
  readonly requests: TransactionRequests;
}

const PARSE_ERROR = -32_700;
const INVALID_REQUEST = -32_600;
const METHOD_NOT_FOUND = -32_601;
const INTERNAL_ERROR = -32_603;
const FAILURE = -32_901;
const SHOWN_LENGTH_MAX = 60;
/** JSON text of the id where none could be read, as dtm has it. */
const NO_ID = '""';

/** What the routes of these names have room for in an overload, they have here. */
const PROGRESS: ReadonlySet<string> = new Set(['abort', 'registerBranch']);

/** `params`: JSON text, read by the readers of the routes' bodies. */
type Procedure = (coordinator: Coordinator, params: string) => Promise<Reply<unknown>>;

interface Call {
  readonly kind: 'call';
  /** JSON text, to be echoed. */
  readonly id: string;
  readonly method: string;
  readonly params: string;
}
interface NoCall {
  readonly kind: 'noCall';
  readonly id: string;
  readonly code: number;
  readonly message: string;
}

function noCall(id: string, code: number, message: string): NoCall {
  return { kind: 'noCall', id, code, message };
}

/** What dtm's decoder could not hold is a parse error to it, and its id is lost. */
function readCall(text: string, limits: JsonLimits): Call | NoCall {
  const parsed = parseJson(text, limits);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return noCall(NO_ID, PARSE_ERROR, 'the body must be one JSON object');
  }
  // As in every body, keys match in any case and of several the last wins (reference §1.1).
  const texts = new Map(topLevelMembers(text).map(({ key, value }) => [key.toLowerCase(), value]));
  const valueOfKey = (name: string): unknown => JSON.parse(texts.get(name) ?? 'null');
  const [id, version, method] = [
    valueOfKey('id'),
    valueOfKey('jsonrpc') ?? '',
    valueOfKey('method') ?? '',
  ];
  if (typeof id !== 'string' && typeof id !== 'number' && id !== null) {
    return noCall(NO_ID, PARSE_ERROR, 'id must be a string, a number or null');
  }
  if (typeof version !== 'string' || typeof method !== 'string') {
    return noCall(NO_ID, PARSE_ERROR, 'jsonrpc and method must be strings');
  }
  // A number is echoed as it was written: it may have more digits than ours.
  const echo =
    typeof id === 'string' ? jsonTextWithoutReservedWords(id) : (texts.get('id') ?? NO_ID).trim();
  if (id === '' || !texts.has('id') || version !== '2.0') {
    return noCall(echo, INVALID_REQUEST, 'jsonrpc must be "2.0", and id must be given');
  }
  return { kind: 'call', id: echo, method, params: texts.get('params') ?? 'null' };
}

function procedures({ reader, requests }: JsonRpcOptions): ReadonlyMap<string, Procedure> {
  return new Map<string, Procedure>([
    // No dtm_result here, unlike the route (reference §11.37).
    ['newGid', () => Promise.resolve(successReply({ gid: newGid() }))],
    ['prepare', async (to, params) => requests.prepare(to, reader.readTransaction(params))],
    ['submit', async (to, params) => requests.submit(to, reader.readTransaction(params))],
    ['abort', async (to, params) => requests.abort(to, reader.readNamed(params))],
    [
      'registerBranch',
      async (to, params) => requests.registerBranch(to, reader.readRegistration(params)),
    ],
  ]);
}

function answerText(id: string, error: string, result: string): string {
  return `{"error":${error},"id":${id},"jsonrpc":"2.0","result":${result}}`;
}

function noCallAnswer({ id, code, message }: NoCall): Answer {
  const error = jsonTextWithoutReservedWords({ code, message });
  return answer(answerText(id, error, 'null'), 'INVALID_REQUEST');
}

function replyAnswer(id: string, reply: Reply<unknown>): Answer {
  switch (reply.kind) {
    case 'success':
      return answer(answerText(id, 'null', jsonText(reply.value ?? null)), undefined);
    case 'failure':
      return businessAnswer(id, FAILURE, reply.message);
    case 'ongoing':
      return businessAnswer(id, INTERNAL_ERROR, reply.message);
    case 'error': {
      const error = jsonTextWithoutReservedWords(errorObject(reply));
      return answer(answerText(id, error, 'null'), reply.code);
    }
  }
}

function businessAnswer(id: string, code: number, message: string): Answer {
  return answer(answerText(id, jsonText({ code, message }), 'null'), undefined);
}

/** A condition of the cluster says its code in `data`, which dtm never sends. */
function errorObject(reply: ErrorReply): Readonly<Record<string, unknown>> {
  const { code, message, gid, retryAfterMs } = reply;
  const error = { code: INTERNAL_ERROR, message };
  if (code === undefined || code === 'INVALID_REQUEST') return error;
  return { ...error, data: { code, gid, retryAfterMs } };
}

function answer(body: string, code: Answer['code']): Answer {
  return { status: 200, body, code, retryAfterMs: undefined };
}

export function jsonRpcRoute(options: JsonRpcOptions): Route {
  const byName = procedures(options);

  async function handle({ coordinator, text, isCrowded }: ApiRequest): Promise<Answer> {
    const call = orInvalid(
      () => readCall(text(), options.limits),
      (message) => noCall(NO_ID, PARSE_ERROR, message),
    );
    if (call.kind === 'noCall') return noCallAnswer(call);
    if (!PROGRESS.has(call.method) && isCrowded()) {
      return overloadedAnswer('too many requests in flight');
    }
    const procedure = byName.get(call.method);
    if (procedure === undefined) {
      const shown = call.method.slice(0, SHOWN_LENGTH_MAX);
      return noCallAnswer(noCall(call.id, METHOD_NOT_FOUND, `there is no method ${shown}`));
    }
    try {
      return replyAnswer(call.id, await procedure(coordinator, call.params));
    } catch (error) {
      if (!(error instanceof InvalidRequestError)) throw error;
      return replyAnswer(call.id, invalidReply(error.message));
    }
  }

  return {
    method: 'POST',
    path: '/api/json-rpc',
    api: 'json-rpc',
    // Which method is called is known only from the body.
    lane: 'progress',
    standalone: false,
    handle,
  };
}

function orInvalid<T>(read: () => T, instead: (message: string) => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof InvalidRequestError) return instead(error.message);
    throw error;
  }
}
