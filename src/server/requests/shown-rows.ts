// Rows that the engine keeps for its own calls and dtm never shows: the check-back of a message, and
// the callback of a workflow.

import type { Transaction } from '../../engine/index.ts';

type Row = Transaction['definition']['branches'][number];

/** Their id is one that no client's generator gives out (dtm reference §4.6, §5.2). */
export function isShownRow({ branchId, op }: Row): boolean {
  return !(branchId === '00' && op === 'msg');
}
