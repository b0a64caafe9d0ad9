// The network between nodes over framed TCP: Raft messages, forwarding, snapshots.
//
// Owns: the listening socket, the peers, the connections that came in. Implements raft's Transport
// and the engine's ForwardTransport. Does not own: what travels.
//
// Shape: a node dials each peer for each lane and speaks there; the peer answers Raft messages on the
// connections that it dialled itself, forwarded requests on the same connection. Heartbeats, votes
// and reads never wait behind appends, appends never behind a forwarded body or a snapshot
// (docs/architecture.md §Consensus).
//
// Invariants: every queue is bounded; a boot that is older than the newest seen has no connection;
// `close` ends every request and resolves in bounded time.

import type { Buffer } from 'node:buffer';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ForwardHandler, ForwardResult, ForwardTransport } from '../../engine/index.ts';
import type {
  Clock,
  Message,
  NodeId,
  NodeLog,
  Random,
  SnapshotSource,
  Transport,
  TransportReceiver,
} from '../../raft/index.ts';
import { PeerError } from './errors.ts';
import {
  encodeWelcome,
  type Hello,
  type Judged,
  judgeHello,
  type SelfIdentity,
} from './handshake.ts';
import { InboundConnection } from './inbound.ts';
import { DEFAULT_PEER_LIMITS, type PeerLimits } from './limits.ts';
import { NO_PEER_OBSERVER, type PeerObserver } from './observer.ts';
import { Peer, type PeerAddress } from './peer.ts';
import { type SnapshotSending, sendSnapshot } from './snapshot-sender.ts';
import { PLAIN_TCP, type SocketFactory } from './sockets.ts';

export interface PeerNetworkDeps {
  readonly self: SelfIdentity;
  readonly peers: readonly PeerAddress[];
  readonly listen: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: NodeLog;
  readonly limits?: Partial<PeerLimits>;
  readonly observer?: PeerObserver;
  readonly sockets?: SocketFactory;
}

export interface PeerConnectivity {
  readonly nodeId: NodeId;
  readonly connectedLanes: readonly string[];
  readonly queuedBytes: number;
  readonly forwardsInflight: number;
}

const WARN_EVERY_MS = 1_000;

export class PeerNetwork implements Transport, ForwardTransport {
  readonly #deps: PeerNetworkDeps;
  readonly #limits: PeerLimits;
  readonly #observer: PeerObserver;
  readonly #sockets: SocketFactory;
  readonly #peers = new Map<NodeId, Peer>();
  readonly #inbound = new Set<InboundConnection>();
  readonly #snapshots = new Set<SnapshotSending>();
  #server: Server | undefined;
  #receiver: TransportReceiver | undefined;
  #forwardHandler: ForwardHandler | undefined;
  #notifyHandler: ((from: NodeId, bytes: Uint8Array) => void) | undefined;
  readonly #warnedAtMs = new Map<string, number>();
  #closed = false;

  constructor(deps: PeerNetworkDeps) {
    this.#deps = deps;
    this.#limits = { ...DEFAULT_PEER_LIMITS, ...deps.limits };
    this.#observer = deps.observer ?? NO_PEER_OBSERVER;
    this.#sockets = deps.sockets ?? PLAIN_TCP;
    for (const address of deps.peers) this.#addPeer(address);
  }

