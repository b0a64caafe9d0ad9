// A connection that a peer opened to this node.
//
// Owns: the accepting side of the handshake, and handing the frames of an agreed connection to the
// lane that it is for. Does not own: what is done with them, how many connections there may be.
//
// Invariants: a stranger gets one small frame and a deadline; a refusal says why; a message is
// believed only when its sender, its addressee and its boot are those of the connection.

import type { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { ForwardHandler } from '../../engine/index.ts';
import {
  type Cancel,
  type Clock,
  CodecError,
  decodeMessage,
  type Message,
  type NodeId,
} from '../../raft/index.ts';
import { PeerError } from './errors.ts';
import { ForwardServer } from './forwarding.ts';
import { FRAME, type FrameHandler, FrameParser, makeFrame } from './frames.ts';
import { encodeRefusal, type Hello, type Judged } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import { Link } from './link.ts';
import { SnapshotReceiver, type TakeSnapshot } from './snapshot-receiver.ts';

export interface InboundDeps {
  readonly clock: Clock;
  readonly limits: PeerLimits;
  readonly selfNodeId: NodeId;
  readonly judge: (hello: Buffer) => Judged<Hello>;
  readonly welcome: () => Buffer;
  readonly accepted: (connection: InboundConnection, hello: Hello) => void;
  readonly ended: (connection: InboundConnection, error: PeerError | undefined) => void;
  readonly message: (message: Message) => void;
  readonly forwardHandler: () => ForwardHandler | undefined;
  readonly notified: (from: NodeId, bytes: Uint8Array) => void;
  readonly takeSnapshot: (from: NodeId) => TakeSnapshot;
}

export class InboundConnection {
  readonly #socket: Socket;
  readonly #deps: InboundDeps;
  readonly #parser: FrameParser;
  readonly #cancelGreeting: Cancel;
  #hello: Hello | undefined;
  #link: Link | undefined;
  #receiver: SnapshotReceiver | undefined;
  #ended = false;

  constructor(socket: Socket, deps: InboundDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.#parser = new FrameParser(deps.limits.helloBytesMax, (type, payload) =>
      this.#greeted(type, payload),
    );
    this.#cancelGreeting = deps.clock.after(deps.limits.handshakeMsMax, () => this.close());
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#parser.push(chunk);
      } catch (cause) {
        if (!(cause instanceof PeerError)) throw cause;
        this.#end(cause);
      }
    });
    // The close that follows an error is what counts.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#end(undefined));
  }

  /** Undefined: a stranger. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  close(): void {
    if (this.#link === undefined) this.#end(undefined);
    else this.#link.close();
  }

  /** Writes the replies that are queued, then closes. */
  finish(): void {
    if (this.#link === undefined) this.#end(undefined);
    else this.#link.finish();
  }

  #greeted(type: number, payload: Buffer): void {
    if (type !== FRAME.hello) throw new PeerError('unexpectedFrame', `frame ${type} as a greeting`);
    const judged = this.#deps.judge(payload);
    if (!judged.ok) {
      this.#parser.close();
      // The reason is flushed before the socket closes; the greeting's deadline bounds the rest.
      this.#socket.end(makeFrame(FRAME.refuse, encodeRefusal(judged.refusal)));
      return;
    }
    this.#hello = judged.value;
    this.#cancelGreeting();
    for (const event of ['data', 'error', 'close']) this.#socket.removeAllListeners(event);
    this.#socket.write(makeFrame(FRAME.welcome, this.#deps.welcome()));
    this.#open(judged.value);
    this.#deps.accepted(this, judged.value);
  }

  #open(hello: Hello): void {
    const { clock, limits } = this.#deps;
    let handle: FrameHandler = () => undefined;
    const link = new Link(this.#socket, this.#parser, {
      clock,
      limits,
      queueBytesMax: limits.forwardQueueBytesMax,
      frame: (type, payload) => handle(type, payload),
      closed: (error) => this.#end(error),
    });
    this.#link = link;
    handle = this.#handler(hello, link);
  }

  #handler(hello: Hello, link: Link): FrameHandler {
    const { clock, forwardHandler, limits, notified, takeSnapshot } = this.#deps;
    switch (hello.lane) {
      case 'control':
      case 'append':
        return (type, payload) => this.#message(hello, type, payload);
      case 'forward': {
        const send = (frame: Buffer): boolean => {
          const taken = link.send(frame);
          // A peer that asks and does not read the answers would be owed more and more.
          if (!taken) link.close(new PeerError('unexpectedFrame', 'replies are not read'));
          return taken;
        };
        const server = new ForwardServer(hello.nodeId, limits, send, forwardHandler);
        return (type, payload) => {
          if (type === FRAME.forwardRequest) server.request(payload);
          else if (type === FRAME.notify) notified(hello.nodeId, payload);
          else throw new PeerError('unexpectedFrame', `frame ${type} in the forwarding lane`);
        };
      }
      case 'snapshot': {
        const receiver = new SnapshotReceiver(link, clock, limits, takeSnapshot(hello.nodeId));
        this.#receiver = receiver;
        return (type, payload) => receiver.frame(type, payload);
      }
    }
  }

  #message(hello: Hello, type: number, payload: Buffer): void {
    if (type !== FRAME.message) throw new PeerError('unexpectedFrame', `frame ${type}`);
    let message: Message;
    try {
      message = decodeMessage(payload);
    } catch (cause) {
      if (cause instanceof CodecError) throw new PeerError('malformed', cause.message);
      throw cause;
    }
    const genuine =
      message.from === hello.nodeId &&
      message.to === this.#deps.selfNodeId &&
      message.fromBoot === hello.bootId;
    if (!genuine) throw new PeerError('malformed', 'a message in the name of another node');
    this.#deps.message(message);
  }

  #end(error: PeerError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelGreeting();
    this.#parser.close();
    if (this.#link === undefined) this.#socket.destroy();
    this.#receiver?.disconnected();
    this.#deps.ended(this, error);
  }
}
