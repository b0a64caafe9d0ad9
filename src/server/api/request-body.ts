// Reads the body of a request, whatever its content type says (dtm reference §1.1), within bounds.
//
// The framework's own parser is passed by: it refuses bodies by their content type and counts no
// bytes over all requests.

import type { IncomingMessage } from 'node:http';
import type { Admission, Lane } from './admission.ts';

export type BodyOutcome =
  /** `bytes` count as in flight until they are given back. */
  | { readonly kind: 'body'; readonly bytes: Buffer }
  | { readonly kind: 'tooLarge' | 'overloaded' }
  /** The client went away. */
  | { readonly kind: 'gone' };

/** `done` runs once; synchronously when the declared length already decides. */
export function readRequestBody(
  request: IncomingMessage,
  { bytesMax, lane }: { readonly bytesMax: number; readonly lane: Lane },
  admission: Admission,
  done: (outcome: BodyOutcome) => void,
): void {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) {
    done({ kind: 'tooLarge' });
    return;
  }
  const chunks: Buffer[] = [];
  let taken = 0;
  let ended = false;
  const end = (outcome: BodyOutcome): void => {
    if (ended) return;
    ended = true;
    request.off('data', onData).off('end', onEnd).off('close', onGone);
    if (outcome.kind !== 'body') admission.giveBytes(taken);
    done(outcome);
  };
  const onData = (chunk: Buffer): void => {
    if (taken + chunk.length > bytesMax) end({ kind: 'tooLarge' });
    else if (!admission.takeBytes(chunk.length, lane)) end({ kind: 'overloaded' });
    else {
      taken += chunk.length;
      chunks.push(chunk);
    }
  };
  const onEnd = (): void => {
    const [only] = chunks;
    const whole = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
    end({ kind: 'body', bytes: whole });
  };
  const onGone = (): void => end({ kind: 'gone' });
  request.on('data', onData).on('end', onEnd).on('close', onGone);
  // An aborted request reports an error as well as its end.
  request.on('error', onGone);
}
