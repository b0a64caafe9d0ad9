// What the server may know of its node, as plain values that are read and never waited for: for
// health, metrics and operators.
//
// Owns: the shapes. The composition root (node.ts) fills them from the replica's parts.
// Invariant: every accessor answers from memory, at once; `undefined` = that part is not open yet.

import type { TargetStatus } from '../engine/index.ts';
import type { RaftStatus, RecoveringInfo } from '../raft/index.ts';

export type StartupPhase = 'opening' | 'auditingLog' | 'openingState' | 'joining' | 'running';

export interface StartupStatus {
  readonly phase: StartupPhase;
  /** How far the phase is, 0 to 1. */
  readonly done: number;
}

export interface LogStatus {
  readonly segments: number;
  readonly bytes: number;
  readonly freeBytes: number;
  /** False: no space, new work is refused. */
  readonly admissionOpen: boolean;
  readonly recovering: RecoveringInfo | undefined;
  readonly writtenBytesTotal: number;
  readonly batchesTotal: number;
}

export interface StoreStatus {
  readonly appliedIndex: number;
  /** What a durable flush mark covers. */
  readonly flushedIndex: number;
  readonly overlayBytes: number;
  readonly generation: number;
  readonly flushesTotal: number;
  readonly scrubbedValuesTotal: number;
  readonly damagedValuesTotal: number;
}

export interface SchedulerStatus {
  /** Transactions being driven now. */
  readonly running: number;
  /** Due times in memory. */
  readonly due: number;
  readonly callsInflight: number;
  /** Results that wait to share a command. */
  readonly heldResults: number;
  /** How late the oldest due transaction is. */
  readonly lagMs: number;
  readonly takeoversTotal: number;
  readonly purgedTotal: number;
}

export interface PeerLinkStatus {
  readonly nodeId: number;
  readonly connected: boolean;
  readonly sentBytesTotal: number;
  readonly receivedBytesTotal: number;
  readonly droppedMessagesTotal: number;
  readonly queuedBytes: number;
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
  operations(): OperationsStatus | undefined;
  peers(): readonly PeerLinkStatus[];
  targets(): readonly TargetStatus[];
}
