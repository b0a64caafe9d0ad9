// The form of a JSON-RPC call of a branch, over HTTP POST to the URL as it is: its `method` parameter
// names the method, the payload's object and the four ids are the params. Pure.
//
// Source: the dtm protocol reference, §4.3, §4.4. Repaired: the codes of failure and ongoing are
// recognised (defect 12.3), and an empty or null payload, or one that is no object, stands for params of
// the four ids alone (defect 12.4).

import type { HttpForm } from './http-form.ts';
import { type AnswerKind, readHttpAnswer } from './outcome.ts';
import type { BranchCall } from './types.ts';

const FAILURE_CODE = -32901;
const ONGOING_CODE = -32902;
const OUR_KEYS = ['gid', 'trans_type', 'branch_id', 'op'] as const;
const NOT_JSON = 'the payload of a JSON-RPC call is not JSON';

/** `newId` makes the id of each request. */
export function jsonRpcForm(newId: () => string): HttpForm {
  return {
    request(call, { url }) {
      const params = paramsText(call);
      if (params === undefined) {
        return NOT_JSON;
      }
      const method = JSON.stringify(url.searchParams.get('method') ?? '');
      const id = JSON.stringify(newId());
      const text = `{"id":${id},"jsonrpc":"2.0","method":${method},"params":${params}}`;
      return {
        path: url.pathname + url.search,
        method: 'POST',
        body: new TextEncoder().encode(text),
      };
    },
    read: readJsonRpcAnswer,
  };
}

/** First as any HTTP answer; what that calls a success may still carry an error. */
export function readJsonRpcAnswer(status: number, text: string): AnswerKind {
  const kind = readHttpAnswer(status, text);
  if (kind !== 'success') {
    return kind;
  }
  const answer = parsed(text);
  if (!isObject(answer)) {
    return 'unknown';
  }
  const error = answer['error'];
  if (error === undefined || error === null) {
    return 'success';
  }
  switch (isObject(error) ? error['code'] : undefined) {
    case FAILURE_CODE:
      return 'failure';
    case ONGOING_CODE:
      return 'ongoing';
    default:
      return 'unknown';
  }
}

/** JSON text; undefined: the payload is not JSON. */
function paramsText(call: BranchCall): string | undefined {
  const ids = {
    gid: call.gid,
    trans_type: call.type,
    branch_id: call.branchId,
    op: call.op,
  };
  const text = new TextDecoder().decode(call.payload).trim();
  const payload = text === '' ? null : parsed(text);
  if (payload === undefined) {
    return undefined;
  }
  if (!isObject(payload) || Object.keys(payload).length === 0) {
    return JSON.stringify(ids);
  }
  if (OUR_KEYS.some((key) => Object.hasOwn(payload, key))) {
    return JSON.stringify({ ...payload, ...ids });
  }
  // The payload's own text is kept: a parsed number may have lost digits.
  return `${text.slice(0, -1)},${JSON.stringify(ids).slice(1)}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
