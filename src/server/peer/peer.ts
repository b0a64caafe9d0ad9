// One other node: its three lanes, and what is known of it.
//
// Owns: which message travels in which lane, the newest boot seen, the bound on reports about the
// peer. Does not own: connections from the peer (inbound.ts).
//
// Invariant: reports are deferred and at most one per kind in `reportMs`, so that a driver which
// answers a report with a message to the same dead peer does not loop.

import type { Buffer } from 'node:buffer';
import type { ForwardResult } from '../../engine/index.ts';
import {
  type BootId,
  type Clock,
  encodeMessage,
  type Message,
  type NodeId,
  type NodeLog,
  type Random,
} from '../../raft/index.ts';
import type { DialFailure, DialTarget } from './dialer.ts';
import { PeerError } from './errors.ts';
import { ForwardClient } from './forwarding.ts';
import { FRAME, FRAME_HEADER_BYTES, makeFrame, sealFrame } from './frames.ts';
import {
  encodeHello,
  judgeWelcome,
  type KnownPeer,
  type Lane,
  type SelfIdentity,
} from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import type { PeerObserver } from './observer.ts';
import { OutboundLane } from './outbound-lane.ts';
import type { SocketFactory } from './sockets.ts';

export interface PeerAddress {
  readonly nodeId: NodeId;
  readonly host: string;
  readonly port: number;
  /** Checked when known. */
  readonly birthId?: string;
}

export interface PeerDeps {
  readonly self: SelfIdentity;
  readonly sockets: SocketFactory;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: PeerLimits;
  readonly logger: NodeLog;
  readonly observer: PeerObserver;
  readonly unreachable: (peer: NodeId) => void;
  readonly refused: (peer: NodeId) => void;
}

type KeptLane = Exclude<Lane, 'snapshot'>;

function laneOf(message: Message): KeptLane {
  return message.kind === 'appendEntries' || message.kind === 'appendEntriesResponse'
    ? 'append'
    : 'control';
}

