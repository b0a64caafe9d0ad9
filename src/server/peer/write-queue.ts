// Frames on their way into a socket: everything of one turn in one write.
//
// Owns: coalescing, and the bound in bytes on what waits, in here and in the socket.
// Invariant: frames are written in the order of `push`; a frame's `written` runs when it is handed
// to the socket, so that what never was can be told apart from what may have arrived.

import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import type { Clock } from '../../raft/index.ts';

interface Waiting {
  readonly frame: Buffer;
  readonly written: (() => void) | undefined;
}

/** Up to here copying into one buffer is cheaper than a vector of small ones. */
const COPY_BYTES_MAX = 64 * 1024;

export class WriteQueue {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #scheduled = false;

  constructor(socket: Socket, clock: Clock, bytesMax: number) {
    this.#socket = socket;
    this.#clock = clock;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#waitingBytes + this.#socket.writableLength;
  }

  /** False when the queue is full: the frame was not taken. */
  push(frame: Buffer, written?: () => void): boolean {
    const { bytes } = this;
    if (bytes > 0 && bytes + frame.length > this.#bytesMax) return false;
    this.#waiting.push({ frame, written });
    this.#waitingBytes += frame.length;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#clock.defer(() => this.flush());
    }
    return true;
  }

  flush(): void {
    this.#scheduled = false;
    const waiting = this.#waiting;
    const totalBytes = this.#waitingBytes;
    if (waiting.length === 0 || this.#socket.destroyed || !this.#socket.writable) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const [first] = waiting;
    if (waiting.length === 1 && first !== undefined) {
      this.#socket.write(first.frame);
    } else if (totalBytes <= COPY_BYTES_MAX) {
      this.#socket.write(
        Buffer.concat(
          waiting.map(({ frame }) => frame),
          totalBytes,
        ),
      );
    } else {
      this.#socket.cork();
      for (const { frame } of waiting) this.#socket.write(frame);
      this.#socket.uncork();
    }
    for (const { written } of waiting) written?.();
  }
}
