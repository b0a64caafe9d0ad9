// What the status of a gRPC call means. Pure.
//
// ABORTED is a failure and FAILED_PRECONDITION says ongoing, but ABORTED with the message ONGOING, as
// older services send it, is ongoing (dtm reference §4.4, §11.25). PHP services put the HTTP statuses
// 409 and 425 into grpc-status; dtm retries them for ever (defect 12.31).

import type { AnswerKind } from './outcome.ts';

const OK = 0;
const FAILED_PRECONDITION = 9;
const ABORTED = 10;
const HTTP_CONFLICT = 409;
const HTTP_TOO_EARLY = 425;

export function readGrpcStatus(code: number, message: string): AnswerKind {
  switch (code) {
    case OK:
      return 'success';
    case ABORTED:
      return message === 'ONGOING' ? 'ongoing' : 'failure';
    case HTTP_CONFLICT:
      return 'failure';
    case FAILED_PRECONDITION:
    case HTTP_TOO_EARLY:
      return 'ongoing';
    default:
      return 'unknown';
  }
}
