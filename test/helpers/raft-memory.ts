// In-memory implementations of the ports of consensus, and a cluster of real nodes on them.

import {
  type Configuration,
  decodeEntry,
  decodeMessage,
  type Entry,
  encodeEntry,
  encodeMessage,
  type HardState,
  type LogBatch,
  type LogIndex,
  type LogStorage,
  type Message,
  type NodeBug,
  type NodeId,
  type NodeLog,
  type OpenedLog,
  RaftNode,
  type RaftNodeConfig,
  type Random,
  raftNodeConfig,
  type SnapshotMeta,
  type SnapshotSource,
  type StateMachine,
  type TermRun,
  type Transport,
  type TransportReceiver,
} from '../../src/raft/index.ts';
import { ManualClock } from './manual-clock.ts';

export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0;
  }

  next(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 0x1_0000_0000;
  }
}

export const SILENT: NodeLog = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export function configurationOf(nodeIds: readonly NodeId[]): Configuration {
  return {
    voters: nodeIds,
    outgoing: [],
    learners: [],
    learnersNext: [],
    members: nodeIds.map((nodeId) => ({ nodeId, birthId: `birth-${nodeId}` })),
  };
}

/** A log that survives `crash` with exactly what was durable. */
export class MemoryLog implements LogStorage {
  readonly #clock: ManualClock;
  #hardState: HardState = { term: 0, vote: undefined };
  #base: SnapshotMeta;
  #entries: Entry[] = [];
  #bootId = 0;
  #open = 0;
  #busy = false;
  generation = 0;
  writeMs = 1;
  admission = true;
  readonly batches: LogBatch[] = [];

  constructor(clock: ManualClock, configuration: Configuration) {
    this.#clock = clock;
    this.#base = { index: 0, term: 0, timeMs: 0, configuration };
  }

  get base(): SnapshotMeta {
    return this.#base;
  }

  get lastIndex(): LogIndex {
    return this.#entries.at(-1)?.index ?? this.#base.index;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  open(nodeId: NodeId): OpenedLog {
    this.#bootId += 1;
    this.#open += 1;
    this.#busy = false;
    const termRuns: TermRun[] = [];
    for (const entry of this.#entries) {
      if (termRuns.at(-1)?.term !== entry.term) {
        termRuns.push({ first: entry.index, term: entry.term });
      }
    }
    return {
      bootId: this.#bootId,
      recovering: undefined,
      recovered: {
        nodeId,
        bootId: this.#bootId,
        hardState: this.#hardState,
        base: this.#base,
        termRuns,
        lastIndex: this.lastIndex,
        lastTimeMs: this.#entries.at(-1)?.timeMs ?? this.#base.timeMs,
        tail: this.#entries.slice(-3),
        configurations: [],
        recovering: false,
      },
    };
  }

  append(batch: LogBatch, done: () => void): void {
    if (this.#busy) throw new Error('a second append while one is in flight');
    this.#busy = true;
    this.batches.push(batch);
    const open = this.#open;
    // Through the codec, as a disk would.
    const entries = batch.entries.map((entry) => decodeEntry(encodeEntry(entry).slice()));
    this.#clock.after(this.writeMs, () => {
      if (open !== this.#open) return;
      this.#busy = false;
      this.#write(batch, entries);
      done();
    });
  }

  #write(batch: LogBatch, entries: readonly Entry[]): void {
    this.#hardState = batch.hardState ?? this.#hardState;
    const { truncateFrom } = batch;
    if (truncateFrom !== undefined) {
      if (truncateFrom <= this.#base.index) throw new Error('truncation of compacted entries');
      this.#entries = this.#entries.filter((entry) => entry.index < truncateFrom);
    }
    for (const entry of entries) {
      if (entry.index !== this.lastIndex + 1) {
        throw new Error(`entry ${entry.index} after ${this.lastIndex}`);
      }
      this.#entries.push(entry);
    }
  }

