// What the scheduler says about itself and about one transaction, for operators and metrics.

import type { Run } from './run.ts';

export interface SchedulerStats {
  readonly leading: boolean;
  readonly term: number;
  readonly runningCount: number;
  readonly inflightCallCount: number;
  readonly leaseWaitingCount: number;
  readonly loadingCount: number;
  readonly readyCount: number;
  readonly resumingCount: number;
  readonly takingOver: boolean;
  readonly dueEntryCount: number;
  readonly dueHorizonMs: number;
  readonly payloadBytes: number;
}

export type Explanation =
  | { readonly kind: 'notLeading' }
  /** Its turn has not come: limits, or it is being read. */
  | { readonly kind: 'queued' }
  /** Nothing is under way; undefined: the committed due time says when it is looked at. */
  | { readonly kind: 'resting'; readonly lookAtMs: number | undefined }
  | {
      readonly kind: 'running';
      readonly waitingFor: string;
      readonly lookAtMs: number | undefined;
      readonly lease: boolean;
      /** Rows with a call in flight or in its target's queue. */
      readonly inflight: readonly number[];
      /** Rows whose results are not committed yet. */
      readonly held: readonly number[];
      /** Rows whose call the target's queue or circuit refused, and when they are tried again. */
      readonly deferred: readonly { readonly row: number; readonly untilMs: number }[];
      readonly proposing: boolean;
    };

export function explainRun(run: Run, lease: boolean): Explanation {
  return {
    kind: 'running',
    waitingFor: run.waitingFor,
    lookAtMs: run.lookAtMs,
    lease,
    inflight: [...run.inflight].sort((a, b) => a - b),
    held: [...run.held.keys()].sort((a, b) => a - b),
    deferred: [...(run.deferred ?? [])].map(([row, untilMs]) => ({ row, untilMs })),
    proposing: run.outstanding !== undefined,
  };
}
