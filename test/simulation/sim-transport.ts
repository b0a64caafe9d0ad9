// The ports between replicas, on the simulated network: consensus traffic, snapshot streams and
// forwarded requests.
//
// Owns: the promises of each port: lanes in order, a stream that ends whole or fails, a request that
// is answered, lost, or certainly not sent. Snapshot chunks may arrive damaged (a flipped bit): the
// receiver's checksums must notice.

import type { ForwardHandler, ForwardResult, ForwardTransport } from '../../src/engine/index.ts';
import type {
  Clock,
  Message,
  NodeId,
  SnapshotMeta,
  SnapshotSource,
  Transport,
  TransportReceiver,
} from '../../src/raft/index.ts';
import { laneOf } from './describe-message.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';
import type { Lane, SimNetwork } from './sim-network.ts';

const FORWARD_TIMEOUT_MS = 2_000;
const CHUNK_TIMEOUT_MS = 1_000;
const SILENCE_MS = 3_000;
/** The receiver's word that a whole stream is durable may be lost like any message. */
const CONFIRM_TIMEOUT_MS = 5_000;

export interface TransportWorld {
  readonly network: SimNetwork;
  readonly damageProbability: number;
  peer(nodeId: NodeId): SimTransport | undefined;
  sent(message: Message): void;
  received(message: Message): void;
}

/** A chunk on its way, or the end of the stream. */
type ChunkItem =
  | { readonly kind: 'chunk'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'cut' };

/** One life of one node's connections. */
export class SimTransport implements Transport, ForwardTransport {
  readonly #world: TransportWorld;
  readonly #process: SimProcess;
  readonly #life: number;
  readonly #random: Prng;
  #receiver: TransportReceiver | undefined;
  #onForward: ForwardHandler | undefined;
  #onNotify: ((from: NodeId, bytes: Uint8Array) => void) | undefined;

  constructor(world: TransportWorld, process: SimProcess, random: Prng) {
    this.#world = world;
    this.#process = process;
    this.#life = process.life;
    this.#random = random;
  }

  get receiver(): TransportReceiver | undefined {
    return this.#receiver;
  }

  get clock(): Clock {
    return this.#process.clock();
  }

  start(receiver: TransportReceiver): void {
    this.#receiver = receiver;
  }

  // --------------------------------------------------------------------------------- consensus

