// How the answer of a participant ends its row, if it does (dtm reference §4.5).

import type { Attempt, BranchOp } from '../machine/index.ts';
import type { Pattern } from './types.ts';

/** Undefined: the row stays open, and is called again. */
export function rowEnd(
  pattern: Pattern,
  op: BranchOp,
  outcome: Attempt['outcome'],
): 'succeed' | 'failed' | undefined {
  // A workflow ends by its client's word alone, whatever its callback answers.
  if (op === 'callback') return undefined;
  if (outcome === 'success') return 'succeed';
  return outcome === 'failure' && pattern.failureEndsRow(op) ? 'failed' : undefined;
}
