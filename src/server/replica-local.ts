// The replica of this process: the engine's parts on real disks, sockets and clocks.
//
// Owns: which port is served by what, and the status that health, metrics and operators read.

import {
  allowAllEgress,
  type Coordinator,
  formatDirectory,
  GrpcCaller,
  HttpCaller,
  JsonRpcCaller,
  LevelKvOpener,
  LocalReplica,
  NodeFiles,
  type ParticipantCaller,
  ProtocolCaller,
  type ReplicaSelf,
  requireFormatted,
} from '../engine/index.ts';
import type { RaftObserver } from '../raft/index.ts';
import { AlertWebHook } from './alert-web-hook.ts';
import { CallFailures } from './call-failures.ts';
import type { FormatIdentity } from './command-line.ts';
import type { Config } from './config.ts';
import { DataDirectoryClaim } from './data-directory-claim.ts';
import { listening } from './listening.ts';
import type { Metrics } from './metrics.ts';
import { ObservedCaller } from './observed-caller.ts';
import { PeerNetwork, type PeerObserver } from './peer/index.ts';
import type { Replica, ReplicaFactory, ReplicaPorts } from './replica.ts';
import { participantsConfig, peerLimits, replicaConfig } from './replica-config.ts';
import { ReplicaStatus } from './replica-status.ts';
import { systemClock, systemRandom, withFlushDelay } from './system-ports.ts';

const PEER_KEYS = { host: 'listen.peerHost', port: 'listen.peerPort' } as const;

/** Two processes with one identity would vote twice. */
class ForeignDataError extends Error {
  override readonly name = 'ForeignDataError';
  readonly code = 'DATA_REFUSED';
}

class ProcessReplica implements Replica {
  readonly status: ReplicaStatus;
  readonly #ports: ReplicaPorts;
  readonly #caller: ParticipantCaller;
  readonly #webHook: AlertWebHook | undefined;
  #network: PeerNetwork | undefined;
  #replica: LocalReplica | undefined;
  #claim: DataDirectoryClaim | undefined;

