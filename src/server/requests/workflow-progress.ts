// What a workflow's client recorded: the steps that it need not run again (dtm reference §1.4, §5.10).

import type { Transaction } from '../../engine/index.ts';
import { isShownRow } from './shown-rows.ts';

export interface WorkflowProgress {
  readonly branchId: string;
  readonly op: string;
  readonly status: string;
  readonly data: Uint8Array;
}

const NOTHING = new Uint8Array();

/** In the order of arrival. */
export function workflowProgresses({
  definition,
  state,
}: Transaction): readonly WorkflowProgress[] {
  return definition.branches.flatMap((branch, row) => {
    const progress = state.branches[row];
    if (progress === undefined || !isShownRow(branch)) return [];
    const { branchId, op, payload } = branch;
    const data = payload === undefined ? undefined : definition.payloads[payload];
    return [{ branchId, op, status: progress.status, data: data ?? NOTHING }];
  });
}
