// What health, metrics and operators may read of the replica, from memory and at once.

import type { AlertStats, LocalReplica, ParticipantCaller, TargetStatus } from '../engine/index.ts';
import type { Clock, RaftStatus } from '../raft/index.ts';
import type { PeerNetwork } from './peer/index.ts';
import type {
  LogStatus,
  NodeStatusSource,
  OperationsStatus,
  PeerLinkStatus,
  SchedulerStatus,
  StartupPhase,
  StartupStatus,
  StoreStatus,
} from './status-source.ts';

interface Opened {
  readonly replica: LocalReplica;
  readonly network: PeerNetwork;
}

export class ReplicaStatus implements NodeStatusSource {
  readonly nodeId: number;
  readonly #clock: Clock;
  readonly #caller: ParticipantCaller;
  #phase: StartupPhase = 'opening';
  #opened: Opened | undefined;
  /** When the leader was lost; undefined while one is known. */
  #leaderMissingSinceMs: number | undefined;

  constructor(nodeId: number, clock: Clock, caller: ParticipantCaller) {
    this.nodeId = nodeId;
    this.#clock = clock;
    this.#caller = caller;
    this.#leaderMissingSinceMs = clock.monotonicMs();
  }

  phase(phase: StartupPhase): void {
    this.#phase = phase;
  }

  opened(replica: LocalReplica, network: PeerNetwork): void {
    this.#opened = { replica, network };
    replica.raft.onRole(({ leaderId }) => {
      if (leaderId !== undefined) this.#leaderMissingSinceMs = undefined;
      else this.#leaderMissingSinceMs ??= this.#clock.monotonicMs();
    });
  }

  startup(): StartupStatus {
    return { phase: this.#phase, done: this.#phase === 'running' ? 1 : 0 };
  }

  raft(): RaftStatus | undefined {
    return this.#opened?.replica.raft.status();
  }

  leaderMissingMs(): number {
    const since = this.#leaderMissingSinceMs;
    return since === undefined ? 0 : this.#clock.monotonicMs() - since;
  }

  log(): LogStatus | undefined {
    if (this.#opened === undefined) return undefined;
    const { log, raft } = this.#opened.replica;
    const stats = log.stats();
    return {
      segments: stats.segments,
      segmentsAhead: stats.segmentsAhead,
      bytes: stats.liveBytes,
      admissionOpen: log.admissionOpen(),
      recovering: raft.status().damage,
    };
  }

  store(): StoreStatus | undefined {
    if (this.#opened === undefined) return undefined;
    const { store } = this.#opened.replica;
    const metrics = store.metrics();
    return {
      appliedIndex: store.appliedIndex,
      flushedIndex: store.flushedIndex,
      overlayBytes: metrics.overlayBytes,
      generation: store.generation,
      flushesTotal: metrics.flush.flushCount,
      flushedBytesTotal: metrics.flush.flushedBytes,
      diskReadsTotal: metrics.diskReadCount,
      scrubPassesTotal: metrics.scrub.passCount,
      damagedValuesTotal: metrics.damagedCount,
    };
  }

  scheduler(): SchedulerStatus | undefined {
    if (this.#opened === undefined) return undefined;
    const stats = this.#opened.replica.scheduler.stats();
    return {
      running: stats.runningCount,
      due: stats.dueEntryCount,
      callsInflight: stats.inflightCallCount,
      leaseWaiting: stats.leaseWaitingCount,
      resuming: stats.resumingCount,
      payloadBytes: stats.payloadBytes,
    };
  }

  alerts(): AlertStats | undefined {
    return this.#opened?.replica.alerts?.stats();
  }

  operations(): OperationsStatus | undefined {
    return this.#opened?.replica.coordinator.counts();
  }

  peers(): readonly PeerLinkStatus[] {
    return (this.#opened?.network.connectivity() ?? []).map((peer) => ({
      nodeId: peer.nodeId,
      connected: peer.connectedLanes.length > 0,
      queuedBytes: peer.queuedBytes,
      forwardsInflight: peer.forwardsInflight,
    }));
  }

  targets(): readonly TargetStatus[] {
    return this.#caller.targets();
  }
}
