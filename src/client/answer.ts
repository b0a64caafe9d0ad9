// What a service answers for a branch, in the protocol's words. Pure.
//
// Invariant: what is neither a failure nor ongoing never shows those words: a coordinator takes any
// text with them for the result (dtm reference §4.4).

import type { MetadataSource, QuerySource } from './branch.ts';
import { type Branch, branchFromMetadata, branchFromQuery } from './branch.ts';
import { GrpcStatus } from './coordinator/grpc-status.ts';
import { FailureError, failureText, messageOf, OngoingError } from './errors.ts';

export interface BranchHttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface BranchGrpcStatus {
  readonly code: number;
  readonly details: string;
}

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' } as const;

function withoutReservedWords(text: string): string {
  return text.replaceAll('FAILURE', 'failure').replaceAll('ONGOING', 'ongoing');
}

/** `error` undefined: the branch succeeded. */
export function httpAnswerOf(error?: unknown): BranchHttpAnswer {
  const answer = (status: number, body: object): BranchHttpAnswer => ({
    status,
    headers: JSON_HEADERS,
    body: JSON.stringify(body),
  });
  if (error === undefined) return answer(200, { dtm_result: 'SUCCESS' });
  if (error instanceof FailureError) {
    return answer(409, { dtm_result: 'FAILURE', message: withoutOngoing(error.message) });
  }
  if (error instanceof OngoingError) {
    return answer(425, { dtm_result: 'ONGOING', message: error.message });
  }
  return answer(500, { message: withoutReservedWords(messageOf(error)) });
}

/** The same JSON, in a text that shows neither word: a success that mentions one would not count. */
function successJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll('FAILURE', '\\u0046AILURE')
    .replaceAll('ONGOING', '\\u004fNGOING');
}

/** ONGOING goes before FAILURE when a text has both. */
function withoutOngoing(text: string): string {
  return text.replaceAll('ONGOING', 'ongoing');
}

export function grpcStatusOf(error: unknown): BranchGrpcStatus {
  if (error instanceof FailureError) {
    return { code: GrpcStatus.aborted, details: failureText(error) };
  }
  if (error instanceof OngoingError) {
    return { code: GrpcStatus.failedPrecondition, details: `${error.message} ONGOING` };
  }
  return { code: GrpcStatus.unknown, details: messageOf(error) };
}

/** Executes a branch and turns its end into an answer; what it returns is sent as JSON. */
export async function serveBranch(
  query: QuerySource,
  execute: (branch: Branch) => Promise<unknown>,
): Promise<BranchHttpAnswer> {
  try {
    const value = await execute(branchFromQuery(query));
    if (value === undefined) return httpAnswerOf();
    return { status: 200, headers: JSON_HEADERS, body: successJson(value) };
  } catch (error) {
    return httpAnswerOf(error ?? new Error('rejected without a reason'));
  }
}

/** A unary handler of grpc-js: what `execute` returns is the reply. */
export function grpcBranchHandler<Request, Reply>(
  execute: (branch: Branch, request: Request) => Promise<Reply>,
) {
  return (
    call: { readonly metadata: MetadataSource; readonly request: Request },
    callback: (error: BranchGrpcStatus | null, reply?: Reply) => void,
  ): void => {
    const run = async () => await execute(branchFromMetadata(call.metadata), call.request);
    run().then(
      (reply) => callback(null, reply),
      (error: unknown) => callback(grpcStatusOf(error)),
    );
  };
}
