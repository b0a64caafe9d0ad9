// One attempt to reach a peer on one lane: connect, say hello, wait for the welcome.
//
// Owns: the judgement of how an attempt failed. Does not own: when to try again (outbound-lane.ts).
//
// Invariants: exactly one of `opened` and `failed` runs, once, and not from inside `dial`; only a
// refused connect is reported as refused: a reset or a timeout may come from a living process.

import type { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { Cancel, Clock } from '../../raft/index.ts';
import { PeerError, systemCode } from './errors.ts';
import { FRAME, FrameParser, makeFrame } from './frames.ts';
import { decodeRefusal, type Judged, type Refusal, type SelfIdentity } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import type { SocketFactory } from './sockets.ts';

export type DialFailure =
  /** No process listens there. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'unreachable'; readonly reason: string }
  | { readonly kind: 'handshake'; readonly refusal: Refusal };

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly hello: () => Buffer;
  readonly judge: (welcome: Buffer) => Judged<SelfIdentity>;
}

export interface DialDeps {
  readonly sockets: SocketFactory;
  readonly clock: Clock;
  readonly limits: PeerLimits;
}

export interface DialHandlers {
  /** The socket and its parser are the caller's from here on. */
  readonly opened: (socket: Socket, parser: FrameParser, identity: SelfIdentity) => void;
  readonly failed: (failure: DialFailure) => void;
}

/** Starts an attempt; the result cancels it silently. */
export function dial(deps: DialDeps, target: DialTarget, handlers: DialHandlers): Cancel {
  const { clock, limits, sockets } = deps;
  const socket = sockets.connect(target.host, target.port);
  const parser = new FrameParser(limits.helloBytesMax, (type, payload) => answered(type, payload));
  let ended = false;
  let cancelTimer = clock.after(limits.connectMsMax, () =>
    fail({ kind: 'unreachable', reason: 'connecting took too long' }),
  );

  const end = (): boolean => {
    if (ended) return false;
    ended = true;
    cancelTimer();
    for (const event of ['connect', 'data', 'error', 'close']) socket.removeAllListeners(event);
    // Errors of a socket that is given up have been judged already.
    socket.on('error', () => undefined);
    return true;
  };
  const fail = (failure: DialFailure): void => {
    if (!end()) return;
    parser.close();
    socket.destroy();
    handlers.failed(failure);
  };
  const answered = (type: number, payload: Buffer): void => {
    if (type === FRAME.refuse) {
      fail({ kind: 'handshake', refusal: decodeRefusal(payload) });
      return;
    }
    if (type !== FRAME.welcome) {
      fail({ kind: 'unreachable', reason: `frame ${type} instead of a welcome` });
      return;
    }
    const judged = target.judge(payload);
    if (!judged.ok) {
      fail({ kind: 'handshake', refusal: judged.refusal });
    } else if (end()) {
      handlers.opened(socket, parser, judged.value);
    }
  };

  socket.on('connect', () => {
    cancelTimer();
    cancelTimer = clock.after(limits.handshakeMsMax, () =>
      fail({ kind: 'unreachable', reason: 'no welcome in time' }),
    );
    socket.write(makeFrame(FRAME.hello, target.hello()));
  });
  socket.on('data', (chunk: Buffer) => {
    try {
      parser.push(chunk);
    } catch (cause) {
      if (!(cause instanceof PeerError)) throw cause;
      fail({ kind: 'unreachable', reason: cause.message });
    }
  });
  socket.on('error', (error) => {
    const code = systemCode(error);
    if (code === 'ECONNREFUSED') fail({ kind: 'refused' });
    else fail({ kind: 'unreachable', reason: code ?? error.message });
  });
  socket.on('close', () => fail({ kind: 'unreachable', reason: 'closed before the welcome' }));
  return () => {
    if (!end()) return;
    parser.close();
    socket.destroy();
  };
}
