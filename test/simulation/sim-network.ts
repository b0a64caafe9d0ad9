// The network between simulated nodes, as TCP connections show it to a transport.
//
// Owns: latency, connection breaks, partitions and what each end is told of them. Within a lane of
// one connection messages stay in order; a break loses what is in flight, or lets some of it arrive
// late and out of order with the next connection (data still in an old socket's buffer), or twice.
// A dead process on a living host refuses connections; a dead host or a cut link is only silence,
// reported as unreachable after a time-out.
//
// Sources: docs/architecture.md §Consensus ("refused"); TigerBeetle's packet
// simulator for the ranges.

import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';
import type { VirtualTime } from './virtual-time.ts';

export type Lane = 'control' | 'append' | 'snapshot' | 'forward';

export interface NetworkOptions {
  readonly latencyMinMs: number;
  readonly latencyMeanMs: number;
  /** Probability, per message, that its connection breaks. */
  readonly breakProbability: number;
  /** Probability, per message, that it is dropped without a word. */
  readonly lossProbability: number;
  /** Of the messages in flight at a break: how many arrive late instead of never. */
  readonly lateProbability: number;
  /** Probability, per message, that a connection stalls for up to `stallMaxMs`. */
  readonly stallProbability: number;
  readonly stallMaxMs: number;
}

export interface NetworkEndpoint {
  unreachable(peer: number): void;
  refused(peer: number): void;
}

interface Connection {
  generation: number;
  lastArrivalMs: number;
}

interface Host {
  readonly process: SimProcess;
  readonly endpoint: NetworkEndpoint;
  /** False after a power cut: nothing answers, not even with a refusal. */
  up: boolean;
}

const SILENCE_TIMEOUT_MS = 700;
const REPORT_PERIOD_MS = 60;

export class SimNetwork {
  readonly #time: VirtualTime;
  readonly #random: Prng;
  readonly #options: NetworkOptions;
  readonly #hosts = new Map<number, Host>();
  readonly #connections = new Map<string, Connection>();
  readonly #cut = new Set<string>();
  readonly #reportedAtMs = new Map<string, number>();
  /** Faults can be switched off for the liveness phase. */
  faulty = true;

  constructor(time: VirtualTime, random: Prng, options: NetworkOptions) {
    this.#time = time;
    this.#random = random;
    this.#options = options;
  }

  attach(process: SimProcess, endpoint: NetworkEndpoint): void {
    this.#hosts.set(process.nodeId, { process, endpoint, up: true });
  }