  /** Binds the peer port; resolves to its number. Handshakes are refused until `start`. */
  listen(): Promise<number> {
    const server = this.#sockets.createServer((socket) => this.#accept(socket));
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#deps.listen, () => {
        server.removeListener('error', reject);
        server.on('error', (error) => {
          this.#deps.logger.error({ error: error.message }, 'the peer port failed');
        });
        resolve((server.address() as AddressInfo).port);
      });
    });
  }

  /** Adds a peer that was not known at construction. */
  addPeer(address: PeerAddress): void {
    const peer = this.#addPeer(address);
    if (this.#receiver !== undefined && !this.#closed) peer.start();
  }

  start(receiver: TransportReceiver): void {
    this.#receiver = receiver;
    for (const peer of this.#peers.values()) peer.start();
  }

  send(messages: readonly Message[]): void {
    if (this.#closed) return;
    for (const message of messages) {
      const peer = this.#peers.get(message.to);
      if (peer !== undefined) peer.send(message);
      else this.#deps.logger.warn({ to: message.to }, 'a message to a node without an address');
    }
  }

  async sendSnapshot(to: NodeId, source: SnapshotSource): Promise<void> {
    const peer = this.#peers.get(to);
    if (peer === undefined || this.#closed) {
      throw new PeerError(this.#closed ? 'closing' : 'unreachable', `no address of node ${to}`);
    }
    const deps = { sockets: this.#sockets, clock: this.#deps.clock, limits: this.#limits };
    const sending = sendSnapshot(deps, peer.target('snapshot'), source);
    this.#snapshots.add(sending);
    try {
      await sending.finished;
    } finally {
      this.#snapshots.delete(sending);
    }
  }

  forward(to: NodeId, request: Uint8Array, done: (result: ForwardResult) => void): void {
    const peer = this.#peers.get(to);
    if (peer === undefined || this.#closed) {
      this.#deps.clock.defer(() => done({ kind: 'notSent' }));
    } else {
      peer.forward(request, done);
    }
  }

  onForward(handler: ForwardHandler): void {
    this.#forwardHandler = handler;
  }

  notify(to: NodeId, bytes: Uint8Array): void {
    if (!this.#closed) this.#peers.get(to)?.notify(bytes);
  }

  onNotify(handler: (from: NodeId, bytes: Uint8Array) => void): void {
    this.#notifyHandler = handler;
  }

  connectivity(): readonly PeerConnectivity[] {
    return [...this.#peers].map(([nodeId, peer]) => ({
      nodeId,
      connectedLanes: peer.connectedLanes,
      queuedBytes: peer.queuedBytes,
      forwardsInflight: peer.forwardsInflight,
    }));
  }

  /** Writes what is queued, ends every request and connection. Bounded. */
  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.close();
    for (const sending of this.#snapshots) {
      sending.abort(new PeerError('closing', 'this node stops'));
    }
    for (const connection of [...this.#inbound]) connection.finish();
    const server = this.#server;
    if (server === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#deps.clock.after(this.#limits.closeMsMax, resolve);
      server.close(() => {
        cancel();
        resolve();
      });
    });
  }

  #addPeer(address: PeerAddress): Peer {
    const { clock, logger, random, self } = this.#deps;
    const peer = new Peer(address, {
      self,
      clock,
      logger,
      random,
      sockets: this.#sockets,
      limits: this.#limits,
      observer: this.#observer,
      unreachable: (nodeId) => this.#receiver?.unreachable(nodeId),
      refused: (nodeId) => this.#receiver?.refused(nodeId),
    });
    this.#peers.set(address.nodeId, peer);
    return peer;
  }

  #accept(socket: Socket): void {
    let strangers = 0;
    for (const connection of this.#inbound) if (connection.hello === undefined) strangers += 1;
    if (this.#closed || strangers >= this.#limits.strangersMax) {
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    this.#inbound.add(this.#connection(socket));
  }

  #connection(socket: Socket): InboundConnection {
    return new InboundConnection(socket, {
      clock: this.#deps.clock,
      limits: this.#limits,
      selfNodeId: this.#deps.self.nodeId,
      judge: (hello) => this.#judge(hello),
      welcome: () => encodeWelcome(this.#deps.self),
      accepted: (connection, hello) => this.#accepted(connection, hello),
      ended: (connection, error) => this.#ended(connection, error),
      message: (message) => this.#receiver?.message(message),
      forwardHandler: () => this.#forwardHandler,
      notified: (from, bytes) => this.#notifyHandler?.(from, bytes),
      takeSnapshot: (from) => (meta, chunks) => {
        const receiver = this.#receiver;
        if (receiver === undefined) throw new PeerError('closing', 'this node is not ready');
        return receiver.snapshot(from, meta, chunks);
      },
    });
  }

  #judge(hello: Buffer): Judged<Hello> {
    const judged: Judged<Hello> =
      this.#receiver === undefined || this.#closed
        ? { ok: false, refusal: { code: 'notReady', message: 'this node starts or stops' } }
        : judgeHello(hello, this.#deps.self, (nodeId) => this.#peers.get(nodeId)?.known);
    if (!judged.ok) {
      this.#observer.handshakeRefused(judged.refusal.code);
      this.#warn(judged.refusal.code, { ...judged.refusal }, 'refused a handshake');
    }
    return judged;
  }

  #accepted(accepted: InboundConnection, hello: Hello): void {
    for (const connection of [...this.#inbound]) {
      const other = connection.hello;
      if (connection === accepted || other?.nodeId !== hello.nodeId) continue;
      // A kept lane has one connection; an older boot has none.
      const replaced = other.lane === hello.lane && hello.lane !== 'snapshot';
      if (replaced || other.bootId < hello.bootId) connection.close();
    }
    this.#peers.get(hello.nodeId)?.seen(hello.bootId);
  }

  #ended(connection: InboundConnection, error: PeerError | undefined): void {
    this.#inbound.delete(connection);
    if (error === undefined) return;
    this.#observer.protocolError(error.code);
    this.#warn(
      error.code,
      { peer: connection.hello?.nodeId, code: error.code, error: error.message },
      'a connection broke the protocol and was closed',
    );
  }

  /** Anyone who reaches the port can cause these: one line per code and second. */
  #warn(code: string, fields: Readonly<Record<string, unknown>>, message: string): void {
    const now = this.#deps.clock.monotonicMs();
    if (now - (this.#warnedAtMs.get(code) ?? Number.NEGATIVE_INFINITY) < WARN_EVERY_MS) return;
    this.#warnedAtMs.set(code, now);
    this.#deps.logger.warn(fields, message);
  }
}
