// A few cores on a network without manners and disks that forget what was not synced.
//
// Owns: messages under way (any of them may be delivered next, twice or never), each node's disk,
// and what must hold between the nodes (I1 to I8 of the invariants that Raft promises; paper Fig. 3).
// Time only moves when it is told to. What one core must hold by itself, it asserts.

import { expect } from 'vitest';
import {
  type Configuration,
  type CoreBugs,
  type Entry,
  type HardState,
  type Instant,
  type Message,
  NO_BUGS,
  type PersistEffect,
  type RaftConfig,
  RaftCore,
  type RaftEffect,
  type RaftEvent,
  type RaftStatus,
  type RecoveredState,
  type TermRun,
} from '../../../../src/raft/core/index.ts';

export const ET = 1_000;
export const EPOCH = 1_800_000_000_000;

export const CONFIG: RaftConfig = {
  electionTimeoutMs: ET,
  heartbeatIntervalMs: 100,
  electionRetryMsMin: 50,
  electionRetryMsMax: 250,
  refusedDelayMsMax: 50,
  appendBytesMax: 500,
  inflightAppendsMax: 2,
  inflightBytesMax: 1_000,
  uncommittedBytesMax: 20_000,
  windowBytesMax: 1_000,
  pendingReadsMax: 20,
};

/** mulberry32: small, seeded, good enough to shuffle a test. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function configurationOf(voters: readonly number[]): Configuration {
  const members = voters.map((nodeId) => ({ nodeId, birthId: `birth-${nodeId}` }));
  return { voters, outgoing: [], learners: [], learnersNext: [], members };
}

interface Disk {
  hardState: HardState;
  entries: Entry[];
  recovering: boolean;
}

export class Node {
  readonly id: number;
  readonly disk: Disk = {
    hardState: { term: 0, vote: undefined },
    entries: [],
    recovering: false,
  };
  core: RaftCore | undefined;
  bootId = 0;
  commitIndex = 0;
  writes: PersistEffect[] = [];
  readonly ready = new Map<number, number>();
  readonly failed: number[] = [];
  readonly effects: RaftEffect[] = [];
  readonly #cluster: Cluster;

  constructor(cluster: Cluster, id: number) {
    this.#cluster = cluster;
    this.id = id;
  }

  start(): void {
    this.bootId += 1;
    this.writes = [];
    this.commitIndex = 0;
    const { options } = this.#cluster;
    const random = randomOf(options.seed * 31 + this.id * 7 + this.bootId);
    this.core = new RaftCore(this.#recovered(), options.config, random, { bugs: options.bugs });
    this.step({ kind: 'timeout' });
  }

  /** The process is gone, with the writes that were under way. */
  crash(): void {
    this.core = undefined;
    this.writes = [];
  }

  get status(): RaftStatus {
    return this.#alive().status(this.#cluster.now);
  }

  step(event: RaftEvent): void {
    if (this.core === undefined) return;
    this.core.step(event, this.#cluster.now);
    this.#carryOut();
  }

  propose(size: number): boolean {
    const result = this.#alive().propose([new Uint8Array(size)], this.#cluster.now);
    this.#carryOut();
    return result.accepted;
  }

  /** Completes the oldest write. */
  persist(): void {
    const write = this.writes.shift();
    if (write === undefined) return;
    const { disk } = this;
    if (write.hardState !== undefined) disk.hardState = write.hardState;
    if (write.truncateFrom !== undefined) disk.entries.length = write.truncateFrom - 1;
    for (const entry of write.entries) {
      expect(entry.index).toBe(disk.entries.length + 1);
      disk.entries.push(entry);
    }
    if (write.recovered) disk.recovering = false;
    this.#cluster.messages.push(...write.release);
    this.step({ kind: 'persisted', writeId: write.writeId });
  }

  #alive(): RaftCore {
    if (this.core === undefined) throw new Error(`node ${this.id} is down`);
    return this.core;
  }

  #carryOut(): void {
    const core = this.#alive();
    core.invariants();
    for (const effect of core.drain()) {
      this.effects.push(effect);
      if (effect.kind === 'send') this.#cluster.messages.push(...effect.messages);
      else if (effect.kind === 'persist') this.writes.push(effect);
      else if (effect.kind === 'commit') this.#cluster.committed(this, effect.index);
      else if (effect.kind === 'readFailed') this.failed.push(...effect.readIds);
      else if (effect.kind === 'readReady') {
        for (const readId of effect.readIds) this.ready.set(readId, effect.index);
      } else if (effect.kind === 'fetch') {
        const { fetchId, from, to } = effect;
        this.#cluster.later(() => {
          const entries = this.disk.entries.slice(from - 1, to - 1);
          this.step({ kind: 'fetched', fetchId, entries });
        });
      }
    }
    this.#cluster.stepped(this);
  }

  #recovered(): RecoveredState {
    const { entries, hardState, recovering } = this.disk;
    const termRuns: TermRun[] = [];
    for (const { index, term } of entries) {
      if (termRuns.at(-1)?.term !== term) termRuns.push({ first: index, term });
    }
    return {
      nodeId: this.id,
      bootId: this.bootId,
      hardState,
      base: { index: 0, term: 0, timeMs: 0, configuration: this.#cluster.configuration },
      termRuns,
      lastIndex: entries.length,
      lastTimeMs: entries.at(-1)?.timeMs ?? 0,
      tail: entries.slice(-3),
      configurations: [],
      recovering,
      appliedIndex: 0,
    };
  }
}

export interface ClusterOptions {
  readonly nodes: number;
  readonly seed: number;
  readonly config: RaftConfig;
  readonly bugs: CoreBugs;
}

