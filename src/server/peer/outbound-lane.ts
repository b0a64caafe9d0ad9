// The connection that this node keeps to one peer for one lane.
//
// Owns: connecting, reconnecting with back-off, reporting what the failures say about the peer.
// Does not own: the meaning of frames, the bound on reports (peer-network.ts).
//
// Invariants: at most one connection or attempt at a time; after a connection that was in use breaks
// the next attempt starts at once, so that a dead process shows as refused within milliseconds
// (docs/architecture.md §Consensus); the pause between attempts is capped well below half an election
// timeout, so that a healed peer hears of its leader before it campaigns.

import type { Buffer } from 'node:buffer';
import type { Cancel, Clock, NodeLog, Random } from '../../raft/index.ts';
import { type DialFailure, type DialTarget, dial } from './dialer.ts';
import type { PeerError } from './errors.ts';
import type { SelfIdentity } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import { Link } from './link.ts';
import type { SocketFactory } from './sockets.ts';

export interface OutboundDeps {
  readonly sockets: SocketFactory;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: PeerLimits;
  readonly logger: NodeLog;
  readonly queueBytesMax: number;
  readonly target: DialTarget;
  readonly opened: (identity: SelfIdentity) => void;
  /** A connection that was in use is gone. */
  readonly lost: (error: PeerError | undefined) => void;
  readonly failed: (failure: DialFailure) => void;
  readonly frame: (type: number, payload: Buffer) => void;
}

/** The first attempts after a loss; then the pause doubles up to the limit. */
const FIRST_PAUSES_MS = [0, 4, 10, 20, 40] as const;
/** A connection that lived shorter counts as a failed attempt: no tight loop of welcomes. */
const STABLE_MS = 50;

export class OutboundLane {
  readonly #deps: OutboundDeps;
  #link: Link | undefined;
  #openedAtMs = 0;
  #failures = 0;
  #cancelAttempt: Cancel | undefined;
  #cancelPause: Cancel | undefined;
  #closed = false;

  constructor(deps: OutboundDeps) {
    this.#deps = deps;
  }

  get isOpen(): boolean {
    return this.#link !== undefined;
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0;
  }

  start(): void {
    this.#attempt();
  }

  /** False: not taken, because there is no connection or the queue is full. */
  send(frame: Buffer, written?: () => void): boolean {
    return this.#link?.send(frame, written) ?? false;
  }

  /** The peer has been heard of by another way: a pause before the next attempt ends. */
  nudge(): void {
    if (this.#cancelPause !== undefined) this.#attempt();
  }

  /** Drops the connection, which leads to a process that is gone, and connects anew. */
  renew(): void {
    this.#link?.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelPause?.();
    this.#cancelAttempt?.();
    this.#link?.finish();
  }

  #attempt(): void {
    this.#cancelPause?.();
    this.#cancelPause = undefined;
    if (this.#closed) return;
    this.#cancelAttempt = dial(this.#deps, this.#deps.target, {
      opened: (socket, parser, identity) => {
        this.#cancelAttempt = undefined;
        this.#openedAtMs = this.#deps.clock.monotonicMs();
        this.#link = new Link(socket, parser, {
          clock: this.#deps.clock,
          limits: this.#deps.limits,
          queueBytesMax: this.#deps.queueBytesMax,
          frame: this.#deps.frame,
          closed: (error) => this.#lost(error),
        });
        this.#deps.opened(identity);
      },
      failed: (failure) => {
        this.#cancelAttempt = undefined;
        this.#failures += 1;
        this.#pause();
        this.#deps.failed(failure);
      },
    });
  }

  #lost(error: PeerError | undefined): void {
    this.#link = undefined;
    const livedMs = this.#deps.clock.monotonicMs() - this.#openedAtMs;
    this.#failures = livedMs >= STABLE_MS ? 0 : this.#failures + 1;
    if (!this.#closed) this.#pause();
    this.#deps.lost(error);
  }

  #pause(): void {
    const { clock, limits, random } = this.#deps;
    const last = FIRST_PAUSES_MS.length - 1;
    const base =
      FIRST_PAUSES_MS[this.#failures] ??
      FIRST_PAUSES_MS[4] * 2 ** Math.min(20, this.#failures - last);
    const pauseMs = Math.min(base, limits.reconnectMsMax) * (0.5 + 0.5 * random.next());
    this.#cancelPause = clock.after(pauseMs, () => this.#attempt());
  }
}
