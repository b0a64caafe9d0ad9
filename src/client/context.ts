// What every pattern of this client works with.

import type { BranchCaller } from './branch-caller.ts';
import type { CallOptions, Coordinator } from './coordinator/coordinator.ts';
import { newGid } from './gid.ts';
import { checkStartOptions } from './given.ts';
import { checkGid, type TransactionOptions, type TransactionType } from './transaction.ts';

/** dtm on SQL stores has room for 1024 (dtm reference §12.23). */
const REASON_CHARS_MAX = 1_023;

export interface Context {
  readonly coordinator: Coordinator;
  readonly caller: BranchCaller;
  /** Told of an error that another one hides, such as that of an abort after a failure. */
  readonly onHiddenError: (error: unknown, doing: string) => void;
}

export interface StartOptions extends TransactionOptions, CallOptions {
  /** Default: a new one, made without asking the coordinator. */
  readonly gid?: string;
}

export interface Started {
  readonly gid: string;
  readonly transactionType: TransactionType;
  readonly options: TransactionOptions;
}

export function started(transactionType: TransactionType, options: StartOptions): Started {
  checkStartOptions(options);
  return { gid: checkGid(options.gid ?? newGid()), transactionType, options };
}

/** Aborts for `cause`, which is what the caller is told; the coordinator's timeout does the rest. */
export async function abortAfter(
  context: Context,
  transaction: Started,
  rollbackReason: string,
): Promise<void> {
  try {
    const reason = rollbackReason.slice(0, REASON_CHARS_MAX);
    await context.coordinator.abort({ ...transaction, rollbackReason: reason });
  } catch (error) {
    context.onHiddenError(error, `abort of ${transaction.gid}`);
  }
}