  async read(from: LogIndex, to: LogIndex, bytesMax: number): Promise<readonly Entry[]> {
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries) {
      if (entry.index < from || entry.index >= to) continue;
      bytes += encodeEntry(entry).length;
      if (found.length > 0 && bytes > bytesMax) break;
      found.push(entry);
    }
    return found[0]?.index === from ? found : [];
  }

  async compact(index: LogIndex): Promise<{ index: LogIndex; term: number }> {
    const last = this.#entries.find((entry) => entry.index === index);
    if (last !== undefined) {
      this.#base = { ...this.#base, index, term: last.term, timeMs: last.timeMs };
      this.#entries = this.#entries.filter((entry) => entry.index > index);
    }
    return { index: this.#base.index, term: this.#base.term };
  }

  async installed(meta: SnapshotMeta, generation: number): Promise<void> {
    if (this.#busy) throw new Error('an install while an append is in flight');
    const held = this.#entries.find((entry) => entry.index === meta.index);
    this.#entries =
      held?.term === meta.term ? this.#entries.filter((entry) => entry.index > meta.index) : [];
    this.#base = meta;
    this.generation = generation;
  }

  admissionOpen(): boolean {
    return this.admission;
  }
}

/** Its state is the list of commands that were applied, as text. */
export class MemoryMachine implements StateMachine {
  readonly #clock: ManualClock;
  readonly #configuration: Configuration;
  readonly #received = new Map<number, string[]>();
  #nextGeneration = 1;
  #applying = false;
  commands: string[] = [];
  position = { index: 0, term: 0, timeMs: 0 };
  applyMs = 0;
  readonly batches: (readonly Entry[])[] = [];
  readonly discarded: number[] = [];

  constructor(clock: ManualClock, configuration: Configuration) {
    this.#clock = clock;
    this.#configuration = configuration;
  }

  apply(entries: readonly Entry[], done: () => void): void {
    if (this.#applying) throw new Error('a second apply while one is under way');
    this.#applying = true;
    this.batches.push(entries);
    this.#clock.after(this.applyMs, () => {
      this.#applying = false;
      for (const entry of entries) {
        if (entry.index !== this.position.index + 1) {
          throw new Error(`entry ${entry.index} applied after ${this.position.index}`);
        }
        this.position = { index: entry.index, term: entry.term, timeMs: entry.timeMs };
        if (entry.kind === 'commands') {
          for (const command of entry.commands) this.commands.push(text(command));
        }
      }
      done();
    });
  }

  async snapshot(): Promise<SnapshotSource> {
    const { commands } = this;
    const image = Buffer.from(JSON.stringify(commands));
    return {
      meta: { ...this.position, configuration: this.#configuration },
      chunks: async function* chunks() {
        for (let at = 0; at < image.length; at += 16) yield image.subarray(at, at + 16);
      },
      close: async () => undefined,
    };
  }

  async receive(_meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const generation = this.#nextGeneration++;
    this.#received.set(generation, JSON.parse(Buffer.concat(parts).toString()) as string[]);
    return generation;
  }

  async discard(generation: number): Promise<void> {
    this.discarded.push(generation);
    this.#received.delete(generation);
  }

  async install(meta: SnapshotMeta, generation: number): Promise<void> {
    if (this.#applying) throw new Error('an install while an apply is under way');
    const commands = this.#received.get(generation);
    if (commands === undefined) throw new Error(`no generation ${generation}`);
    this.commands = commands;
    this.position = { index: meta.index, term: meta.term, timeMs: meta.timeMs };
  }
}

/** Messages take `latencyMs`; a pair of nodes may be cut off from each other. */
export class MemoryNetwork {
  readonly #clock: ManualClock;
  readonly #receivers = new Map<NodeId, TransportReceiver>();
  readonly #cut = new Set<string>();
  latencyMs = 1;
  readonly sent: Message[] = [];
  snapshotCount = 0;
  /** Snapshots start to stream when this resolves. */
  snapshotGate: Promise<void> = Promise.resolve();

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  transport(nodeId: NodeId): Transport {
    return {
      start: (receiver) => {
        this.#receivers.set(nodeId, receiver);
      },
      send: (messages) => {
        for (const message of messages) this.#send(message);
      },
      sendSnapshot: async (to, source) => {
        const receiver = this.#reach(nodeId, to);
        if (receiver === undefined) throw new Error('unreachable');
        this.snapshotCount += 1;
        await this.snapshotGate;
        await receiver.snapshot(nodeId, source.meta, source.chunks());
      },
    };
  }

  remove(nodeId: NodeId): void {
    this.#receivers.delete(nodeId);
  }

  isolate(nodeId: NodeId, others: readonly NodeId[]): void {
    for (const other of others) {
      this.#cut.add(`${nodeId}-${other}`);
      this.#cut.add(`${other}-${nodeId}`);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  #reach(from: NodeId, to: NodeId): TransportReceiver | undefined {
    return this.#cut.has(`${from}-${to}`) ? undefined : this.#receivers.get(to);
  }

  #send(message: Message): void {
    this.sent.push(message);
    const bytes = encodeMessage(message).slice();
    this.#clock.after(this.latencyMs, () => {
      const receiver = this.#reach(message.from, message.to);
      if (receiver !== undefined) receiver.message(decodeMessage(bytes));
      else this.#receivers.get(message.from)?.unreachable(message.to);
    });
  }
}