  send(messages: readonly Message[]): void {
    if (!this.#isAlive()) {
      return;
    }
    for (const message of messages) {
      this.#world.sent(message);
      this.#world.network.send(this.#process.nodeId, message.to, laneOf(message), () => {
        this.#world.received(message);
        this.#world.peer(message.to)?.receiver?.message(message);
      });
    }
  }

  // --------------------------------------------------------------------------------- snapshots

  async sendSnapshot(to: NodeId, source: SnapshotSource): Promise<void> {
    const stream = new ChunkStream();
    const connected = this.#world.network.connectionToken(this.#process.nodeId, to);
    const outcome = this.#offer(to, source.meta, stream);
    // A receiver that rejects early ends the stream; the rejection itself is awaited below.
    outcome.catch(() => stream.cut());
    try {
      for await (const chunk of source.chunks()) {
        if (!connected() || !(await this.#chunk(to, stream, chunk))) {
          throw new Error(`the stream to node ${to} was cut`);
        }
      }
      await this.#deliver(to, () => stream.push({ kind: 'end' }));
      const cancel = this.clock.after(CONFIRM_TIMEOUT_MS, () => stream.cut());
      await outcome.finally(cancel);
    } catch (error) {
      stream.cut();
      throw error;
    }
  }

  /** Tells the receiver of the stream; resolves with its word that it is durable. */
  #offer(to: NodeId, meta: SnapshotMeta, stream: ChunkStream): Promise<void> {
    const { network } = this.#world;
    const from = this.#process.nodeId;
    return new Promise<void>((resolve, reject) => {
      stream.onCut(() => reject(new Error(`the stream to node ${to} was cut`)));
      this.#once(to, 'snapshot', () => {
        const peer = this.#world.peer(to);
        if (peer?.receiver === undefined) {
          return;
        }
        peer.receiver.snapshot(from, meta, stream.chunks(peer.clock)).then(
          () => network.send(to, from, 'control', () => resolve()),
          (error: unknown) =>
            network.send(to, from, 'control', () =>
              reject(error instanceof Error ? error : new Error(String(error))),
            ),
        );
      });
    });
  }

  #chunk(to: NodeId, stream: ChunkStream, chunk: Uint8Array): Promise<boolean> {
    let bytes = chunk;
    if (this.#world.network.faulty && this.#random.chance(this.#world.damageProbability)) {
      bytes = chunk.slice();
      const at = this.#random.int(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.int(8));
    }
    return this.#deliver(to, () => stream.push({ kind: 'chunk', bytes }));
  }

  /** Resolves true on arrival, false when nothing arrived in time. */
  #deliver(to: NodeId, arrive: () => void): Promise<boolean> {
    return new Promise<boolean>((resolve) => {
      const cancel = this.#process.clock().after(CHUNK_TIMEOUT_MS, () => resolve(false));
      this.#once(to, 'snapshot', () => {
        arrive();
        this.#world.network.send(to, this.#process.nodeId, 'snapshot', () => {
          cancel();
          resolve(true);
        });
      });
    });
  }

  // -------------------------------------------------------------------------------- forwarding

  forward(to: NodeId, request: Uint8Array, done: (result: ForwardResult) => void): void {
    if (!this.#isAlive()) {
      return;
    }
    const from = this.#process.nodeId;
    const { network } = this.#world;
    if (network.wouldRefuse(from, to)) {
      this.#process.afterTrue(network.latencyMs(), () => done({ kind: 'notSent' }));
      return;
    }
    let ended = false;
    const end = (result: ForwardResult): void => {
      if (!ended) {
        ended = true;
        cancel();
        done(result);
      }
    };
    const cancel = this.#process.clock().after(FORWARD_TIMEOUT_MS, () => end({ kind: 'lost' }));
    const bytes = request.slice();
    this.#once(to, 'forward', () => {
      let replied = false;
      this.#world.peer(to)?.handler?.(from, bytes, (reply) => {
        if (!replied) {
          replied = true;
          const copy = reply.slice();
          network.send(to, from, 'forward', () => end({ kind: 'reply', bytes: copy }));
        }
      });
    });
  }

  get handler(): ForwardHandler | undefined {
    return this.#onForward;
  }

  onForward(handler: ForwardHandler): void {
    this.#onForward = handler;
  }

  notify(to: NodeId, bytes: Uint8Array): void {
    if (!this.#isAlive()) {
      return;
    }
    const from = this.#process.nodeId;
    const copy = bytes.slice();
    this.#once(to, 'forward', () => this.#world.peer(to)?.notified(from, copy));
  }

  notified(from: NodeId, bytes: Uint8Array): void {
    this.#onNotify?.(from, bytes);
  }

  onNotify(handler: (from: NodeId, bytes: Uint8Array) => void): void {
    this.#onNotify = handler;
  }

  /** Streams and requests belong to one connection: what breaks it may lose, never repeat. */
  #once(to: NodeId, lane: Lane, deliver: () => void): void {
    let delivered = false;
    this.#world.network.send(this.#process.nodeId, to, lane, () => {
      if (!delivered) {
        delivered = true;
        deliver();
      }
    });
  }

  #isAlive(): boolean {
    return this.#process.alive && this.#process.life === this.#life;
  }
}

/** The receiving end of a stream: chunks as they arrive, then the end or a cut. */
class ChunkStream {
  readonly #items: ChunkItem[] = [];
  readonly #cutListeners: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #isCut = false;

  push(item: ChunkItem): void {
    if (this.#isCut && item.kind !== 'cut') {
      return;
    }
    this.#items.push(item);
    this.#wake?.();
  }

  cut(): void {
    if (!this.#isCut) {
      this.#isCut = true;
      this.push({ kind: 'cut' });
      for (const listener of this.#cutListeners) {
        listener();
      }
    }
  }

  onCut(listener: () => void): void {
    this.#cutListeners.push(listener);
  }

  /** A sender that died says nothing more: the receiver notices by silence. */
  async *chunks(clock: Clock): AsyncGenerator<Uint8Array> {
    for (;;) {
      const item = this.#items.shift();
      if (item === undefined) {
        const cancel = clock.after(SILENCE_MS, () => this.cut());
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        cancel();
        continue;
      }
      if (item.kind === 'end') {
        return;
      }
      if (item.kind === 'cut') {
        throw new Error('the stream was cut');
      }
      yield item.bytes;
    }
  }
}
