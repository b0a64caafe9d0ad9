// How the scheduler reaches participants. The real callers speak HTTP, gRPC and JSON-RPC; the
// simulator has its own.

import type { Protocol, TransactionType } from '../machine/index.ts';

export interface BranchCall {
  readonly gid: string;
  readonly type: TransactionType;
  readonly branchId: string;
  /** The row's; `msg` for a check-back; the workflow's name for its resumption (dtm reference §4.6). */
  readonly op: string;
  /** Never empty: empty URLs succeed without a call. */
  readonly url: string;
  readonly protocol: Protocol;
  readonly payload: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  /** From the moment the request is written to the last byte of the answer. */
  readonly timeoutMs: number;
}

export type CallOutcome =
  /** `detail`: the trimmed text of the answer, or of the error; at most 64 KiB. */
  | {
      readonly kind: 'success' | 'failure' | 'ongoing' | 'unknown';
      readonly detail: string;
      readonly durationMs: number;
      /**
       * Of an answer that says nothing: its HTTP status, or the name of its gRPC status. For operators;
       * never recorded.
       */
      readonly status?: string;
    }
  /** Nothing was sent: the lease had ended when the request's turn came, or the queue was full. */
  | {
      readonly kind: 'notSent';
      readonly reason: 'lease' | 'queueFull' | 'circuitOpen' | 'stopped';
      /** A hint: before this long it would be refused again. Absent: no such knowledge. */
      readonly retryAfterMs?: number;
    };

export interface ParticipantCaller {
  /**
   * Queues a call on its target. `mayWrite` is asked at the moment the request is written: the
   * dispatch lease (DESIGN §3). `done` runs once, never synchronously.
   */
  call(call: BranchCall, mayWrite: () => boolean, done: (outcome: CallOutcome) => void): void;
  /** What each busy or broken target is doing, for metrics and operators. */
  targets(): readonly TargetStatus[];
  close(): Promise<void>;
}

export interface TargetStatus {
  readonly target: string;
  readonly inflight: number;
  readonly queued: number;
  readonly circuit: 'closed' | 'open' | 'halfOpen';
  /** When an open circuit lets a probe through, in the local clock's monotonic time. */
  readonly retryAtMs: number | undefined;
}
