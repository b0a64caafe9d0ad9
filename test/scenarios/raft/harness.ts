// A cluster of consensus cores held by hand: every delivery, every fsync and every tick happens when
// a scenario says so, so that a scenario reads like the figure of the paper that it stands for.
//
// Owns: the undelivered messages, each node's disk and unfinished writes, and the time. By default
// writes and applies complete at once; `manualDisk` makes a node's writes wait for `persist()`.
// Node n's random number is fixed (0 for node 1, rising), so node 1 times out first.

import {
  type Configuration,
  type Entry,
  type Instant,
  type Message,
  type PersistEffect,
  type ProposeResult,
  type RaftConfig,
  RaftCore,
  type RaftEffect,
  type RaftEvent,
  type RaftStatus,
  type SnapshotMeta,
} from '../../../src/raft/core/index.ts';
import { RaftDisk } from '../../simulation/raft-disk.ts';
import { applyEntry, EMPTY_MACHINE, type MachineState } from '../../simulation/raft-machine.ts';

export const ET = 1_000;
export const HEARTBEAT = 125;
export const EPOCH = 1_800_000_000_000;

export const CONFIG: RaftConfig = {
  electionTimeoutMs: ET,
  heartbeatIntervalMs: HEARTBEAT,
  electionRetryMsMin: 50,
  electionRetryMsMax: 250,
  refusedDelayMsMax: 50,
  appendBytesMax: 1_000_000,
  inflightAppendsMax: 2,
  inflightBytesMax: 8_000_000,
  uncommittedBytesMax: 64_000_000,
  windowBytesMax: 32_000_000,
  pendingReadsMax: 1_000,
};

export interface ScenarioOptions {
  readonly nodes: number;
  readonly learners?: number;
  readonly config?: Partial<RaftConfig>;
  /** Terms of the entries each node starts with; node 1 first. */
  readonly logs?: readonly (readonly number[])[];
  /** Terms of the nodes at the start; by default that of the last entry. */
  readonly terms?: readonly number[];
  readonly random?: (nodeId: number) => () => number;
}

export type MessageKind = Message['kind'];
export type MessageFilter = Partial<Pick<Message, 'kind' | 'from' | 'to'>>;
export type MessageOf<K extends MessageKind> = Extract<Message, { kind: K }>;

const text = new TextEncoder();

/** Entries with these terms, one after the other from index 1; same terms, same entries. */
export function entriesOf(terms: readonly number[]): Entry[] {
  return terms.map((term, i) => entry(i + 1, term));
}

export function entry(index: number, term: number, command = `${index}@${term}`): Entry {
  return { kind: 'commands', index, term, timeMs: EPOCH, commands: [text.encode(command)] };
}

export class ScenarioNode {
  readonly id: number;
  readonly disk: RaftDisk;
  core!: RaftCore;
  /** Completes writes only at `persist()`. */
  manualDisk = false;
  /** Confirms applies only at `apply()`. */
  manualApply = false;
  /** Leaves `installSnapshot` to `install()`. */
  manualInstall = false;
  alive = true;
  writes: PersistEffect[] = [];
  commitIndex = 0;
  machine: MachineState = EMPTY_MACHINE;
  log: Entry[] = [];
  base: SnapshotMeta;
  readonly reads = new Map<number, number | 'failed'>();
  readonly roles: string[] = [];
  readonly snapshotsAsked: number[] = [];
  readonly transfers: boolean[] = [];
  fetches: { fetchId: number; from: number; to: number; bytesMax: number }[] = [];
  manualFetch = false;
  installs: SnapshotMeta[] = [];
  discarded: SnapshotMeta[] = [];
  received = new Map<SnapshotMeta, MachineState>();
  readonly #cluster: ScenarioCluster;
  readonly #random: () => number;
  #nextRead = 1;
  #busy = false;

  constructor(cluster: ScenarioCluster, id: number, disk: RaftDisk, random: () => number) {
    this.#cluster = cluster;
    this.id = id;
    this.disk = disk;
    this.#random = random;
    this.base = disk.base;
    this.start();
  }

