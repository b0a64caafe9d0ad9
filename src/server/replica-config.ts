// From the settings of a node to those of its replica's parts.

import {
  DEFAULT_PARTICIPANTS_CONFIG,
  DEFAULT_SCHEDULER_CONFIG,
  DEFAULT_STORE_CONFIG,
  type ParticipantsConfig,
  type ReplicaConfig,
} from '../engine/index.ts';
import { raftNodeConfig } from '../raft/index.ts';
import type { Config } from './config.ts';
import { DEFAULT_PEER_LIMITS, type PeerLimits } from './peer/index.ts';
import { readTlsFiles } from './tls-files.ts';

/** dtm answers a waited-for submit within RequestTimeout + 4 s (the dtm reference §5.4). */
const WAIT_GRACE_MS = 4_000;
const RETRY_MS = 20;
/** Room for what encloses the largest body or entry: headers, lengths, options. */
const ENTRY_OVERHEAD_BYTES = 1024 * 1024;

export function replicaConfig(config: Config): ReplicaConfig {
  const { raft, log, store, scheduler, transactions, api, retention, alerts } = config;
  return {
    directory: config.node.dataDir,
    trailingEntries: raft.trailingEntries,
    raft: raftNodeConfig(
      {
        electionTimeoutMs: raft.electionTimeoutMs,
        heartbeatIntervalMs: raft.heartbeatIntervalMs,
        electionRetryMsMin: Math.ceil(raft.electionTimeoutMs / 20),
        electionRetryMsMax: Math.ceil(raft.electionTimeoutMs / 4),
        refusedDelayMsMax: Math.ceil(raft.electionTimeoutMs / 20),
        appendBytesMax: raft.appendBytesMax,
        inflightAppendsMax: 2,
        inflightBytesMax: raft.inflightBytesMax,
        uncommittedBytesMax: raft.uncommittedBytesMax,
        windowBytesMax: raft.windowBytesMax,
        pendingReadsMax: raft.pendingReadsMax,
      },
      { commandBytesMax: 2 * api.bodyBytesMax + ENTRY_OVERHEAD_BYTES },
    ),
    log: {
      segmentBytes: log.segmentBytes,
      markIdleMs: log.markIdleMs,
      freeBytesMin: log.freeSpaceFloorBytes,
      ballastBytes: log.ballastBytes,
    },
    store: {
      ...DEFAULT_STORE_CONFIG,
      flushIntervalMs: store.flushIntervalMs,
      overlayBytesMax: store.overlayBytesMax,
      flushBytes: Math.ceil(store.overlayBytesMax / 4),
      scrubBytesMax: store.scrubBytesPerSecond,
    },
    scheduler: {
      ...DEFAULT_SCHEDULER_CONFIG,
      transactionsInFlightMax: scheduler.runningMax,
      dueEntriesMax: scheduler.dueEntriesMax,
      dueWindowMs: scheduler.dueHorizonMs,
      rampMs: scheduler.rampUpMs,
      commitEachResult: transactions.commitEachResult,
      retryIntervalMsMax: transactions.retryIntervalMsMax,
      purgeIntervalMs: retention.purgeIntervalMs,
      purgeBatchMax: retention.purgeBatchMax,
    },
    alerts: {
      retryLimit: alerts.retryLimit,
      queueMax: alerts.queueMax,
      inflightMax: alerts.inflightMax,
      attemptsMax: alerts.attemptsMax,
      retryDelayMs: alerts.retryDelayMs,
    },
    coordinator: {
      openOperationsMax: api.inflightRequestsMax,
      waitLeaderMs: api.operationTimeoutMs,
      retryMs: RETRY_MS,
      waitGraceMs: WAIT_GRACE_MS,
      requestTimeoutMs: transactions.requestTimeoutMs,
      readTimeoutMs: api.operationTimeoutMs,
    },
  };
}

/** A frame carries one append, and an append one entry of any size. */
export function peerLimits(config: Config): Partial<PeerLimits> {
  const { commandBytesMax, entryBytesMax, appendBytesMax } = replicaConfig(config).raft;
  const largestBytes = Math.max(commandBytesMax, entryBytesMax, appendBytesMax);
  return {
    frameBytesMax: Math.max(DEFAULT_PEER_LIMITS.frameBytesMax, largestBytes + ENTRY_OVERHEAD_BYTES),
  };
}

export function participantsConfig(config: Config): ParticipantsConfig {
  const { participants } = config;
  return {
    ...DEFAULT_PARTICIPANTS_CONFIG,
    connectionsPerTargetMax: participants.connectionsPerTargetMax,
    queuePerTargetMax: participants.queuePerTargetMax,
    queueTotalMax: participants.queueTotalMax,
    answerBytesMax: participants.answerBytesMax,
    circuitFailuresMax: participants.circuitFailuresMax,
    circuitDelayMsMin: participants.circuitDelayMsMin,
    circuitDelayMsMax: participants.circuitDelayMsMax,
    grpcIdleMs: participants.grpcIdleMs,
    grpcTls: participants.grpcTls ? grpcTls(config) : undefined,
    grpcServiceConfig:
      participants.grpcServiceConfig === ''
        ? DEFAULT_PARTICIPANTS_CONFIG.grpcServiceConfig
        : participants.grpcServiceConfig,
    // dtm's own switch: set inside a container, for services on its host (dtm reference §4.2).
    dockerHost: (process.env['IS_DOCKER'] ?? '') !== '',
  };
}

/** @throws ConfigError */
function grpcTls({ participants }: Config): ParticipantsConfig['grpcTls'] {
  return readTlsFiles('participants.grpcTls', {
    authorities: participants.grpcTlsAuthoritiesFile,
    certificates: participants.grpcTlsCertificatesFile,
    privateKey: participants.grpcTlsPrivateKeyFile,
  });
}
