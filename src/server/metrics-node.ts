// The figures of a node's parts, read from its status at scrape time.
//
// Owns: names and meaning. A part that is not open yet exports nothing. Every node exports its own
// view; peers are labelled by node id, roles and phases by closed sets.

import { Counter, Gauge, type Registry } from 'prom-client';
import type { AlertStats } from '../engine/index.ts';
import type { RaftStatus } from '../raft/index.ts';
import type {
  LogStatus,
  NodeStatusSource,
  OperationsStatus,
  PeerLinkStatus,
  SchedulerStatus,
  StoreStatus,
} from './status-source.ts';

interface Figure<S> {
  readonly name: string;
  readonly help: string;
  readonly read: (status: S) => number;
}

const RAFT: readonly Figure<RaftStatus>[] = [
  figure('raft_has_leader', '1 while a leader is known.', (raft) => +(raft.leaderId !== undefined)),
  figure('raft_is_leader', '1 on the leader.', (raft) => +(raft.role === 'leader')),
  figure('raft_term', 'Current term.', (raft) => raft.term),
  figure('raft_commit_index', 'Highest committed index.', (raft) => raft.commitIndex),
  figure('raft_applied_index', 'Highest applied index.', (raft) => raft.appliedIndex),
  figure('raft_first_index', 'First index in the log.', (raft) => raft.firstIndex),
  figure('raft_last_index', 'Last index in the log.', (raft) => raft.lastIndex),
  figure('raft_durable_index', 'Last index on stable storage.', (raft) => raft.durableIndex),
  figure('raft_voters', 'Voters.', (raft) => raft.configuration.voters.length),
  figure('raft_uncommitted_bytes', 'Uncommitted bytes.', (raft) => raft.uncommittedBytes),
  figure('raft_recovering', '1 while the node heals damage.', (raft) => +raft.recovering),
  figure('raft_clock_suspect', '1: clock far from the others.', (raft) => +raft.clockSuspect),
];
const LOG: readonly Figure<LogStatus>[] = [
  figure('log_segments', 'Segment files.', (log) => log.segments),
  figure('log_bytes', 'Bytes of segment files.', (log) => log.bytes),
  figure('log_segments_ahead', 'Segments filled ahead.', (log) => log.segmentsAhead),
  figure('log_admission_open', '0: no space, no new work.', (log) => +log.admissionOpen),
];
const STORE: readonly Figure<StoreStatus>[] = [
  figure('store_applied_index', 'Index the state has reached.', (store) => store.appliedIndex),
  figure('store_flushed_index', 'Index that is flushed.', (store) => store.flushedIndex),
  figure('store_overlay_bytes', 'Bytes not flushed yet.', (store) => store.overlayBytes),
  figure('store_generation', 'Generation in use.', (store) => store.generation),
];
const STORE_TOTALS: readonly Figure<StoreStatus>[] = [
  figure('store_flushes_total', 'Flushes.', (store) => store.flushesTotal),
  figure('store_flushed_bytes_total', 'Bytes flushed.', (store) => store.flushedBytesTotal),
  figure('store_disk_reads_total', 'Keys read to apply.', (store) => store.diskReadsTotal),
  figure('store_scrub_passes_total', 'Passes of the scrub.', (store) => store.scrubPassesTotal),
  figure('store_damaged_values_total', 'Damaged values.', (store) => store.damagedValuesTotal),
];
const SCHEDULER: readonly Figure<SchedulerStatus>[] = [
  figure('scheduler_running', 'Transactions being driven.', (scheduler) => scheduler.running),
  figure('scheduler_due', 'Due times in memory.', (scheduler) => scheduler.due),
  figure('scheduler_calls_inflight', 'Calls in flight.', (scheduler) => scheduler.callsInflight),
  figure('scheduler_lease_waiting', 'Waiting for the lease.', (status) => status.leaseWaiting),
  figure('scheduler_resuming', 'Not resumed yet.', (status) => status.resuming),
  figure('scheduler_payload_bytes', 'Payloads in memory.', (status) => status.payloadBytes),
];
const OPERATIONS: readonly Figure<OperationsStatus>[] = [
  figure('api_open_operations', 'Operations under way.', (status) => status.operations),
  figure('api_open_waits', 'Waits for results.', (status) => status.waits),
  figure('api_session_open', '1: operations can be proposed.', (status) => +status.sessionOpen),
];
const ALERTS: readonly Figure<AlertStats>[] = [
  figure('alerts_queued', 'Alerts that wait to be delivered.', (alerts) => alerts.queuedCount),
  figure('alerts_inflight', 'Alerts being delivered.', (alerts) => alerts.inflightCount),
];
const PEER: readonly Figure<PeerLinkStatus>[] = [
  figure('peer_connected', '1 while connected.', (peer) => +peer.connected),
  figure('peer_queued_bytes', 'Bytes that wait to be sent.', (peer) => peer.queuedBytes),
  figure('peer_forwards_inflight', 'Requests without a reply.', (peer) => peer.forwardsInflight),
];
function figure<S>(name: string, help: string, read: (status: S) => number): Figure<S> {
  return { name: `assent_${name}`, help, read };
}

