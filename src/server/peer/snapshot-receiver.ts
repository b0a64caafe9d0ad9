// Receiving one snapshot stream from a peer.
//
// Owns: checking the stream (order, checksum of every chunk, totals), handing its chunks out no
// faster than they are taken, the verdict. Does not own: what the chunks mean or where they go.
//
// Invariants: the iteration ends normally only after a whole, undamaged stream; every other end is an
// error, so that a cut stream can never pass for a short snapshot (bug F11); bytes that wait are
// bounded by pausing the connection.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import {
  type Cancel,
  type Clock,
  CodecError,
  decodeSnapshotMeta,
  type SnapshotMeta,
} from '../../raft/index.ts';
import { PeerError } from './errors.ts';
import { FRAME, makeFrame } from './frames.ts';
import type { PeerLimits } from './limits.ts';
import type { Link } from './link.ts';
import { CHUNK_HEADER_BYTES, END_BYTES } from './snapshot-sender.ts';

export type TakeSnapshot = (meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>) => Promise<void>;

const REASON_BYTES_MAX = 1024;

export class SnapshotReceiver {
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #limits: PeerLimits;
  readonly #take: TakeSnapshot;
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #totalBytes = 0;
  #checksum = 0;
  #sequence = 0;
  #begun = false;
  #complete = false;
  #error: PeerError | undefined;
  #wake: (() => void) | undefined;
  #cancelProgress: Cancel | undefined;

  constructor(link: Link, clock: Clock, limits: PeerLimits, take: TakeSnapshot) {
    this.#link = link;
    this.#clock = clock;
    this.#limits = limits;
    this.#take = take;
  }

  /** @throws {PeerError} when the frame has no place in a stream. */
  frame(type: number, payload: Buffer): void {
    switch (type) {
      case FRAME.snapshotBegin:
        this.#begin(payload);
        return;
      case FRAME.snapshotChunk:
        this.#chunk(payload);
        return;
      case FRAME.snapshotEnd:
        this.#end(payload);
        return;
      default:
        throw new PeerError('unexpectedFrame', `frame ${type} on a snapshot connection`);
    }
  }

  /** The connection is gone. */
  disconnected(): void {
    this.#cancelProgress?.();
    if (!this.#complete) this.#fail(new PeerError('snapshotCut', 'the stream ended early'));
  }

  #begin(payload: Buffer): void {
    if (this.#begun) throw new PeerError('unexpectedFrame', 'a second beginning of a snapshot');
    this.#begun = true;
    let meta: SnapshotMeta;
    try {
      meta = decodeSnapshotMeta(payload);
    } catch (cause) {
      if (cause instanceof CodecError) throw new PeerError('malformed', cause.message);
      throw cause;
    }
    this.#sayProgress();
    this.#take(meta, { [Symbol.asyncIterator]: () => this.#iterate() }).then(
      () => this.#verdict(makeFrame(FRAME.snapshotDone)),
      (cause: unknown) => {
        const reason = Buffer.from(String(cause), 'utf8').subarray(0, REASON_BYTES_MAX);
        this.#verdict(makeFrame(FRAME.snapshotFailed, reason));
      },
    );
  }

  #verdict(frame: Buffer): void {
    this.#cancelProgress?.();
    this.#complete = true;
    this.#chunks = [];
    this.#link.send(frame);
    this.#link.finish();
  }

  /** Tells the sender that this process lives, also while the machine syncs what it received. */
  #sayProgress(): void {
    this.#cancelProgress = this.#clock.after(this.#limits.snapshotStallMs / 4, () => {
      if (!this.#link.isOpen) return;
      this.#link.send(makeFrame(FRAME.snapshotBegin));
      this.#sayProgress();
    });
  }

  #chunk(payload: Buffer): void {
    if (!this.#begun || this.#complete || payload.length < CHUNK_HEADER_BYTES) {
      throw new PeerError('malformed', 'a chunk outside a snapshot');
    }
    if (this.#error !== undefined) return;
    const chunk = payload.subarray(CHUNK_HEADER_BYTES);
    if (payload.readUInt32BE(0) !== this.#sequence || payload.readUInt32BE(4) !== crc32(chunk)) {
      this.#fail(new PeerError('snapshotDamaged', `chunk ${this.#sequence} is damaged`));
      return;
    }
    this.#sequence += 1;
    this.#totalBytes += chunk.length;
    this.#checksum = crc32(chunk, this.#checksum);
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
    if (this.#bufferedBytes > this.#limits.snapshotBufferBytesMax) this.#link.pause();
    this.#wakeUp();
  }

  #end(payload: Buffer): void {
    if (!this.#begun || this.#complete || payload.length !== END_BYTES) {
      throw new PeerError('malformed', 'an end outside a snapshot');
    }
    const whole =
      payload.readBigUInt64BE(0) === BigInt(this.#totalBytes) &&
      payload.readUInt32BE(8) === this.#sequence &&
      payload.readUInt32BE(12) === this.#checksum;
    if (!whole) this.#fail(new PeerError('snapshotDamaged', 'the totals do not match'));
    this.#complete = true;
    this.#wakeUp();
  }

  async *#iterate(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bufferedBytes -= chunk.length;
        if (this.#bufferedBytes <= this.#limits.snapshotBufferBytesMax / 2) this.#link.resume();
        yield chunk;
      } else if (this.#complete) {
        return;
      } else {
        await this.#more();
      }
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(this.#limits.snapshotStallMs, () => {
        this.#fail(new PeerError('snapshotStalled', 'the sender makes no progress'));
      });
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #fail(error: PeerError): void {
    this.#error ??= error;
    this.#chunks = [];
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