export function bytesOf(command: string): Uint8Array {
  return new TextEncoder().encode(command);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export interface MemoryNode {
  readonly nodeId: NodeId;
  readonly log: MemoryLog;
  machine: MemoryMachine;
  node: RaftNode;
}

const RAFT_CONFIG = {
  electionTimeoutMs: 1000,
  heartbeatIntervalMs: 100,
  electionRetryMsMin: 50,
  electionRetryMsMax: 250,
  refusedDelayMsMax: 50,
  appendBytesMax: 64 * 1024,
  inflightAppendsMax: 2,
  inflightBytesMax: 256 * 1024,
  uncommittedBytesMax: 1024 * 1024,
  windowBytesMax: 4096,
  pendingReadsMax: 1000,
};

/** Real nodes on memory ports. A fatal error of any node fails the test that advances the clock. */
export class MemoryCluster {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork(this.clock);
  readonly nodes = new Map<NodeId, MemoryNode>();
  readonly fatals: Error[] = [];
  readonly #configuration: Configuration;
  readonly #config: RaftNodeConfig;
  readonly #bugs: ReadonlySet<NodeBug>;
  #seed: number;

  constructor(
    nodeIds: readonly NodeId[],
    options: {
      readonly seed?: number;
      readonly config?: Partial<RaftNodeConfig>;
      readonly bugs?: ReadonlySet<NodeBug>;
    } = {},
  ) {
    this.#configuration = configurationOf(nodeIds);
    this.#config = raftNodeConfig({ ...RAFT_CONFIG, ...options.config }, options.config);
    this.#bugs = options.bugs ?? new Set();
    this.#seed = options.seed ?? 1;
    for (const nodeId of nodeIds) {
      const log = new MemoryLog(this.clock, this.#configuration);
      this.#start(nodeId, log);
    }
  }

  get(nodeId: NodeId): MemoryNode {
    const found = this.nodes.get(nodeId);
    if (found === undefined) throw new Error(`node ${nodeId} is not running`);
    return found;
  }

  leader(): MemoryNode | undefined {
    const leaders = [...this.nodes.values()].filter(({ node }) => node.leadership().isLeader);
    return leaders.sort((a, b) => b.node.leadership().term - a.node.leadership().term)[0];
  }

  async elect(): Promise<MemoryNode> {
    await this.clock.until(() => this.leader() !== undefined);
    return this.leader() as MemoryNode;
  }

  async propose(
    command: string,
    at: MemoryNode | undefined = this.leader(),
  ): Promise<{ readonly accepted: boolean }> {
    if (at === undefined) throw new Error('no leader');
    const result = new Promise<{ accepted: boolean }>((resolve) => {
      at.node.propose(bytesOf(command), 'admission', resolve);
    });
    let settled = false;
    void result.then(() => {
      settled = true;
    });
    await this.clock.until(() => settled);
    return result;
  }

  /** Everything in memory of this node is gone; writes in flight are lost. */
  crash(nodeId: NodeId): MemoryNode {
    const member = this.get(nodeId);
    this.network.remove(nodeId);
    this.nodes.delete(nodeId);
    void member.node.stop();
    member.log.open(nodeId);
    return member;
  }

  /** Starts on what was durable. The machine is volatile: it starts from the log's base. */
  restart(crashed: MemoryNode): MemoryNode {
    return this.#start(crashed.nodeId, crashed.log);
  }

  #start(nodeId: NodeId, log: MemoryLog): MemoryNode {
    const machine = new MemoryMachine(this.clock, this.#configuration);
    machine.position = { index: log.base.index, term: log.base.term, timeMs: log.base.timeMs };
    const member: MemoryNode = {
      nodeId,
      log,
      machine,
      node: new RaftNode({
        opened: log.open(nodeId),
        appliedIndex: log.base.index,
        log,
        machine,
        transport: this.network.transport(nodeId),
        clock: this.clock,
        random: new SeededRandom(this.#seed++),
        fatal: (error) => this.fatals.push(error),
        logger: SILENT,
        config: this.#config,
        bugs: this.#bugs,
      }),
    };
    this.nodes.set(nodeId, member);
    member.node.start();
    return member;
  }
}
