// What TCC and XA differ in, the order of their rows, and the time at which a prepared one ends.

import type {
  BranchOp,
  Transaction,
  TransactionDefinition,
  TransactionType,
} from '../machine/index.ts';
import { timeoutReason } from './reasons.ts';

/** A branch's two rows are registered together, `backward` first (dtm reference §5.2). */
export interface TwoPhase {
  readonly type: TransactionType;
  readonly forward: BranchOp;
  readonly backward: BranchOp;
  /** Whether the branch registered last is called first. */
  readonly newestFirst: boolean;
  /** Whether a call carries what was registered: XA's never has a body (§4.6). */
  readonly sendsPayload: boolean;
}

/** Nested branches register after the one that made them: the order undoes from the inside. */
export const TCC: TwoPhase = {
  type: 'tcc',
  forward: 'confirm',
  backward: 'cancel',
  newestFirst: true,
  sendsPayload: true,
};
export const XA: TwoPhase = {
  type: 'xa',
  forward: 'commit',
  backward: 'rollback',
  newestFirst: false,
  sendsPayload: false,
};

/** Undefined: not a type that is decided in two phases. */
export function twoPhaseOf(type: TransactionType): TwoPhase | undefined {
  switch (type) {
    case 'tcc':
      return TCC;
    case 'xa':
      return XA;
    case 'saga':
    case 'msg':
    case 'workflow':
      return undefined;
  }
}

/** Positions of the rows of `op`, in the order of their calls. */
export function rowsInOrder(
  phases: TwoPhase,
  definition: TransactionDefinition,
  op: BranchOp,
): readonly number[] {
  const rows: number[] = [];
  for (const [row, branch] of definition.branches.entries()) if (branch.op === op) rows.push(row);
  return phases.newestFirst ? rows.reverse() : rows;
}

/** When it is rolled back by itself. */
export function timeoutOf({ definition, state }: Transaction): {
  readonly atMs: number;
  readonly reason: string;
} {
  const { timeoutMs } = definition;
  if (timeoutMs === undefined) throw new Error(`${definition.gid} has no timeout`);
  return { atMs: state.createTimeMs + timeoutMs, reason: timeoutReason(timeoutMs) };
}