  start(): void {
    this.alive = true;
    this.disk.bootId++;
    this.base = this.disk.base;
    this.log = [...this.disk.entries];
    this.machine = this.disk.flushed;
    this.commitIndex = this.machine.appliedIndex;
    this.writes = [];
    this.fetches = [];
    this.installs = [];
    this.reads.clear();
    this.core = new RaftCore(
      this.disk.recovered(this.id, this.log.length),
      this.#cluster.config,
      this.#random,
    );
    this.step({ kind: 'timeout' });
  }

  /** The process is gone; writes not completed are lost. */
  crash(): void {
    this.alive = false;
    this.writes = [];
    this.#cluster.drop({ from: this.id });
    this.#cluster.drop({ to: this.id });
  }

  restart(): void {
    if (this.alive) {
      this.crash();
    }
    this.start();
  }

  get now(): Instant {
    return { monotonicMs: this.#cluster.nowMs, wallMs: EPOCH + this.#cluster.nowMs };
  }

  get status(): RaftStatus {
    return this.core.status(this.now);
  }

  get role(): string {
    return this.status.role;
  }

  get term(): number {
    return this.status.term;
  }

  /** Terms of the log, oldest first; what a snapshot holds is left out. */
  get logTerms(): number[] {
    return this.log.map((e) => e.term);
  }

  /** Commands applied so far, oldest first. */
  get commands(): string[] {
    const result: string[] = [];
    for (let at = this.machine.commands; at !== undefined; at = at.rest) {
      result.unshift(at.id);
    }
    return result;
  }

  peer(id: number): RaftStatus['peers'][number] {
    const found = this.status.peers.find((peer) => peer.nodeId === id);
    if (found === undefined) {
      throw new Error(`n${this.id} tracks no peer n${id}`);
    }
    return found;
  }

  step(event: RaftEvent): void {
    if (!this.alive) {
      return;
    }
    this.core.step(event, this.now);
    this.#carryOut();
  }

  receive(message: Message): void {
    this.step({ kind: 'receive', message });
  }

  propose(command: string): ProposeResult {
    const result = this.core.propose([text.encode(command)], this.now);
    this.#carryOut();
    return result;
  }

  proposeBytes(size: number): ProposeResult {
    const result = this.core.propose([new Uint8Array(size)], this.now);
    this.#carryOut();
    return result;
  }

  read(): number {
    const readId = this.#nextRead++;
    this.step({ kind: 'readIndex', readId });
    return readId;
  }

  transferTo(to: number | undefined): void {
    this.step({ kind: 'transferLeadership', to });
  }

  /** Completes the first `count` writes under way. */
  persist(count = this.writes.length): void {
    for (let i = 0; i < count; i++) {
      const write = this.writes.shift();
      if (write === undefined) {
        return;
      }
      this.disk.write(write);
      this.#cluster.post(write.release);
      this.step({ kind: 'persisted', writeId: write.writeId });
    }
  }

  apply(): void {
    while (this.machine.appliedIndex < this.commitIndex) {
      const next = this.log[this.machine.appliedIndex - this.base.index];
      if (next === undefined) {
        throw new Error(`n${this.id}: committed ${this.machine.appliedIndex + 1} is missing`);
      }
      this.machine = applyEntry(this.machine, next);
    }
    this.step({ kind: 'applied', index: this.machine.appliedIndex });
  }

  /** Gives up the log up to `index`, as after a flush of the state at or above it. */
  compact(index: number): void {
    this.disk.flushed = this.machine;
    this.disk.compact(index, this.base.configuration);
    this.log = this.log.slice(index - this.base.index);
    this.base = this.disk.base;
    this.step({ kind: 'compacted', index, term: this.base.term });
  }

  snapshotMeta(): SnapshotMeta {
    return {
      index: this.machine.appliedIndex,
      term: this.machine.appliedTerm,
      timeMs: this.machine.appliedTimeMs,
      configuration: this.base.configuration,
    };
  }

  /** A whole, verified stream has arrived. */
  receiveSnapshot(from: number, meta: SnapshotMeta, machine: MachineState): void {
    this.received.set(meta, machine);
    this.step({ kind: 'snapshotReceived', from, meta });
  }

  install(): void {
    const meta = this.installs.shift();
    const machine = meta === undefined ? undefined : this.received.get(meta);
    if (meta === undefined || machine === undefined) {
      throw new Error(`n${this.id} has nothing to install`);
    }
    this.persist();
    const keeps = this.#termAt(meta.index) === meta.term;
    this.log = keeps ? this.log.slice(meta.index - this.base.index) : [];
    this.base = meta;
    this.disk.install(meta);
    this.disk.flushed = machine;
    this.machine = machine;
    this.commitIndex = Math.max(this.commitIndex, meta.index);
    this.step({ kind: 'snapshotInstalled', meta });
  }

  answerFetch(): void {
    for (const fetch of this.fetches.splice(0)) {
      const entries = this.disk.entries.filter((e) => e.index >= fetch.from && e.index < fetch.to);
      this.step({ kind: 'fetched', fetchId: fetch.fetchId, entries });
    }
  }

  #termAt(index: number): number | undefined {
    return index === this.base.index ? this.base.term : this.log[index - this.base.index - 1]?.term;
  }