function gauges<S>(
  registry: Registry,
  list: readonly Figure<S>[],
  read: () => S | undefined,
): void {
  for (const { name, help, read: value } of list) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const status = read();
        if (status === undefined) this.remove();
        else this.set(value(status));
      },
    });
  }
}

function counters<S>(
  registry: Registry,
  list: readonly Figure<S>[],
  read: () => S | undefined,
): void {
  for (const { name, help, read: value } of list) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        const status = read();
        if (status !== undefined) this.inc(value(status));
      },
    });
  }
}

function peerFigures(registry: Registry, source: NodeStatusSource): void {
  for (const { name, help, read } of PEER) {
    new Gauge({
      name,
      help,
      labelNames: ['peer'],
      registers: [registry],
      collect() {
        this.reset();
        for (const peer of source.peers()) this.set({ peer: peer.nodeId }, read(peer));
      },
    });
  }
}

function raftPeers(registry: Registry, source: NodeStatusSource): void {
  new Gauge({
    name: 'assent_raft_peer_lag_entries',
    help: 'Entries that a peer lacks; on the leader.',
    labelNames: ['peer'],
    registers: [registry],
    collect() {
      this.reset();
      const raft = source.raft();
      if (raft?.role !== 'leader') return;
      for (const { nodeId, matchIndex } of raft.peers) {
        this.set({ peer: nodeId }, Math.max(0, raft.lastIndex - matchIndex));
      }
    },
  });
  new Gauge({
    name: 'assent_raft_role',
    help: '1 for the current role.',
    labelNames: ['role'],
    registers: [registry],
    collect() {
      this.reset();
      const raft = source.raft();
      if (raft !== undefined) this.set({ role: raft.role }, 1);
    },
  });
}

function alertResults(registry: Registry, source: NodeStatusSource): void {
  new Counter({
    name: 'assent_alerts_total',
    help: 'Alerts by what became of them: sent, failed after all attempts, dropped untried.',
    labelNames: ['result'],
    registers: [registry],
    collect() {
      this.reset();
      const alerts = source.alerts();
      if (alerts === undefined) return;
      this.inc({ result: 'sent' }, alerts.sentCount);
      this.inc({ result: 'failed' }, alerts.failedCount);
      this.inc({ result: 'dropped' }, alerts.droppedCount);
    },
  });
}

/** Targets are counted, not named: their number is not bounded. */
function targetFigures(registry: Registry, source: NodeStatusSource): void {
  const total = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  total('assent_scheduler_targets', 'Targets known.', () => source.targets().length);
  total('assent_scheduler_targets_broken', 'Targets whose circuit is not closed.', () => {
    return source.targets().filter((target) => target.circuit !== 'closed').length;
  });
  total('assent_scheduler_calls_queued', 'Calls that wait for a free connection.', () =>
    source.targets().reduce((sum, target) => sum + target.queued, 0),
  );
}

export function registerNodeMetrics(registry: Registry, source: NodeStatusSource): void {
  gauges(registry, RAFT, () => source.raft());
  gauges(registry, LOG, () => source.log());
  gauges(registry, STORE, () => source.store());
  counters(registry, STORE_TOTALS, () => source.store());
  gauges(registry, SCHEDULER, () => source.scheduler());
  gauges(registry, OPERATIONS, () => source.operations());
  gauges(registry, ALERTS, () => source.alerts());
  alertResults(registry, source);
  peerFigures(registry, source);
  raftPeers(registry, source);
  targetFigures(registry, source);
}
