// The branch barrier: what makes an effect happen once, in whatever order its requests arrive. Pure.
//
// Each request inserts a row for itself, and a compensating one also the row of what it compensates.
// Who inserts a row first owns it: a compensation that finds no action has nothing to undo and blocks
// the late action; a repeat finds its own row.
//
// Source: dtm reference §10.1.

import type { Branch } from '../branch.ts';
import { DuplicateError, FailureError, UsageError } from '../errors.ts';

export const MSG_BRANCH = '00';
export const MSG_OP = 'msg';
export const FIRST_BARRIER = '01';
export const ROLLBACK = 'rollback';

const ID_CHARS_MAX = 128;
const WORD_CHARS_MAX = 45;

/** A row of the barrier table; (gid, branchId, op, barrierId) is unique. */
export interface BarrierRow {
  readonly transactionType: string;
  readonly gid: string;
  readonly branchId: string;
  readonly op: string;
  readonly barrierId: string;
  /** The op that inserted it. */
  readonly reason: string;
}

/** `skipped`: nothing was done now, and nothing had to be. */
export type BarrierResult<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'skipped'; readonly why: 'repeated' | 'nothing-to-compensate' };

/** The op whose effect `op` undoes; undefined: it undoes none. */
export function originOf(op: string): string | undefined {
  switch (op) {
    case 'cancel':
      return 'try';
    case 'compensate':
    case 'rollback':
      return 'action';
    default:
      return undefined;
  }
}

/** What a table column would cut off makes two different ids equal: such ids are refused. */
function checkLengths({ gid, branchId, op, transactionType }: BarrierRow): void {
  if (gid.length > ID_CHARS_MAX || branchId.length > ID_CHARS_MAX) {
    throw new UsageError(`a barrier takes gids and branch ids of up to ${ID_CHARS_MAX} characters`);
  }
  if (op.length > WORD_CHARS_MAX || transactionType.length > WORD_CHARS_MAX) {
    throw new UsageError(`a barrier takes ops of up to ${WORD_CHARS_MAX} characters`);
  }
}

/** The rows of one use of the barrier, the origin's first. */
export function barrierRows(branch: Branch): {
  readonly origin: BarrierRow | undefined;
  readonly own: BarrierRow;
} {
  const { transactionType, gid, branchId, op } = branch;
  const barrierId = branch.nextBarrierId();
  const own = { transactionType, gid, branchId, op, barrierId, reason: op };
  checkLengths(own);
  const originOp = originOf(op);
  return { own, origin: originOp === undefined ? undefined : { ...own, op: originOp } };
}

/** The row by which a check-back says, and settles, that the local transaction did not commit. */
export function checkBackRow({ transactionType, gid }: Branch): BarrierRow {
  const row: BarrierRow = {
    transactionType,
    gid,
    branchId: MSG_BRANCH,
    op: MSG_OP,
    barrierId: FIRST_BARRIER,
    reason: ROLLBACK,
  };
  checkLengths(row);
  return row;
}

/** The row by which both phases of an XA branch exclude each other. */
export function xaRow(
  branch: { readonly transactionType: string; readonly gid: string; readonly branchId: string },
  reason: 'action' | 'rollback',
): BarrierRow {
  const { transactionType, gid, branchId } = branch;
  const row: BarrierRow = {
    transactionType,
    gid,
    branchId,
    op: 'action',
    barrierId: FIRST_BARRIER,
    reason,
  };
  checkLengths(row);
  return row;
}

export interface Inserted {
  readonly origin: boolean;
  readonly own: boolean;
}

/** Undefined: the business is to run. Throws for a message that was decided before. */
export function skipReason(
  op: string,
  inserted: Inserted,
): 'repeated' | 'nothing-to-compensate' | undefined {
  if (!inserted.own) {
    if (op === MSG_OP) throw new DuplicateError('the message was committed or refused before');
    return 'repeated';
  }
  return inserted.origin ? 'nothing-to-compensate' : undefined;
}

/** Throws a FailureError where the check-back's own row, or an earlier one's, is there. */
export function checkBackResult(reason: unknown): void {
  if (reason === ROLLBACK) throw new FailureError('the local transaction did not commit');
  if (typeof reason !== 'string') throw new Error('the barrier row of the check-back is missing');
}