  /** Carries effects out in their order; what completes at once completes after all of them. */
  #carryOut(): void {
    if (this.#busy) {
      return;
    }
    this.#busy = true;
    try {
      do {
        this.core.invariants();
        for (const effect of this.core.drain()) {
          this.#one(effect);
        }
      } while (this.#completeOne());
    } finally {
      this.#busy = false;
    }
  }

  /** True: something completed at once, and there may be new effects. */
  #completeOne(): boolean {
    if (!this.manualApply && this.machine.appliedIndex < this.commitIndex) {
      this.apply();
    } else if (!this.manualDisk && this.writes.length > 0) {
      this.persist(1);
    } else if (!this.manualFetch && this.fetches.length > 0) {
      this.answerFetch();
    } else if (!this.manualInstall && this.installs.length > 0) {
      this.install();
    } else {
      return false;
    }
    return true;
  }

  #one(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'persist':
        if (effect.truncateFrom !== undefined) {
          this.log.length = effect.truncateFrom - this.base.index - 1;
        }
        this.log.push(...effect.entries);
        this.writes.push(effect);
        return;
      case 'send':
        this.#cluster.post(effect.messages);
        return;
      case 'commit':
        this.commitIndex = effect.index;
        return;
      case 'fetch':
        this.fetches.push(effect);
        return;
      case 'sendSnapshot':
        this.snapshotsAsked.push(effect.to);
        return;
      case 'installSnapshot':
        this.installs.push(effect.meta);
        return;
      case 'discardSnapshot':
        this.discarded.push(effect.meta);
        return;
      case 'readReady':
        for (const id of effect.readIds) {
          this.reads.set(id, effect.index);
        }
        return;
      case 'readFailed':
        for (const id of effect.readIds) {
          this.reads.set(id, 'failed');
        }
        return;
      case 'role':
        this.roles.push(effect.role);
        return;
      case 'transferEnded':
        this.transfers.push(effect.ok);
        return;
      default:
        effect satisfies never;
    }
  }
}

export class ScenarioCluster {
  readonly config: RaftConfig;
  readonly nodes: ScenarioNode[] = [];
  /** Monotonic milliseconds, the same on every node. */
  nowMs = 10_000;
  /** Sent and neither delivered nor dropped, oldest first. */
  pending: Message[] = [];
  /** Everything ever sent, for assertions. */
  readonly sent: Message[] = [];
  readonly #cuts = new Set<string>();
  readonly configuration: Configuration;

  constructor(options: ScenarioOptions) {
    this.config = { ...CONFIG, ...options.config };
    const count = options.nodes + (options.learners ?? 0);
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    this.configuration = {
      voters: ids.slice(0, options.nodes),
      outgoing: [],
      learners: ids.slice(options.nodes),
      learnersNext: [],
      members: ids.map((nodeId) => ({ nodeId, birthId: `birth${nodeId}` })),
    };
    const random = options.random ?? ((id: number) => () => ((id - 1) * 0.2) % 1);
    for (const id of ids) {
      const disk = new RaftDisk(this.configuration, EMPTY_MACHINE);
      const terms = options.logs?.[id - 1] ?? [];
      disk.entries = entriesOf(terms);
      disk.hardState = { term: options.terms?.[id - 1] ?? terms.at(-1) ?? 0, vote: undefined };
      this.nodes.push(new ScenarioNode(this, id, disk, random(id)));
    }
  }

  node(id: number): ScenarioNode {
    const node = this.nodes[id - 1];
    if (node === undefined) {
      throw new Error(`no node ${id}`);
    }
    return node;
  }

