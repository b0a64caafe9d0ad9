// What of a workflow is recorded already. Pure.
//
// Source: dtm reference §10.5: progresses are indexed by `<branch_id>-<op>`; a failed step's bytes are
// its reason: of HTTP the body of the answer, of gRPC the error as Go prints it, of a local step the text.

import type { WorkflowProgress } from '../coordinator/coordinator.ts';
import { AnsweredFailure, type FailureError } from '../errors.ts';

export type StepOp = 'action' | 'commit' | 'rollback' | 'business';

export type StepResult =
  | { readonly kind: 'succeed'; readonly data: Uint8Array }
  | { readonly kind: 'failed'; readonly error: FailureError };

/** As the Go client writes a gRPC error. */
const GRPC_FAILURE = 'rpc error: code = Aborted desc = ';

export function recordedGrpcFailure(details: string): Uint8Array {
  return Buffer.from(GRPC_FAILURE + details);
}

function replayedFailure(data: Uint8Array): FailureError {
  const text = Buffer.from(data).toString();
  const reason = text.startsWith(GRPC_FAILURE) ? text.slice(GRPC_FAILURE.length) : text;
  return new AnsweredFailure(reason, data);
}

export class Progress {
  readonly #steps = new Map<string, StepResult>();

  constructor(progresses: readonly WorkflowProgress[]) {
    for (const { branchId, op, status, data } of progresses) {
      const failed = status === 'failed';
      this.#steps.set(
        `${branchId}-${op}`,
        failed ? { kind: 'failed', error: replayedFailure(data) } : { kind: 'succeed', data },
      );
    }
  }

  get(branchId: string, op: StepOp): StepResult | undefined {
    return this.#steps.get(`${branchId}-${op}`);
  }
}

export function resultData(result: StepResult): Uint8Array {
  if (result.kind === 'failed') throw result.error;
  return result.data;
}
