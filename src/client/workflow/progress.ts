// What of a workflow is recorded already. Pure.
//
// Source: dtm reference §10.5: progresses are indexed by `<branch_id>-<op>`; a failed step's bytes are
// its reason.

import type { WorkflowProgress } from '../coordinator/coordinator.ts';
import { FailureError } from '../errors.ts';

export type StepOp = 'action' | 'commit' | 'rollback' | 'business';

export type StepResult =
  | { readonly kind: 'succeed'; readonly data: Uint8Array }
  | { readonly kind: 'failed'; readonly error: FailureError };

export class Progress {
  readonly #steps = new Map<string, StepResult>();

  constructor(progresses: readonly WorkflowProgress[]) {
    for (const { branchId, op, status, data } of progresses) {
      const failed = status === 'failed';
      this.#steps.set(
        `${branchId}-${op}`,
        failed
          ? { kind: 'failed', error: new FailureError(Buffer.from(data).toString()) }
          : { kind: 'succeed', data },
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
