// Peer networks on loopback, with everything they reported.

import type { Socket } from 'node:net';
import type {
  Message,
  NodeId,
  SnapshotMeta,
  SnapshotSource,
  TransportReceiver,
} from '../../src/raft/index.ts';
import {
  type PeerLimits,
  PeerNetwork,
  PLAIN_TCP,
  type SelfIdentity,
  type SocketFactory,
} from '../../src/server/peer/index.ts';
import { SeededRandom, SILENT } from './raft-memory.ts';
import { REAL_CLOCK } from './real-clock.ts';

export interface TestPeer {
  readonly network: PeerNetwork;
  readonly port: number;
  readonly messages: Message[];
  readonly reports: { readonly kind: string; readonly peer: NodeId; readonly atMs: number }[];
  readonly refusals: string[];
  readonly protocolErrors: string[];
  /** Sockets that this peer dialled. */
  readonly dialled: Socket[];
  takeSnapshot: TransportReceiver['snapshot'];
}

export interface PeerOptions {
  readonly self?: Partial<SelfIdentity>;
  readonly limits?: Partial<PeerLimits>;
  readonly port?: number;
  readonly started?: boolean;
}

export class PeerFixture {
  readonly #all: TestPeer[] = [];

  async open(nodeId: NodeId, options: PeerOptions = {}): Promise<TestPeer> {
    const reports: TestPeer['reports'] = [];
    const refusals: string[] = [];
    const protocolErrors: string[] = [];
    const messages: Message[] = [];
    const dialled: Socket[] = [];
    const sockets: SocketFactory = {
      ...PLAIN_TCP,
      connect: (host, port) => {
        const socket = PLAIN_TCP.connect(host, port);
        dialled.push(socket);
        return socket;
      },
    };
    const network = new PeerNetwork({
      self: {
        nodeId,
        birthId: `birth-${nodeId}`,
        clusterId: 'cluster-a',
        bootId: 1,
        ...options.self,
      },
      peers: [],
      listen: { host: '127.0.0.1', port: options.port ?? 0 },
      clock: REAL_CLOCK,
      random: new SeededRandom(nodeId),
      logger: SILENT,
      sockets,
      limits: options.limits ?? {},
      observer: {
        connected: () => undefined,
        disconnected: () => undefined,
        dropped: () => undefined,
        handshakeRefused: (code) => refusals.push(code),
        protocolError: (code) => protocolErrors.push(code),
      },
    });
    const port = await network.listen();
    const peer: TestPeer = {
      network,
      port,
      messages,
      reports,
      refusals,
      protocolErrors,
      dialled,
      takeSnapshot: () => Promise.reject(new Error('no snapshot expected')),
    };
    const report = (kind: string) => (from: NodeId) =>
      reports.push({ kind, peer: from, atMs: performance.now() });
    if (options.started !== false) {
      network.start({
        message: (message) => messages.push(message),
        unreachable: report('unreachable'),
        refused: report('refused'),
        snapshot: (from, meta, chunks) => peer.takeSnapshot(from, meta, chunks),
      });
    }
    this.#all.push(peer);
    return peer;
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((peer) => peer.network.close()));
  }
}

/** Tells `peer` where `other` listens. */
export function introduce(peer: TestPeer, nodeId: NodeId, other: { readonly port: number }): void {
  peer.network.addPeer({
    nodeId,
    host: '127.0.0.1',
    port: other.port,
    birthId: `birth-${nodeId}`,
  });
}

export function heartbeat(from: NodeId, to: NodeId, round: number): Message {
  return {
    kind: 'heartbeat',
    from,
    to,
    term: 1,
    fromBoot: 1,
    round,
    commitIndex: 0,
    commitTerm: 0,
  };
}

export function lanes(peer: TestPeer, to: NodeId): readonly string[] {
  return peer.network.connectivity().find(({ nodeId }) => nodeId === to)?.connectedLanes ?? [];
}

export const META: SnapshotMeta = {
  index: 10,
  term: 2,
  timeMs: 5,
  configuration: { voters: [1, 2], outgoing: [], learners: [], learnersNext: [], members: [] },
};

export function snapshotOf(chunks: readonly Uint8Array[]): SnapshotSource {
  return {
    meta: META,
    chunks: async function* iterate() {
      yield* chunks;
    },
    close: async () => undefined,
  };
}