export class Peer {
  readonly #address: PeerAddress;
  readonly #deps: PeerDeps;
  readonly #lanes: Readonly<Record<KeptLane, OutboundLane>>;
  readonly #forwarding: ForwardClient;
  readonly #reportedAtMs = {
    unreachable: Number.NEGATIVE_INFINITY,
    refused: Number.NEGATIVE_INFINITY,
  };
  #bootId: BootId | undefined;
  #lastRefusal = '';
  #closed = false;

  constructor(address: PeerAddress, deps: PeerDeps) {
    this.#address = address;
    this.#deps = deps;
    const { limits } = deps;
    this.#lanes = {
      control: this.#lane('control', limits.controlQueueBytesMax),
      append: this.#lane('append', limits.appendQueueBytesMax),
      forward: this.#lane('forward', limits.forwardQueueBytesMax),
    };
    this.#forwarding = new ForwardClient(deps.clock, limits, (frame, written) =>
      this.#lanes.forward.send(frame, written),
    );
  }

  get known(): KnownPeer {
    const { nodeId, birthId } = this.#address;
    return { nodeId, birthId, bootId: this.#bootId };
  }

  get connectedLanes(): readonly KeptLane[] {
    return (['control', 'append', 'forward'] as const).filter((lane) => this.#lanes[lane].isOpen);
  }

  get queuedBytes(): number {
    const { append, control, forward } = this.#lanes;
    return append.queuedBytes + control.queuedBytes + forward.queuedBytes;
  }

  get forwardsInflight(): number {
    return this.#forwarding.inflight;
  }

  start(): void {
    for (const lane of Object.values(this.#lanes)) lane.start();
  }

  send(message: Message): void {
    const lane = laneOf(message);
    const frame = sealFrame(FRAME.message, encodeMessage(message, FRAME_HEADER_BYTES));
    if (frame.length > this.#deps.limits.frameBytesMax) {
      throw new PeerError('frameTooLarge', `a ${message.kind} of ${frame.length} bytes`);
    }
    if (this.#lanes[lane].send(frame)) return;
    this.#deps.observer.dropped(this.#address.nodeId, lane);
    this.#report('unreachable');
  }

  forward(request: Uint8Array, done: (result: ForwardResult) => void): void {
    this.#forwarding.forward(request, done);
  }

  notify(bytes: Uint8Array): void {
    if (this.#lanes.forward.send(makeFrame(FRAME.notify, bytes))) return;
    this.#deps.observer.dropped(this.#address.nodeId, 'forward');
  }

  /** A process of this peer has connected to this node: it lives. */
  seen(bootId: BootId): void {
    const renewed = this.#bootId !== undefined && bootId > this.#bootId;
    this.#bootId = Math.max(bootId, this.#bootId ?? bootId);
    for (const lane of Object.values(this.#lanes)) {
      if (renewed) lane.renew();
      lane.nudge();
    }
  }

  /** How to reach this peer for a lane. */
  target(lane: Lane): DialTarget {
    const { host, nodeId, port } = this.#address;
    const { self } = this.#deps;
    return {
      host,
      port,
      hello: () =>
        encodeHello({ ...self, lane, toNodeId: nodeId, toBirthId: this.#address.birthId ?? '' }),
      judge: (welcome) => judgeWelcome(welcome, self, this.known),
    };
  }

  close(): void {
    this.#closed = true;
    for (const lane of Object.values(this.#lanes)) lane.close();
    this.#forwarding.disconnected();
  }

  #lane(name: KeptLane, queueBytesMax: number): OutboundLane {
    const { nodeId } = this.#address;
    const { observer } = this.#deps;
    return new OutboundLane({
      ...this.#deps,
      queueBytesMax,
      target: this.target(name),
      opened: (identity) => {
        this.#lastRefusal = '';
        this.#bootId = Math.max(identity.bootId, this.#bootId ?? identity.bootId);
        observer.connected(nodeId, name);
      },
      lost: (error) => {
        observer.disconnected(nodeId, name);
        if (error !== undefined) this.#broke(name, error);
        if (name === 'forward') this.#forwarding.disconnected();
        this.#report('unreachable');
      },
      failed: (failure) => this.#failed(failure),
      frame: (type, payload) => this.#frame(name, type, payload),
    });
  }

  #frame(lane: KeptLane, type: number, payload: Buffer): void {
    if (lane !== 'forward' || type !== FRAME.forwardReply) {
      throw new PeerError('unexpectedFrame', `frame ${type} in the lane ${lane}`);
    }
    this.#forwarding.reply(payload);
  }

  #failed(failure: DialFailure): void {
    switch (failure.kind) {
      case 'refused':
        this.#report('refused');
        return;
      case 'unreachable':
        this.#report('unreachable');
        return;
      case 'handshake':
        this.#deps.observer.handshakeRefused(failure.refusal.code);
        if (this.#lastRefusal !== failure.refusal.code) {
          this.#lastRefusal = failure.refusal.code;
          this.#deps.logger.warn(
            { peer: this.#address.nodeId, ...failure.refusal },
            'handshake with a peer failed',
          );
        }
        this.#report('unreachable');
    }
  }

  #broke(lane: Lane, error: PeerError): void {
    const { logger, observer } = this.#deps;
    observer.protocolError(error.code);
    logger.warn(
      { peer: this.#address.nodeId, lane, code: error.code, error: error.message },
      'a peer broke the protocol; the connection was closed',
    );
  }

  #report(kind: 'unreachable' | 'refused'): void {
    const { clock, limits } = this.#deps;
    const now = clock.monotonicMs();
    if (this.#closed || now - this.#reportedAtMs[kind] < limits.reportMs) return;
    this.#reportedAtMs[kind] = now;
    clock.defer(() => {
      if (!this.#closed) this.#deps[kind](this.#address.nodeId);
    });
  }
}