  /** Nothing from `from` reaches `to` until the link is mended. */
  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`);
  }

  mend(from: number, to: number): void {
    this.#cut.delete(`${from}>${to}`);
  }

  mendAll(): void {
    this.#cut.clear();
  }

  get cutLinks(): readonly string[] {
    return [...this.#cut];
  }

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  /** True when a connection attempt is answered with a refusal: nothing can have been sent. */
  wouldRefuse(from: number, to: number): boolean {
    const target = this.#hosts.get(to);
    return (
      target?.up === true && !target.process.alive && !this.isCut(from, to) && !this.isCut(to, from)
    );
  }

  /** Sends one message; `deliver` runs inside the receiving process, at most twice. */
  send(from: number, to: number, lane: Lane, deliver: () => void): void {
    const target = this.#hosts.get(to);
    const sender = this.#hosts.get(from);
    if (target === undefined || sender === undefined) {
      return;
    }
    if (!target.up || this.isCut(from, to)) {
      this.#reportLater(from, to, 'unreachable', SILENCE_TIMEOUT_MS);
      return;
    }
    if (!target.process.alive) {
      if (this.isCut(to, from)) {
        this.#reportLater(from, to, 'unreachable', SILENCE_TIMEOUT_MS);
      } else {
        this.#reportLater(from, to, 'refused', this.latencyMs());
      }
      return;
    }
    this.#transmit(sender, target, lane, deliver);
  }

  #transmit(sender: Host, target: Host, lane: Lane, deliver: () => void): void {
    const from = sender.process.nodeId;
    const to = target.process.nodeId;
    if (this.faulty) {
      if (this.#random.chance(this.#options.lossProbability)) {
        return;
      }
      if (this.#random.chance(this.#options.breakProbability)) {
        this.breakConnections(from, to);
      }
    }
    const connection = this.#connection(from, to, lane);
    let delayMs = this.latencyMs();
    if (this.faulty && this.#random.chance(this.#options.stallProbability)) {
      delayMs += this.#random.between(0, this.#options.stallMaxMs);
    }
    const arrivalMs = Math.max(connection.lastArrivalMs, this.#time.nowMs + delayMs);
    connection.lastArrivalMs = arrivalMs;
    const generation = connection.generation;
    const life = target.process.life;
    this.#time.after(arrivalMs - this.#time.nowMs, () => {
      if (life !== target.process.life || this.isCut(from, to)) {
        return;
      }
      if (generation === connection.generation) {
        target.process.enter(life, deliver);
        return;
      }
      if (this.#random.chance(this.#options.lateProbability)) {
        const copies = this.#random.chance(0.3) ? 2 : 1;
        for (let i = 0; i < copies; i++) {
          this.#time.after(this.#lateMs(), () => target.process.enter(life, deliver));
        }
      }
    });
  }

  /** How late data of a broken connection is read: mostly at once, sometimes terms later. */
  #lateMs(): number {
    return this.#random.chance(0.3)
      ? this.#random.between(100, 4_000)
      : this.#random.exponential(this.#options.latencyMeanMs * 5);
  }

  latencyMs(): number {
    const { latencyMinMs, latencyMeanMs } = this.#options;
    return latencyMinMs + this.#random.exponential(latencyMeanMs - latencyMinMs);
  }

  /** Both directions break; each end hears of it. */
  breakConnections(a: number, b: number): void {
    for (const key of [`${a}>${b}`, `${b}>${a}`]) {
      for (const lane of ['control', 'append', 'snapshot', 'forward']) {
        const connection = this.#connections.get(`${key}/${lane}`);
        if (connection !== undefined) {
          connection.generation++;
          connection.lastArrivalMs = 0;
        }
      }
    }
    this.#reportLater(a, b, 'unreachable', 0);
    this.#reportLater(b, a, 'unreachable', this.latencyMs());
  }

  /** How long a stream survives: true while its connection is the one it started on. */
  connectionToken(from: number, to: number): () => boolean {
    const connection = this.#connection(from, to, 'snapshot');
    const generation = connection.generation;
    const target = this.#hosts.get(to);
    const life = target?.process.life;
    return () =>
      generation === connection.generation &&
      target !== undefined &&
      target.process.alive &&
      target.process.life === life &&
      !this.isCut(from, to) &&
      !this.isCut(to, from);
  }

  /** The process died; its kernel closes the connections and refuses new ones. */
  processDown(nodeId: number): void {
    for (const peer of this.#hosts.keys()) {
      if (peer !== nodeId) {
        this.#bumpGenerations(nodeId, peer);
        if (!this.isCut(nodeId, peer) && !this.isCut(peer, nodeId)) {
          this.#reportLater(peer, nodeId, 'unreachable', this.latencyMs());
          this.#reportLater(peer, nodeId, 'refused', 2 * this.latencyMs() + 1);
        }
      }
    }
  }

  /** The machine lost power: silence. */
  hostDown(nodeId: number): void {
    const host = this.#hosts.get(nodeId);
    if (host !== undefined) {
      host.up = false;
    }
    for (const peer of this.#hosts.keys()) {
      if (peer !== nodeId) {
        this.#bumpGenerations(nodeId, peer);
      }
    }
  }

  hostUp(nodeId: number): void {
    const host = this.#hosts.get(nodeId);
    if (host !== undefined) {
      host.up = true;
    }
  }

  #bumpGenerations(a: number, b: number): void {
    for (const key of [`${a}>${b}`, `${b}>${a}`]) {
      for (const lane of ['control', 'append', 'snapshot', 'forward']) {
        const connection = this.#connections.get(`${key}/${lane}`);
        if (connection !== undefined) {
          connection.generation++;
          connection.lastArrivalMs = 0;
        }
      }
    }
  }

  #connection(from: number, to: number, lane: Lane): Connection {
    const key = `${from}>${to}/${lane}`;
    let connection = this.#connections.get(key);
    if (connection === undefined) {
      connection = { generation: 0, lastArrivalMs: 0 };
      this.#connections.set(key, connection);
    }
    return connection;
  }

  /** At most one report of a kind per peer and period: what a transport's own back-off yields. */
  #reportLater(to: number, about: number, kind: 'unreachable' | 'refused', delayMs: number): void {
    const host = this.#hosts.get(to);
    if (host === undefined) {
      return;
    }
    const key = `${to}:${about}:${kind}`;
    const atMs = this.#time.nowMs + delayMs;
    const last = this.#reportedAtMs.get(key);
    if (last !== undefined && atMs < last + REPORT_PERIOD_MS) {
      return;
    }
    this.#reportedAtMs.set(key, atMs);
    const life = host.process.life;
    const aboutLife = this.#hosts.get(about)?.process.life;
    this.#time.after(delayMs, () => {
      const other = this.#hosts.get(about);
      // A refusal is only true while nobody listens.
      if (kind === 'refused' && (other?.process.alive || other?.process.life !== aboutLife)) {
        return;
      }
      host.process.enter(life, () => {
        if (kind === 'refused') {
          host.endpoint.refused(about);
        } else {
          host.endpoint.unreachable(about);
        }
      });
    });
  }
}
