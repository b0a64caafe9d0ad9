// Requests to another node and their replies: correlation, bounds, and what became of each.
//
// Owns: ids and the requests without a reply, of both directions. Does not own: connections.
//
// Invariants: each request ends exactly once, and later than the call that made it; `notSent` only if
// its frame was never handed to a socket, else `lost` (docs/architecture.md §Consensus, outcomes).

import { Buffer } from 'node:buffer';
import type { ForwardHandler, ForwardResult } from '../../engine/index.ts';
import type { Cancel, Clock, NodeId } from '../../raft/index.ts';
import { PeerError } from './errors.ts';
import { FRAME, makeFrame } from './frames.ts';
import type { PeerLimits } from './limits.ts';

type SendFrame = (frame: Buffer, written?: () => void) => boolean;

interface Open {
  readonly done: (result: ForwardResult) => void;
  readonly expiresAtMs: number;
  written: boolean;
}

const ID_BYTES = 6;
const SWEEPS_PER_TIMEOUT = 20;

function idBytes(id: number): Buffer {
  const bytes = Buffer.allocUnsafe(ID_BYTES);
  bytes.writeUIntBE(id, 0, ID_BYTES);
  return bytes;
}

function splitId(payload: Buffer): { readonly id: number; readonly body: Buffer } {
  if (payload.length < ID_BYTES) throw new PeerError('malformed', 'a forwarded frame without id');
  return { id: payload.readUIntBE(0, ID_BYTES), body: payload.subarray(ID_BYTES) };
}

/** The requests of this node to one peer. */
export class ForwardClient {
  readonly #clock: Clock;
  readonly #limits: PeerLimits;
  readonly #send: SendFrame;
  readonly #open = new Map<number, Open>();
  #nextId = 1;
  #cancelSweep: Cancel | undefined;

  constructor(clock: Clock, limits: PeerLimits, send: SendFrame) {
    this.#clock = clock;
    this.#limits = limits;
    this.#send = send;
  }

  get inflight(): number {
    return this.#open.size;
  }

  forward(request: Uint8Array, done: (result: ForwardResult) => void): void {
    const notSent = (): void => this.#clock.defer(() => done({ kind: 'notSent' }));
    if (this.#open.size >= this.#limits.forwardInflightMax) {
      notSent();
      return;
    }
    const id = this.#nextId++;
    const open: Open = {
      done,
      expiresAtMs: this.#clock.monotonicMs() + this.#limits.forwardTimeoutMs,
      written: false,
    };
    const taken = this.#send(makeFrame(FRAME.forwardRequest, idBytes(id), request), () => {
      open.written = true;
    });
    if (!taken) {
      notSent();
      return;
    }
    this.#open.set(id, open);
    this.#cancelSweep ??= this.#sweepLater();
  }

  /** @throws {PeerError} `malformed`. */
  reply(payload: Buffer): void {
    const { id, body } = splitId(payload);
    const open = this.#open.get(id);
    // A reply after the timeout: its request has been called lost.
    if (open === undefined) return;
    this.#open.delete(id);
    open.done({ kind: 'reply', bytes: body });
  }

  /** The connection is gone: no reply will come. */
  disconnected(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    const opens = [...this.#open.values()];
    this.#open.clear();
    for (const open of opens) {
      this.#clock.defer(() => open.done({ kind: open.written ? 'lost' : 'notSent' }));
    }
  }

  #sweepLater(): Cancel {
    return this.#clock.after(this.#limits.forwardTimeoutMs / SWEEPS_PER_TIMEOUT, () => {
      const now = this.#clock.monotonicMs();
      for (const [id, open] of this.#open) {
        // Ids and deadlines grow together, and a Map keeps its insertion order.
        if (open.expiresAtMs > now) break;
        this.#open.delete(id);
        open.done({ kind: 'lost' });
      }
      this.#cancelSweep = this.#open.size > 0 ? this.#sweepLater() : undefined;
    });
  }
}

/** The requests of one connection of a peer to this node. */
export class ForwardServer {
  readonly #from: NodeId;
  readonly #limits: PeerLimits;
  readonly #send: SendFrame;
  readonly #handler: () => ForwardHandler | undefined;
  #inflight = 0;

  constructor(
    from: NodeId,
    limits: PeerLimits,
    send: SendFrame,
    handler: () => ForwardHandler | undefined,
  ) {
    this.#from = from;
    this.#limits = limits;
    this.#send = send;
    this.#handler = handler;
  }

  /** @throws {PeerError} `malformed`, or `unexpectedFrame` from a peer that ignores the bound. */
  request(payload: Buffer): void {
    const { id, body } = splitId(payload);
    const handler = this.#handler();
    // Unanswered: the sender's timeout calls it lost.
    if (handler === undefined) return;
    // The sender forgets a request at its timeout while this side may still work on it.
    if (this.#inflight >= 2 * this.#limits.forwardInflightMax) {
      throw new PeerError('unexpectedFrame', 'too many forwarded requests without a reply');
    }
    this.#inflight += 1;
    let replied = false;
    handler(this.#from, body, (bytes) => {
      if (replied) return;
      replied = true;
      this.#inflight -= 1;
      this.#send(makeFrame(FRAME.forwardReply, idBytes(id), bytes));
    });
  }
}
