// What the server asks of this node, and what it answers: the engine's face to the wire.

import type {
  OperationRequest,
  OperationResult,
  TopicPage,
  Transaction,
  TransactionStatus,
  TransactionType,
} from '../machine/index.ts';

/** Why a request was not carried out. Never an answer about a transaction (P7). */
export type RefusalCode =
  | 'NO_LEADER'
  | 'OVERLOADED'
  | 'NO_SPACE'
  | 'DRAINING'
  | 'STARTING'
  | 'RECOVERING'
  | 'READ_TIMEOUT';

export type OperationOutcome =
  /** Committed and applied here; the result is final. */
  | { readonly kind: 'applied'; readonly result: OperationResult }
  /** Certainly not done; safe to repeat. */
  | {
      readonly kind: 'refused';
      readonly code: RefusalCode;
      readonly message: string;
      readonly retryAfterMs: number;
    }
  /** May or may not have been done, or may still be. Repeat with the same gid, or query. */
  | { readonly kind: 'unknown'; readonly message: string };

/** How a waited-for transaction stood when the wait ended (reference §5.4). */
export type WaitOutcome =
  | { readonly kind: 'final'; readonly transaction: Transaction }
  /** A committed attempt ended ongoing or unknown and nothing runs or is due at once, or the wait
   * lasted RequestTimeout + 4 s. */
  | { readonly kind: 'notFinished'; readonly transaction: Transaction }
  /** A leader or a quorum was missing meanwhile. */
  | { readonly kind: 'unknown'; readonly message: string };

export interface ListFilter {
  readonly status: TransactionStatus | undefined;
  readonly type: TransactionType | undefined;
  readonly createdFromMs: number | undefined;
  readonly createdToMs: number | undefined;
  readonly position: string;
  readonly limit: number;
}
export interface ListPage {
  readonly transactions: readonly Transaction[];
  /** Empty when the scan is finished. */
  readonly nextPosition: string;
}
export interface TopicFilter {
  /** Selects one topic; empty: all. */
  readonly name: string;
  readonly position: string;
  readonly limit: number;
}
export type ReadOutcome<T> =
  | { readonly kind: 'value'; readonly value: T }
  | {
      readonly kind: 'refused';
      readonly code: RefusalCode;
      readonly message: string;
      readonly retryAfterMs: number;
    }
  | { readonly kind: 'badPosition' };

export interface Coordinator {
  execute(request: OperationRequest, timeoutMs: number): Promise<OperationOutcome>;
  /** Waits on this node's own apply; survives any leader. */
  waitResult(gid: string): Promise<WaitOutcome>;
  /** Linearizable (ReadIndex). */
  query(gid: string): Promise<ReadOutcome<Transaction | undefined>>;
  list(filter: ListFilter): Promise<ReadOutcome<ListPage>>;
  /** Topics in order of their names, from `position` on; linearizable. */
  topics(filter: TopicFilter): Promise<ReadOutcome<TopicPage>>;
  /** Unfinished transactions due later than `afterMs` from now, at most `limit` + 1. */
  dueLaterThan(afterMs: number, limit: number): Promise<ReadOutcome<readonly string[]>>;
}