  get leader(): ScenarioNode | undefined {
    return this.nodes
      .filter((node) => node.alive && node.role === 'leader')
      .sort((a, b) => b.term - a.term)[0];
  }

  post(messages: readonly Message[]): void {
    this.sent.push(...messages);
    this.pending.push(...messages);
  }

  // -------------------------------------------------------------------------------- messages

  /** Delivers what matches now, once each; replies stay pending. Returns how many. */
  deliver(filter: MessageFilter = {}): number {
    const due = this.take(filter);
    for (const message of due) {
      this.#hand(message);
    }
    return due.length;
  }

  /** Delivers what matches, and the answers that match, until nothing is left. */
  settle(filter: MessageFilter = {}): void {
    for (let round = 0; this.deliver(filter) > 0; round++) {
      if (round > 10_000) {
        throw new Error('the cluster does not settle');
      }
    }
  }

  /** Removes what matches and returns it, undelivered. */
  take<K extends MessageKind = MessageKind>(
    filter: MessageFilter & { readonly kind?: K } = {},
  ): MessageOf<K>[] {
    const taken = this.pending.filter((message) => matches(message, filter));
    this.pending = this.pending.filter((message) => !matches(message, filter));
    return taken as MessageOf<K>[];
  }

  drop(filter: MessageFilter = {}): number {
    return this.take(filter).length;
  }

  sentOf<K extends MessageKind>(kind: K, filter: MessageFilter = {}): MessageOf<K>[] {
    return this.sent.filter((m) => m.kind === kind && matches(m, filter)) as MessageOf<K>[];
  }

  cut(from: number, to: number): void {
    this.#cuts.add(`${from}>${to}`);
  }

  isolate(id: number): void {
    for (const node of this.nodes) {
      if (node.id !== id) {
        this.cut(id, node.id);
        this.cut(node.id, id);
      }
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  // ------------------------------------------------------------------------------------ time

  /** Time passes on every node; messages are delivered at once unless `deliver` is false. */
  advance(ms: number, deliver = true): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      if (deliver) {
        this.settle();
      }
      const deadlines = this.nodes.filter((n) => n.alive).map((n) => n.core.nextDeadlineMs());
      const next = Math.max(this.nowMs, Math.min(...deadlines));
      if (next > untilMs) {
        this.nowMs = untilMs;
        return;
      }
      this.nowMs = next;
      for (const node of this.nodes) {
        if (node.alive && node.core.nextDeadlineMs() <= next) {
          node.step({ kind: 'timeout' });
        }
      }
    }
  }

  /** Time passes, but only `id` has its timers run: everyone else is slow to notice. */
  advanceOnly(id: number, ms: number): void {
    const node = this.node(id);
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = Math.max(this.nowMs, node.core.nextDeadlineMs());
      if (next > untilMs) {
        this.nowMs = untilMs;
        return;
      }
      this.nowMs = next;
      node.step({ kind: 'timeout' });
    }
  }

  /** Makes `id` the leader: the others have heard nobody, and everything is delivered. */
  elect(id: number): ScenarioNode {
    const node = this.node(id);
    for (let attempt = 0; attempt < 20 && node.role !== 'leader'; attempt++) {
      this.nowMs += ET * 1.3;
      node.step({ kind: 'timeout' });
      this.settle();
    }
    if (node.role !== 'leader') {
      throw new Error(`n${id} was not elected: ${JSON.stringify(node.status)}`);
    }
    return node;
  }

  /** Time in steps of a heartbeat with everything delivered, until `done`. */
  advanceUntil(done: () => boolean, limitMs = 20 * ET): void {
    const untilMs = this.nowMs + limitMs;
    while (!done()) {
      if (this.nowMs > untilMs) {
        throw new Error(`nothing came of ${limitMs} ms`);
      }
      this.advance(25);
    }
  }

  #hand(message: Message): void {
    const target = this.node(message.to);
    if (target.alive && !this.#cuts.has(`${message.from}>${message.to}`)) {
      target.receive(message);
    }
  }
}

function matches(message: Message, filter: MessageFilter): boolean {
  return (
    (filter.kind === undefined || message.kind === filter.kind) &&
    (filter.from === undefined || message.from === filter.from) &&
    (filter.to === undefined || message.to === filter.to)
  );
}
