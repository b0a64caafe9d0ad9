// Streaming one snapshot to a peer, on a connection of its own.
//
// Owns: the frames of a stream as its sender: begin with the metadata, chunks each with a checksum, an
// end with the totals, then the receiver's verdict. Does not own: the image, whether to try again.
//
// Invariants: resolves only after the receiver said that the snapshot is durable; writes no faster
// than the connection drains; a stream without progress for the stall time is given up.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { type Clock, encodeSnapshotMeta, type SnapshotSource } from '../../raft/index.ts';
import { type DialDeps, type DialTarget, dial } from './dialer.ts';
import { PeerError } from './errors.ts';
import { FRAME, makeFrame } from './frames.ts';
import { Link } from './link.ts';

export const CHUNK_HEADER_BYTES = 8;
export const END_BYTES = 16;
/** A socket that holds more than this is sure to say when it has drained. */
const DRAIN_BYTES = 64 * 1024;

/** A signal that may be awaited again and again. */
class Progress {
  #wake: (() => void) | undefined;
  #error: PeerError | undefined;
  #done = false;

  signal(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  fail(error: PeerError): void {
    if (this.#done) return;
    this.#error ??= error;
    this.signal();
  }

  finish(): void {
    this.#done = true;
    this.signal();
  }

  isDone(): boolean {
    return this.#done;
  }

  get error(): PeerError | undefined {
    return this.#error;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

export interface SnapshotSending {
  readonly finished: Promise<void>;
  readonly abort: (error: PeerError) => void;
}

export function sendSnapshot(
  deps: DialDeps,
  target: DialTarget,
  source: SnapshotSource,
): SnapshotSending {
  const sender = new SnapshotSender(deps, source);
  return { finished: sender.run(target), abort: (error) => sender.abort(error) };
}

class SnapshotSender {
  readonly #deps: DialDeps;
  readonly #source: SnapshotSource;
  readonly #progress = new Progress();
  #heardMs: number;

  constructor(deps: DialDeps, source: SnapshotSource) {
    this.#deps = deps;
    this.#source = source;
    this.#heardMs = deps.clock.monotonicMs();
  }

  abort(error: PeerError): void {
    this.#progress.fail(error);
  }

  async run(target: DialTarget): Promise<void> {
    const link = await this.#connect(target);
    const cancelWatch = this.#watchStall(this.#deps.clock);
    try {
      await this.#write(link);
      while (!this.#progress.isDone()) {
        this.#check();
        await this.#progress.wait();
      }
    } finally {
      cancelWatch();
      if (this.#progress.isDone()) link.finish();
      else link.close();
    }
  }

  #connect(target: DialTarget): Promise<Link> {
    const { clock, limits } = this.#deps;
    return new Promise((resolve, reject) => {
      dial(this.#deps, target, {
        opened: (socket, parser) => {
          const link = new Link(socket, parser, {
            clock,
            limits,
            queueBytesMax: Number.MAX_SAFE_INTEGER,
            frame: (type, payload) => this.#answered(type, payload),
            closed: (error) => {
              this.#progress.fail(error ?? new PeerError('unreachable', 'the stream was cut'));
            },
            drained: () => this.#advanced(),
          });
          resolve(link);
        },
        failed: (failure) => {
          const reason =
            failure.kind === 'handshake'
              ? `${failure.refusal.code}: ${failure.refusal.message}`
              : failure.kind;
          reject(new PeerError('unreachable', `no connection for a snapshot: ${reason}`));
        },
      });
    });
  }

  async #write(link: Link): Promise<void> {
    const bufferBytesMax = Math.max(DRAIN_BYTES, this.#deps.limits.snapshotBufferBytesMax);
    link.send(makeFrame(FRAME.snapshotBegin, encodeSnapshotMeta(this.#source.meta)));
    let totalBytes = 0;
    let checksum = 0;
    let sequence = 0;
    for await (const chunk of this.#source.chunks()) {
      this.#check();
      // The receiver may have all of it already.
      if (this.#progress.isDone()) return;
      const header = Buffer.allocUnsafe(CHUNK_HEADER_BYTES);
      header.writeUInt32BE(sequence++, 0);
      header.writeUInt32BE(crc32(chunk), 4);
      const frame = makeFrame(FRAME.snapshotChunk, header, chunk);
      if (frame.length > this.#deps.limits.frameBytesMax) {
        throw new PeerError('frameTooLarge', `a snapshot chunk of ${chunk.length} bytes`);
      }
      totalBytes += chunk.length;
      checksum = crc32(chunk, checksum);
      link.send(frame, () => this.#advanced());
      while (link.queuedBytes > bufferBytesMax) {
        await this.#progress.wait();
        this.#check();
        if (this.#progress.isDone()) return;
      }
    }
    const end = Buffer.alloc(END_BYTES);
    end.writeBigUInt64BE(BigInt(totalBytes), 0);
    end.writeUInt32BE(sequence, 8);
    end.writeUInt32BE(checksum, 12);
    link.send(makeFrame(FRAME.snapshotEnd, end));
  }

  #answered(type: number, payload: Buffer): void {
    this.#advanced();
    if (type === FRAME.snapshotDone) this.#progress.finish();
    else if (type === FRAME.snapshotFailed) {
      this.#progress.fail(new PeerError('snapshotRejected', payload.toString('utf8')));
    } else if (type !== FRAME.snapshotBegin) {
      this.#progress.fail(new PeerError('unexpectedFrame', `frame ${type} answers a snapshot`));
    }
  }

  #advanced(): void {
    this.#heardMs = this.#deps.clock.monotonicMs();
    this.#progress.signal();
  }

  #check(): void {
    if (this.#progress.error !== undefined) throw this.#progress.error;
  }

  #watchStall(clock: Clock): () => void {
    const { snapshotStallMs } = this.#deps.limits;
    let cancel = (): void => undefined;
    const watch = (): void => {
      cancel = clock.after(snapshotStallMs / 4, () => {
        if (clock.monotonicMs() - this.#heardMs < snapshotStallMs) watch();
        else
          this.#progress.fail(new PeerError('snapshotStalled', 'the receiver makes no progress'));
      });
    };
    watch();
    return () => cancel();
  }
}