export class Cluster {
  readonly options: ClusterOptions;
  readonly configuration: Configuration;
  readonly nodes: readonly Node[];
  messages: Message[] = [];
  nowMs = 5_000;
  #tasks: (() => void)[] = [];
  /** Index → the entry that some node has committed, for ever (I3, I4). */
  readonly history = new Map<number, Entry>();
  readonly #leaders = new Map<number, number>();
  readonly #terms = new Map<number, number>();

  constructor(options: Partial<ClusterOptions> = {}) {
    this.options = { nodes: 3, seed: 1, config: CONFIG, bugs: NO_BUGS, ...options };
    const ids = Array.from({ length: this.options.nodes }, (_, position) => position + 1);
    this.configuration = configurationOf(ids);
    this.nodes = ids.map((id) => new Node(this, id));
    for (const node of this.nodes) node.start();
  }

  get now(): Instant {
    return { monotonicMs: this.nowMs, wallMs: EPOCH + this.nowMs };
  }

  get leader(): Node | undefined {
    return this.nodes
      .filter((node) => node.core !== undefined && node.status.role === 'leader')
      .sort((left, right) => right.status.term - left.status.term)[0];
  }

  node(id: number): Node {
    return this.nodes[id - 1]!;
  }

  later(task: () => void): void {
    this.#tasks.push(task);
  }

  /** Hands over one message; `again` keeps it for a second delivery. */
  deliver(position: number, again = false): void {
    const message = this.messages[position];
    if (message === undefined) return;
    if (!again) this.messages.splice(position, 1);
    this.node(message.to).step({ kind: 'receive', message });
  }

  /** Completes everything that is under way, without letting time pass. */
  settle(accept: (message: Message) => boolean = () => true): void {
    for (;;) {
      const node = this.nodes.find((candidate) => candidate.writes.length > 0);
      if (node !== undefined) node.persist();
      else if (this.messages.length > 0) {
        if (accept(this.messages[0]!)) this.deliver(0);
        else this.messages.shift();
      } else if (!this.runTask()) return;
    }
  }

  runTask(): boolean {
    const task = this.#tasks.shift();
    task?.();
    return task !== undefined;
  }

  /** Lets time pass, with every timer on the way, on a network that works. */
  run(elapsedMs: number, accept?: (message: Message) => boolean): void {
    const endMs = this.nowMs + elapsedMs;
    this.settle(accept);
    for (;;) {
      const dueMs = Math.min(...this.nodes.map((node) => node.core?.nextDeadlineMs() ?? Infinity));
      if (dueMs > endMs) break;
      this.nowMs = Math.max(this.nowMs, dueMs);
      this.fireTimers();
      this.settle(accept);
    }
    this.nowMs = endMs;
  }

  fireTimers(): void {
    for (const node of this.nodes) {
      const dueMs = node.core?.nextDeadlineMs() ?? Number.POSITIVE_INFINITY;
      if (dueMs <= this.nowMs) node.step({ kind: 'timeout' });
    }
  }

  /** Runs until a leader has committed in its own term. */
  elect(): Node {
    this.run(3 * ET);
    const { leader } = this;
    expect(leader?.status.commitIndex).toBe(leader?.status.lastIndex);
    return leader!;
  }

  // ------------------------------------------------------------------- what must hold between nodes

  stepped(node: Node): void {
    const { role, term } = node.status;
    expect(term).toBeGreaterThanOrEqual(this.#terms.get(node.id) ?? 0);
    this.#terms.set(node.id, Math.max(this.#terms.get(node.id) ?? 0, node.disk.hardState.term));
    if (role !== 'leader') return;
    const known = this.#leaders.get(term);
    if (known === node.id) return;
    // I1: at most one leader per term.
    expect(known).toBeUndefined();
    this.#leaders.set(term, node.id);
    // I3: a leader holds everything that was ever committed.
    for (const entry of this.history.values()) {
      expect(this.#termAt(node, entry.index)).toBe(entry.term);
    }
  }

  committed(node: Node, index: number): void {
    expect(index).toBeGreaterThan(node.commitIndex);
    const { role, term } = node.status;
    // I6: a leader counts entries of its own term only.
    if (role === 'leader') expect(this.#termAt(node, index)).toBe(term);
    for (let at = node.commitIndex + 1; at <= index; at += 1) {
      const entry = this.#entryAt(node, at);
      const before = this.history.get(at);
      // I4: an index is committed with one content only.
      if (before !== undefined) expect(entry).toBe(before);
      else this.history.set(at, entry);
    }
    node.commitIndex = index;
    // I5: what a leader commits lies durably on a majority.
    if (role !== 'leader') return;
    const last = this.history.get(index);
    const holders = this.nodes.filter((other) => other.disk.entries[index - 1] === last);
    expect(holders.length * 2).toBeGreaterThan(this.nodes.length);
  }

  /** I2: two logs that agree on an entry agree on everything before it. */
  checkLogs(): void {
    for (const left of this.nodes) {
      for (const right of this.nodes) {
        let agrees = false;
        const shorter = Math.min(left.disk.entries.length, right.disk.entries.length);
        for (let position = shorter - 1; position >= 0; position -= 1) {
          const one = left.disk.entries[position]!;
          const other = right.disk.entries[position]!;
          if (one.term === other.term) agrees = true;
          if (agrees) expect(one).toBe(other);
        }
      }
    }
  }

  /** The log as the core sees it: the disk, with the writes under way on top. */
  #entryAt(node: Node, index: number): Entry {
    for (const write of [...node.writes].reverse()) {
      const found = write.entries.find((entry) => entry.index === index);
      if (found !== undefined) return found;
    }
    return node.disk.entries[index - 1]!;
  }

  #termAt(node: Node, index: number): number {
    return this.#entryAt(node, index).term;
  }
}
