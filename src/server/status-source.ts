// What the server may know of its node, as plain values that are read and never waited for: for
// health, metrics and operators.
//
// Owns: the shapes. The composition root (node.ts) fills them from the replica's parts.
// Invariant: every accessor answers from memory, at once; `undefined` = that part is not open yet.

import type { AlertStats, TargetStatus } from '../engine/index.ts';
import type { RaftStatus, RecoveringInfo } from '../raft/index.ts';

export type StartupPhase = 'opening' | 'auditingLog' | 'openingState' | 'joining' | 'running';

export interface StartupStatus {
  readonly phase: StartupPhase;
  /** How far the phase is, 0 to 1. */
  readonly done: number;
}

export interface LogStatus {
  readonly segments: number;
  /** Zero-filled segments waiting to be used. */
  readonly segmentsAhead: number;
  readonly bytes: number;
  /** False: no space, new work is refused. */
  readonly admissionOpen: boolean;
  readonly recovering: RecoveringInfo | undefined;
}

export interface StoreStatus {
  readonly appliedIndex: number;
  /** What a durable flush mark covers. */
  readonly flushedIndex: number;
  readonly overlayBytes: number;
  readonly generation: number;
  readonly flushesTotal: number;
  readonly flushedBytesTotal: number;
  readonly diskReadsTotal: number;
  readonly scrubPassesTotal: number;
  readonly damagedValuesTotal: number;
}

export interface SchedulerStatus {
  /** Transactions being driven now. */
  readonly running: number;
  /** Due times in memory. */
  readonly due: number;
  readonly callsInflight: number;
  /** Transactions whose calls wait for the dispatch lease. */
  readonly leaseWaiting: number;
  /** Transactions that a new leader has yet to resume. */
  readonly resuming: number;
  readonly payloadBytes: number;
}

export interface PeerLinkStatus {
  readonly nodeId: number;
  readonly connected: boolean;
  readonly queuedBytes: number;
  readonly forwardsInflight: number;
}

export interface OperationsStatus {
  readonly operations: number;
  readonly waits: number;
  readonly sessionOpen: boolean;
}

export interface NodeStatusSource {
  readonly nodeId: number;
  startup(): StartupStatus;
  raft(): RaftStatus | undefined;
  /** How long no leader has been known; 0 while one is. */
  leaderMissingMs(): number;
  log(): LogStatus | undefined;
  store(): StoreStatus | undefined;
  scheduler(): SchedulerStatus | undefined;
  /** Undefined also where nobody is alerted. */
  alerts(): AlertStats | undefined;
  operations(): OperationsStatus | undefined;
  peers(): readonly PeerLinkStatus[];
  targets(): readonly TargetStatus[];
}
