// In which order branches take effect, by type: what must have happened at other branches before.
//
// Source: the dtm protocol reference §5.7 (sequential sagas), §5.8, §5.9.

import type { Transaction } from '../../src/engine/machine/index.ts';

/** The branches whose own `op` must have taken effect before that of `branchId`. */
export function branchesBefore(
  { definition }: Transaction,
  branchId: string,
  op: string,
): readonly string[] {
  const rows = definition.branches.filter((branch) => branch.op === op && branch.url !== '');
  const at = rows.findIndex((branch) => branch.branchId === branchId);
  const isForward = op === 'action' || op === 'commit' || op === 'confirm';
  if (at < 0 || !isForward || definition.concurrent) {
    return [];
  }
  switch (definition.type) {
    case 'tcc':
      return rows.slice(at + 1).map((branch) => branch.branchId);
    case 'xa':
    case 'msg':
    case 'saga':
      return rows.slice(0, at).map((branch) => branch.branchId);
    case 'workflow':
      return [];
  }
}
