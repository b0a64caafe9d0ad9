// Frames: what travels on every connection between nodes.
//
// Owns: `length u32 · type u8 · payload`, big-endian, where length counts type and payload; cutting a
// byte stream into frames. Does not own: what a payload means.
//
// Invariant: a length is judged before anything is kept for it, so that no peer can make this node
// hold more than the bound of the connection.

import { Buffer } from 'node:buffer';
import { PeerError } from './errors.ts';

export const FRAME = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  ping: 4,
  message: 5,
  forwardRequest: 6,
  forwardReply: 7,
  notify: 8,
  snapshotBegin: 9,
  snapshotChunk: 10,
  snapshotEnd: 11,
  snapshotDone: 12,
  snapshotFailed: 13,
} as const;

export const FRAME_HEADER_BYTES = 5;
const LENGTH_BYTES = 4;

/** Writes the header into the first bytes of `bytes`, which the payload follows. */
export function sealFrame(type: number, bytes: Uint8Array): Buffer {
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  frame.writeUInt32BE(frame.length - LENGTH_BYTES, 0);
  frame.writeUInt8(type, LENGTH_BYTES);
  return frame;
}

/** A frame of the concatenated parts. */
export function makeFrame(type: number, ...parts: readonly Uint8Array[]): Buffer {
  let size = FRAME_HEADER_BYTES;
  for (const part of parts) size += part.length;
  const frame = Buffer.allocUnsafe(size);
  let at = FRAME_HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return sealFrame(type, frame);
}

export type FrameHandler = (type: number, payload: Buffer) => void;

export class FrameParser {
  #bytesMax: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #neededBytes = FRAME_HEADER_BYTES;
  #onFrame: FrameHandler;
  #closed = false;

  constructor(bytesMax: number, onFrame: FrameHandler) {
    this.#bytesMax = bytesMax;
    this.#onFrame = onFrame;
  }

  /** The other side has said who it is: from the next frame on. */
  handOver(bytesMax: number, onFrame: FrameHandler): void {
    this.#bytesMax = bytesMax;
    this.#onFrame = onFrame;
  }

  /** Nothing that is still buffered will be handed out. */
  close(): void {
    this.#closed = true;
    this.#chunks = [];
  }

  /**
   * Hands out every frame that is complete. Payloads are views.
   * @throws {PeerError} `frameTooLarge` or `malformed`.
   */
  push(chunk: Buffer): void {
    if (this.#closed) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#neededBytes) return;
    const data = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes);
    let at = 0;
    for (;;) {
      this.#neededBytes = this.#frameBytes(data, at);
      if (data.length - at < this.#neededBytes) break;
      const end = at + this.#neededBytes;
      this.#onFrame(data.readUInt8(at + LENGTH_BYTES), data.subarray(at + FRAME_HEADER_BYTES, end));
      if (this.#isClosed()) return;
      at = end;
    }
    this.#bytes = data.length - at;
    this.#chunks = this.#bytes === 0 ? [] : [data.subarray(at)];
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #frameBytes(data: Buffer, at: number): number {
    if (data.length - at < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES;
    const length = data.readUInt32BE(at);
    if (length === 0) throw new PeerError('malformed', 'a frame without a type');
    if (length > this.#bytesMax) {
      throw new PeerError('frameTooLarge', `a frame of ${length} bytes, at most ${this.#bytesMax}`);
    }
    return LENGTH_BYTES + length;
  }
}
