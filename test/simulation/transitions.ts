// Which status may follow which, by type, and what a coordinator may call while it stands where it
// stands: the protocol reference's tables, written down a second time for the checkers.
//
// Source: the dtm protocol reference §5.1, §5.9, §5.10.

import type { TransactionStatus, TransactionType } from '../../src/engine/machine/index.ts';
import type { BranchCall } from '../../src/engine/participants/index.ts';

type Steps = Readonly<Record<TransactionStatus, readonly TransactionStatus[]>>;

const TWO_PHASE: Steps = {
  prepared: ['submitted', 'aborting'],
  submitted: ['succeed'],
  aborting: ['failed'],
  succeed: [],
  failed: [],
};

const STEPS: Readonly<Record<TransactionType, Steps>> = {
  saga: {
    prepared: ['submitted', 'failed'],
    submitted: ['aborting', 'succeed'],
    aborting: ['failed'],
    succeed: [],
    failed: [],
  },
  tcc: TWO_PHASE,
  xa: TWO_PHASE,
  msg: {
    prepared: ['submitted', 'failed'],
    submitted: ['succeed'],
    aborting: [],
    succeed: [],
    failed: [],
  },
  workflow: {
    prepared: ['succeed', 'failed'],
    submitted: [],
    aborting: [],
    succeed: [],
    failed: [],
  },
};

export function isFinal(status: TransactionStatus | undefined): boolean {
  return status === 'succeed' || status === 'failed';
}

export function mayBecome(
  type: TransactionType,
  from: TransactionStatus,
  to: TransactionStatus,
  forced: boolean,
): boolean {
  if (from === to || (forced && to === 'failed' && !isFinal(from))) {
    return true;
  }
  return STEPS[type][from].includes(to);
}

/** P2: the statuses in which `call` may be written; the oracle may know a later one than its caller. */
export function mayCall(
  { type, op }: Pick<BranchCall, 'type' | 'op'>,
  status: TransactionStatus,
  forced: boolean,
): boolean {
  const back = ['compensate', 'cancel', 'rollback'].includes(op);
  if (type === 'workflow' || op === 'msg') {
    return true;
  }
  if (back) {
    return status === 'aborting' || status === 'failed';
  }
  // An action of a saga may be on its way while it is decided to undo it.
  return type === 'saga'
    ? status !== 'prepared'
    : status === 'submitted' || status === 'succeed' || (status === 'failed' && forced);
}

/** How far a transaction has come, for reads that must not go back. */
export function rank(status: TransactionStatus | undefined): number {
  const order = [undefined, 'prepared', 'submitted', 'aborting', 'succeed', 'failed'];
  return status === 'succeed' ? 5 : order.indexOf(status);
}
