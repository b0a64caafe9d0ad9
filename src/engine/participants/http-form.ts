// The form of an HTTP call of a branch: what is sent where, and what the answer means. JSON-RPC has
// another form on the same targets (json-rpc-caller.ts). Pure.
//
// Source: the dtm protocol reference, §4.2, §4.4.

import { branchQuery, type CallUrl } from './call-url.ts';
import { type AnswerKind, readHttpAnswer } from './outcome.ts';
import type { BranchCall } from './types.ts';

export interface HttpRequest {
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly body: Uint8Array | null;
}

export interface HttpForm {
  /** A string says why nothing can be sent. */
  request(call: BranchCall, url: CallUrl): HttpRequest | string;
  /** `text`: the whole answer with surrounding white space removed. */
  readonly read: (status: number, text: string) => AnswerKind;
}

export const branchForm: HttpForm = {
  request(call, url) {
    // Resuming a workflow is always a POST: its documented handler takes nothing else (defect 12.8).
    const post = call.payload.length > 0 || call.type === 'xa' || call.type === 'workflow';
    return {
      path: url.prefix + branchQuery(call),
      method: post ? 'POST' : 'GET',
      body: call.payload.length > 0 ? call.payload : null,
    };
  },
  read: readHttpAnswer,
};
