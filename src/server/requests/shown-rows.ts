// Rows that the engine keeps for its own calls and dtm does not have: the check-back of a message, and
// the callback of a workflow. No client ever sees them.

import { isOwnCall, type Transaction } from '../../engine/index.ts';

type Row = Transaction['definition']['branches'][number];

export function isShownRow(row: Row): boolean {
  return !isOwnCall(row);
}
