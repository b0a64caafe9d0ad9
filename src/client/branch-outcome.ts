// What a branch's answer means. Pure.
//
// Source: dtm reference §4.4 (calls of branches), §10.5 (steps of workflows: the status alone).

import type { GrpcAnswer } from './coordinator/grpc-channels.ts';
import { GrpcStatus } from './coordinator/grpc-status.ts';
import type { HttpAnswer } from './coordinator/http-answer.ts';
import {
  AnsweredFailure,
  BranchError,
  type DtmError,
  FailureError,
  OngoingError,
} from './errors.ts';
import { recordedGrpcFailure } from './workflow/progress.ts';

/** Codes that PHP's services send in place of ABORTED and FAILED_PRECONDITION. */
const PHP_FAILURE = 409;
const PHP_ONGOING = 425;

/** Undefined: success. Old services say the result in the text alone, which goes first. */
export function httpBranchError({ status, text }: HttpAnswer): DtmError | undefined {
  const body = text.trim();
  if (status === 425 || body.includes('ONGOING')) return new OngoingError(body);
  if (status === 409 || body.includes('FAILURE')) return new FailureError(body);
  if (status !== 200) return new BranchError(`status ${status}: ${body}`);
  return undefined;
}

export function httpStepError({ status, text, bytes }: HttpAnswer): DtmError | undefined {
  if (status === 425) return new OngoingError(text);
  if (status === 409) return new AnsweredFailure(text, bytes);
  if (status !== 200) return new BranchError(`status ${status}: ${text}`);
  return undefined;
}

export function grpcBranchError(answer: GrpcAnswer): DtmError | undefined {
  if (answer.kind === 'ok') return undefined;
  const { code, details } = answer;
  switch (code) {
    case GrpcStatus.aborted:
    case PHP_FAILURE:
      // Services older than 1.10 say ongoing so.
      return details === 'ONGOING'
        ? new OngoingError()
        : new AnsweredFailure(details, recordedGrpcFailure(details));
    case GrpcStatus.failedPrecondition:
    case PHP_ONGOING:
      return new OngoingError(details);
    default:
      return new BranchError(`status ${code}: ${details}`);
  }
}