  constructor(ports: ReplicaPorts) {
    this.#ports = ports;
    this.#caller = new ObservedCaller(participantCaller(ports.config), ports.metrics);
    this.#webHook = alertWebHook(ports.config);
    this.status = new ReplicaStatus(ports.config.node.id, systemClock, this.#caller);
  }

  async claim(): Promise<void> {
    const { dataDir } = this.#ports.config.node;
    await requireFormatted(new NodeFiles(), dataDir);
    this.#claim = await DataDirectoryClaim.take(dataDir);
  }

  async open(): Promise<Coordinator> {
    const { config, log, fatal, metrics } = this.#ports;
    const settings = replicaConfig(config);
    this.status.phase('auditingLog');
    const callFailures = new CallFailures(systemClock, log);
    const replica = await LocalReplica.open(
      {
        files: withFlushDelay(new NodeFiles(), config.log.injectedFlushDelayMs),
        kvOpener: new LevelKvOpener(settings.store),
        clock: systemClock,
        random: systemRandom,
        fatal,
        logger: log,
        connect: (self) => {
          const network = this.#connect(self);
          return { transport: network, forward: network };
        },
        caller: this.#caller,
        ...(this.#webHook === undefined ? {} : { alerts: this.#webHook }),
        callEnded: (ended) => callFailures.ended(ended),
        raftObserver: observer(metrics),
        onApplied: (entry) => {
          // Every node applies; the one that leads has processed.
          if (this.#replica?.raft.leadership().isLeader !== true) return;
          for (const { after } of entry.changes) {
            if (after === undefined) continue;
            const { type, status, createTimeMs } = after.state;
            metrics.transactionProcessed(type, status !== 'failed', entry.timeMs - createTimeMs);
          }
        },
      },
      settings,
    );
    this.#replica = replica;
    const network = this.#network;
    if (network === undefined) throw new Error('the replica opened without a network');
    this.status.opened(replica, network);
    const { peerHost, peerPort } = config.listen;
    await listening({ host: peerHost, port: peerPort, keys: PEER_KEYS }, () => network.listen());
    replica.start();
    this.status.phase('running');
    return replica.coordinator;
  }

  async handOverLeadership(timeoutMs: number): Promise<void> {
    if (this.#replica === undefined) return;
    await within(timeoutMs, this.#replica.handOverLeadership());
  }

  async stop(timeoutMs: number): Promise<void> {
    await within(
      timeoutMs,
      (async () => {
        await this.#replica?.stop();
        await this.#caller.close();
        await this.#webHook?.close();
        await this.#network?.close();
        await this.#claim?.release();
      })(),
    );
  }

  #connect({ identity, bootId }: ReplicaSelf): PeerNetwork {
    const { config, log, metrics } = this.#ports;
    if (identity.nodeId !== config.node.id) {
      throw new ForeignDataError(
        `${config.node.dataDir} belongs to node ${identity.nodeId}, this is node ${config.node.id} (node.id)`,
      );
    }
    const births = new Map(identity.voters.map(({ nodeId, birthId }) => [nodeId, birthId]));
    const network = new PeerNetwork({
      self: {
        nodeId: identity.nodeId,
        birthId: identity.birthId,
        clusterId: identity.clusterId,
        bootId,
      },
      peers: config.cluster.peers
        .filter(({ id }) => id !== identity.nodeId)
        .map(({ id, host, port }) => {
          const birthId = births.get(id);
          return { nodeId: id, host, port, ...(birthId === undefined ? {} : { birthId }) };
        }),
      listen: { host: config.listen.peerHost, port: config.listen.peerPort },
      clock: systemClock,
      random: systemRandom,
      logger: log,
      limits: peerLimits(config),
      observer: peerObserver(metrics),
    });
    this.#network = network;
    return network;
  }
}

function participantCaller(config: Config): ParticipantCaller {
  const ports = { clock: systemClock, random: systemRandom, egress: allowAllEgress };
  const settings = participantsConfig(config);
  const http = new HttpCaller(ports, settings);
  return new ProtocolCaller({
    http,
    grpc: new GrpcCaller(ports, settings),
    'json-rpc': new JsonRpcCaller(http, systemRandom),
  });
}

function alertWebHook({ alerts }: Config): AlertWebHook | undefined {
  const { webHook: url, timeoutMs, inflightMax: connectionsMax } = alerts;
  return url === '' ? undefined : new AlertWebHook({ url, timeoutMs, connectionsMax });
}

function observer(metrics: Metrics): RaftObserver {
  return {
    persisted: ({ durationMs }) => metrics.logWritten(durationMs),
    gathered: (commands) => metrics.gathered(commands),
    committed: (durationMs) => metrics.committed(durationMs),
    applied: (_entries, durationMs) => metrics.applied(durationMs),
    timerLate: (latenessMs) => metrics.timerLate(latenessMs),
  };
}

function peerObserver(metrics: Metrics): PeerObserver {
  return {
    connected: () => undefined,
    disconnected: () => undefined,
    handshakeRefused: (code) => metrics.handshakeRefused(code),
    dropped: (_peer, lane) => metrics.peerMessageDropped(lane),
    protocolError: (code) => metrics.peerProtocolError(code),
  };
}

async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const cancel = systemClock.after(timeoutMs, resolve);
    work.then(() => resolve(), reject).finally(cancel);
  });
}

async function format(config: Config, { clusterId, voters }: FormatIdentity): Promise<void> {
  const nodeId = config.node.id;
  const self = voters.find((voter) => voter.nodeId === nodeId);
  if (self === undefined) {
    throw new Error(`--voters does not name this node, node.id ${nodeId}`);
  }
  const identity = { clusterId, nodeId, birthId: self.birthId, voters };
  await formatDirectory(new NodeFiles(), config.node.dataDir, identity, {
    segmentBytes: config.log.segmentBytes,
  });
}

export const localReplicas: ReplicaFactory = {
  create: (ports) => new ProcessReplica(ports),
  format,
};
