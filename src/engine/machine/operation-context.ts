// What every operation works with: the tables of the entry being applied, its time, and who asked.

import type { Bugs, Patterns } from '../patterns/index.ts';
import { gidProblem } from './keyspace.ts';
import type { TopicTable } from './topics.ts';
import type { TransactionTable } from './transaction-table.ts';
import type { OperationId, Transaction } from './types.ts';

export interface OperationContext {
  readonly table: TransactionTable;
  readonly topics: TopicTable;
  readonly patterns: Patterns;
  readonly bugs: Bugs;
  readonly timeMs: number;
  readonly term: number;
  readonly opId: OperationId;
}

/** An impossible gid has no keys; nothing is stored under it. */
export function load(context: OperationContext, gid: string): Transaction | undefined {
  return gidProblem(gid) === undefined ? context.table.load(gid) : undefined;
}

/** Whether a row waits for its next attempt; if not, its calls run or come without being asked. */
export function hasPlannedAttempt({ timeMs }: OperationContext, { state }: Transaction): boolean {
  return state.branches.some(({ retryAtMs }) => retryAtMs !== undefined && retryAtMs > timeMs);
}

/** Planned attempts come now; intervals stay as they are. */
export function retryNow(context: OperationContext, stored: Transaction): Transaction {
  const { timeMs, opId } = context;
  const { state } = stored;
  const branches = state.branches.map((progress) =>
    progress.retryAtMs !== undefined && progress.retryAtMs > timeMs
      ? { ...progress, retryAtMs: timeMs }
      : progress,
  );
  const after = { ...stored, state: { ...state, updateTimeMs: timeMs, branches } };
  return context.table.save(stored, after, { opId, dueMs: timeMs });
}
