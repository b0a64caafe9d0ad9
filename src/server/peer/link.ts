// An agreed connection, seen from one end: frames in and out, and the watch on silence.
//
// Owns: reading, coalesced writing, the pings of this end and the deadline for those of the other,
// the end of the connection.
// Does not own: the handshake before it, the meaning of frames.
//
// Invariants: `closed` runs exactly once; no frame is handed out after it. A silence is believed only
// after the sockets have been read once more, because after a stall of this process the data that
// disproves it may still lie in the buffer.

import type { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { Cancel, Clock } from '../../raft/index.ts';
import { PeerError } from './errors.ts';
import { FRAME, type FrameHandler, type FrameParser, makeFrame } from './frames.ts';
import type { PeerLimits } from './limits.ts';
import { WriteQueue } from './write-queue.ts';

export interface LinkDeps {
  readonly clock: Clock;
  readonly limits: PeerLimits;
  readonly queueBytesMax: number;
  readonly frame: FrameHandler;
  /** `error` is set when this side closed it because the other broke the protocol. */
  readonly closed: (error: PeerError | undefined) => void;
  readonly drained?: () => void;
}

const PING = makeFrame(FRAME.ping);

export class Link {
  readonly #socket: Socket;
  readonly #parser: FrameParser;
  readonly #deps: LinkDeps;
  readonly #queue: WriteQueue;
  #lastHeardMs: number;
  #cancelWatch: Cancel;
  #closed = false;

  constructor(socket: Socket, parser: FrameParser, deps: LinkDeps) {
    this.#socket = socket;
    this.#parser = parser;
    this.#deps = deps;
    this.#queue = new WriteQueue(socket, deps.clock, deps.queueBytesMax);
    this.#lastHeardMs = deps.clock.monotonicMs();
    this.#cancelWatch = this.#watchLater();
    parser.handOver(deps.limits.frameBytesMax, (type, payload) => this.#frame(type, payload));
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('drain', () => deps.drained?.());
    // What the error was does not matter here: the close that follows is what counts.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#end(undefined));
    socket.on('end', () => this.#end(undefined));
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** False: not taken, because the link is closed or its queue full. */
  send(frame: Buffer, written?: () => void): boolean {
    return !this.#closed && this.#queue.push(frame, written);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.#closed) return;
    // Silence that this side asked for is nobody's fault.
    this.#lastHeardMs = this.#deps.clock.monotonicMs();
    this.#socket.resume();
  }

  /** Closes at once; what is queued is lost. */
  close(error?: PeerError): void {
    this.#end(error);
  }

  /** Writes what is queued, then closes. */
  finish(): void {
    if (this.#closed) return;
    this.#queue.flush();
    this.#socket.end();
    // Whatever the other end still sends is read away, else its close would never arrive.
    this.#socket.resume();
    const { clock, limits } = this.#deps;
    const cancel = clock.after(limits.closeMsMax, () => this.#socket.destroy());
    this.#socket.on('close', cancel);
    this.#end(undefined, { keepSocket: true });
  }

  #data(chunk: Buffer): void {
    if (this.#closed) return;
    this.#lastHeardMs = this.#deps.clock.monotonicMs();
    this.#guarded(() => this.#parser.push(chunk));
  }

  /** May be called by the parser from inside the handshake that preceded this link. */
  #frame(type: number, payload: Buffer): void {
    if (type !== FRAME.ping) this.#guarded(() => this.#deps.frame(type, payload));
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (cause) {
      if (!(cause instanceof PeerError)) throw cause;
      this.#end(cause);
    }
  }

  #watchLater(): Cancel {
    return this.#deps.clock.after(this.#deps.limits.keepaliveMs, () => this.#watch());
  }

  #watch(): void {
    if (this.#closed) return;
    if (!this.#isSilent()) {
      this.#queue.push(PING);
      this.#cancelWatch = this.#watchLater();
      return;
    }
    this.#deps.clock.defer(() => {
      if (this.#closed) return;
      if (this.#isSilent()) this.#end(undefined);
      else this.#cancelWatch = this.#watchLater();
    });
  }

  #isSilent(): boolean {
    const { clock, limits } = this.#deps;
    return !this.#socket.isPaused() && clock.monotonicMs() - this.#lastHeardMs >= limits.idleMsMax;
  }

  #end(error: PeerError | undefined, options: { readonly keepSocket?: boolean } = {}): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelWatch();
    this.#parser.close();
    if (options.keepSocket !== true) this.#socket.destroy();
    this.#deps.closed(error);
  }
}
