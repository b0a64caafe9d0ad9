// A row as a call: what its participant is told, from the definition and what the pattern adds.

import type { Transaction } from '../machine/index.ts';
import type { BranchCall } from '../participants/index.ts';
import type { Pattern } from '../patterns/index.ts';

const NO_PAYLOAD = new Uint8Array();

export function branchCall(transaction: Transaction, pattern: Pattern, row: number): BranchCall {
  const { definition } = transaction;
  const branch = definition.branches[row];
  if (branch === undefined) {
    throw new Error(`transaction ${definition.gid} has no row ${row}`);
  }
  const payload = branch.payload === undefined ? undefined : definition.payloads[branch.payload];
  return {
    gid: definition.gid,
    type: definition.type,
    branchId: branch.branchId,
    op: branch.op,
    url: branch.url,
    protocol: definition.protocol,
    payload: payload ?? NO_PAYLOAD,
    headers: definition.options.branchHeaders,
    timeoutMs: definition.requestTimeoutMs,
    ...pattern.callOf?.(transaction, row),
  };
}
