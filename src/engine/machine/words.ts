// The closed lists whose positions are written to the log and the state. Append only.

import type {
  Attempt,
  BranchOp,
  BranchStatus,
  Protocol,
  TransactionStatus,
  TransactionType,
} from './types.ts';

export const TRANSACTION_TYPES = [
  'saga',
  'tcc',
  'xa',
  'msg',
  'workflow',
] as const satisfies readonly TransactionType[];

export const TRANSACTION_STATUSES = [
  'prepared',
  'submitted',
  'aborting',
  'succeed',
  'failed',
] as const satisfies readonly TransactionStatus[];

export const BRANCH_STATUSES = [
  'prepared',
  'succeed',
  'failed',
] as const satisfies readonly BranchStatus[];

export const PROTOCOLS = ['http', 'grpc', 'json-rpc'] as const satisfies readonly Protocol[];

export const BRANCH_OPS = [
  'action',
  'compensate',
  'confirm',
  'cancel',
  'commit',
  'rollback',
  'msg',
  'business',
  'callback',
] as const satisfies readonly BranchOp[];

export const OUTCOMES = [
  'success',
  'failure',
  'ongoing',
  'unknown',
] as const satisfies readonly Attempt['outcome'][];

export function isFinal(status: TransactionStatus): boolean {
  return status === 'succeed' || status === 'failed';
}
