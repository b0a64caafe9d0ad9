// Bytes of gRPC messages that are still arriving: counted while they do, ended when they take too long (P8).
//
// Owns: from the first byte of a call to its half-close (or to each message of a stream). Does not own:
// the bytes of a whole message while it is answered (grpc-server.ts).
// Invariant: what is taken from the admission here is given back, at the latest when the stream closes.
//
// The library hands over whole messages only, and keeps the parts of unfinished ones without a bound over
// all streams; a client that opens many and finishes none would fill the memory. So this reads along on the
// call's HTTP/2 stream, which the library keeps in a private field: a test fails if an upgrade renames it.

import assert from 'node:assert';
import { constants, type ServerHttp2Stream } from 'node:http2';
import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
} from '@grpc/grpc-js';
import type { Admission, Lane } from '../api/index.ts';

export interface ArrivalLimits {
  /** From the call's headers to its half-close; calls that stream their requests may take longer. */
  readonly receiveTimeoutMs: number;
}

/** Resets a stream (`ENHANCE_YOUR_CALM`, `CANCEL`) rather than answering it: an answer would not stop its sender. */
export function countArrivingBytes(
  limits: ArrivalLimits,
  admission: Admission,
  laneOf: (path: string) => Lane,
): ServerInterceptor {
  return ({ path, requestStream }, call) => {
    const stream = streamOf(call);
    const lane = laneOf(path);
    let taken = 0;
    let ended = false;
    const end = (code: number): void => {
      ended = true;
      stream.close(code);
    };
    const give = (): void => {
      admission.giveBytes(taken);
      taken = 0;
    };
    const timer = requestStream
      ? undefined
      : setTimeout(() => end(constants.NGHTTP2_CANCEL), limits.receiveTimeoutMs);
    const arrived = (): void => {
      clearTimeout(timer);
      give();
    };
    // Ahead of the library's own listener, which may hand over a message at once.
    stream.prependListener('data', (chunk: Buffer) => {
      if (ended) return;
      if (admission.takeBytes(chunk.length, lane)) taken += chunk.length;
      else end(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
    stream.once('close', arrived);
    const listener: ServerListener = requestStream
      ? {
          onReceiveMessage: (message, next) => {
            give();
            next(message);
          },
        }
      : {
          onReceiveHalfClose: (next) => {
            arrived();
            // A stream that was reset here ends as well, and a whole message may stand in it: the
            // client was told that nothing happened.
            if (!ended) next();
          },
        };
    return new ServerInterceptingCall(call, { start: (next) => next(listener) });
  };
}

function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream {
  const { stream } = call as unknown as { readonly stream?: ServerHttp2Stream };
  assert(stream !== undefined, 'the gRPC library keeps no HTTP/2 stream in a call');
  return stream;
}
