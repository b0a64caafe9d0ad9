// One machine of the whole-replica simulation: its process, its disks, and the real replica in it.
//
// Owns: starting (with back-off after a failure that asks for a restart), dying, and telling a
// failure that was injected from one that is a bug. The replica and everything below it is the
// code that ships; only its ports are simulated.

import {
  type AppliedEntry,
  DEFAULT_SCHEDULER_CONFIG,
  DEFAULT_STORE_CONFIG,
  type Files,
  formatDirectory,
  type Identity,
  LocalReplica,
  type ReplicaConfig,
  type ReplicaPorts,
} from '../../src/engine/index.ts';
import { type NodeLog, raftNodeConfig } from '../../src/raft/index.ts';
import { MemoryKvDisk } from '../helpers/memory-kv.ts';
import type { ReplicaOptions } from './options.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';
import { SimFiles } from './sim-files.ts';
import type { SimNetwork } from './sim-network.ts';
import type { Participants } from './sim-participants.ts';
import { SimTransport, type TransportWorld } from './sim-transport.ts';
import type { Trace } from './trace.ts';
import { InvariantViolated } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

const DIRECTORY = '/data';

export interface ReplicaWorld {
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  readonly transport: TransportWorld;
  readonly trace: Trace;
  readonly participants: Participants;
  readonly options: ReplicaOptions;
  readonly bugs: ReadonlySet<string>;
  applied(host: ReplicaHost, entry: AppliedEntry): void;
  opened(host: ReplicaHost): void;
  fail(error: Error): void;
}

/** What opening says of a state that the log does not continue. */
const REBUILD_MESSAGE = 'the state must be rebuilt';

/** Codes of failures that the world injects, or that ask for a restart. */
const RESTART_CODES: ReadonlySet<unknown> = new Set(['EIO', 'ENOSPC', 'REBUILD']);

export class ReplicaHost {
  readonly process: SimProcess;
  readonly files: SimFiles;
  readonly kv: MemoryKvDisk;
  replica: LocalReplica | undefined;
  transport: SimTransport | undefined;
  /** Something was done to its disk for which its state may have to be rebuilt. */
  isHarmed = false;
  readonly #world: ReplicaWorld;
  readonly #random: Prng;
  readonly #identity: Identity;

  constructor(world: ReplicaWorld, process: SimProcess, random: Prng, identity: Identity) {
    this.#world = world;
    this.process = process;
    this.#random = random;
    this.#identity = identity;
    this.files = new SimFiles(
      process,
      random.split('files'),
      world.options.disk,
      () => world.network.faulty,
    );
    const kvRandom = random.split('kv');
    this.kv = new MemoryKvDisk({
      random: kvRandom,
      complete: (run) => {
        process.afterTrue(kvRandom.exponential(world.options.kvMeanMs), run);
      },
    });
  }

  get nodeId(): number {
    return this.process.nodeId;
  }

  /** Formats the data directory, once, before the world's first fault. */
  async format(): Promise<void> {
    await formatDirectory(this.files.disk, DIRECTORY, this.#identity, {
      segmentBytes: this.#world.options.segmentBytes,
    });
  }

  start(): void {
    this.process.start();
    this.#world.network.hostUp(this.nodeId);
    this.#trace('start', '');
    const { life } = this.process;
    LocalReplica.open(this.#ports(), this.#config(), this.#world.bugs)
      .then((replica) => {
        if (this.process.alive && this.process.life === life) {
          this.replica = replica;
          this.#trace('open', `boot=${replica.bootId} applied=${replica.store.appliedIndex}`);
          this.#world.opened(this);
          replica.start();
        }
      })
      .catch((error: unknown) => this.#fatal(life, error, {}));
  }

  kill(powerCut: boolean): void {
    if (!this.process.alive) {
      return;
    }
    this.#trace(powerCut ? 'power cut' : 'kill', '');
    this.process.kill();
    this.replica = undefined;
    this.transport = undefined;
    if (powerCut) {
      this.files.powerCut();
      this.kv.crash();
      this.#world.network.hostDown(this.nodeId);
    } else {
      this.files.killed();
      this.kv.kill();
      this.#world.network.processDown(this.nodeId);
    }
  }

  restartAfter(delayMs: number): void {
    const { life } = this.process;
    this.#world.time.after(delayMs, () => {
      if (!this.process.alive && this.process.life === life) {
        this.start();
      }
    });
  }

  /**
   * Dies, and its disk keeps a fault to itself: a flipped bit or an unreadable sector in the log, a
   * flipped bit in a value of the state, or synced batches of the state that LevelDB does not bring
   * back. False: nothing was there to harm.
   */
  killHarmed(powerCut: boolean): boolean {
    const state = this.kv.paths().findLast((path) => path.startsWith(DIRECTORY));
    const fault =
      state === undefined || this.#random.chance(0.5)
        ? this.#random.pick(['bit', 'sector'] as const)
        : this.#random.pick(['value', 'value', 'stretch', 'batch'] as const);
    let done = false;
    // What LevelDB's log loses, it loses at the next open, which the simulated crash is already.
    if (state !== undefined && fault === 'stretch') {
      done = this.kv.flipWalBit(state);
    } else if (state !== undefined && fault === 'batch') {
      done = this.kv.dropBatch(state, this.#random.int(5));
    }
    this.kill(powerCut);
    if (fault === 'bit') {
      done = this.files.flipBit(DIRECTORY);
    } else if (fault === 'sector') {
      done = this.files.ruinSector(DIRECTORY);
    } else if (state !== undefined && fault === 'value') {
      done = this.kv.flipValueBit(state) !== undefined;
    }
    if (done) {
      this.isHarmed = true;
      this.#trace('damage', fault);
    }
    return done;
  }

  /** Dies, and the newest sector of its log is noise. False: it held nothing yet. */
  killAndRuinLog(powerCut: boolean): boolean {
    this.kill(powerCut);
    const done = this.files.ruinNewestSector(DIRECTORY);
    if (done) {
      this.isHarmed = true;
      this.#trace('damage', 'newest sector');
    }
    return done;
  }

  describe(): string {
    const { replica } = this;
    if (replica === undefined) {
      return `n${this.nodeId}  ${this.process.alive ? 'opening' : 'down'}`;
    }
    const { role, term, leaderId, commitIndex, appliedIndex, lastIndex, durableIndex, recovering } =
      replica.raft.status();
    return `n${this.nodeId}  ${role}${this.process.paused ? ' paused' : ''}${recovering ? ' recovering' : ''} boot=${replica.bootId} term=${term} leader=${leaderId ?? '-'} commit=${commitIndex} applied=${appliedIndex} last=${lastIndex} durable=${durableIndex} flushed=${replica.store.flushedIndex}`;
  }

  // ------------------------------------------------------------------------------------- ports

  #ports(): ReplicaPorts {
    const { process } = this;
    const { life } = process;
    const random = this.#random.split(`life${life}`);
    const isCurrent = (): boolean => process.alive && process.life === life;
    return {
      files: this.#files(),
      kvOpener: this.kv.opener,
      clock: process.clock(),
      random,
      fatal: (error, context) => this.#fatal(life, error, context),
      logger: this.#logger(),
      caller: this.#world.participants.callerFor(process),
      connect: () => {
        this.transport = new SimTransport(
          this.#world.transport,
          process,
          random.split('transport'),
        );
        return { transport: this.transport, forward: this.transport };
      },
      onApplied: (entry) => {
        if (isCurrent()) {
          this.#world.applied(this, entry);
        }
      },
    };
  }

  /** One directory tree: the log's files and LevelDB's directories, as on a real disk. */
  #files(): Files {
    const files = this.files.files();
    const { kv } = this;
    return {
      ...files,
      list: async (path) => {
        const names = [...(await files.list(path)), ...(await kv.list(path))];
        return [...new Set(names)].sort();
      },
      // A state that is put aside is never opened again.
      rename: async (from, to) => {
        const name = from.slice(DIRECTORY.length + 1);
        if ((await kv.list(DIRECTORY)).includes(name)) await kv.removeDirectory(from);
        else await files.rename(from, to);
      },
      removeDirectory: async (path) => {
        await kv.removeDirectory(path);
        await files.removeDirectory(path);
      },
      syncDirectory: async (path) => {
        await kv.syncDirectory(path);
        await files.syncDirectory(path);
      },
    };
  }

  #config(): ReplicaConfig {
    const { options } = this.#world;
    return {
      directory: DIRECTORY,
      trailingEntries: options.trailingEntries,
      raft: raftNodeConfig(options.config, { entryCommandsMax: options.entryCommandsMax }),
      log: {
        segmentBytes: options.segmentBytes,
        zeroFillSliceBytes: options.segmentBytes,
        freeBytesMin: 2 * options.segmentBytes,
        ballastBytes: 0,
      },
      store: {
        ...DEFAULT_STORE_CONFIG,
        flushIntervalMs: options.flushIntervalMs,
        flushBytes: 16 * 1024,
        overlayBytesMax: 128 * 1024,
        flushPollMs: 5,
        ledgerKeepMin: 100,
        chunkBytesMax: 2 * 1024,
        receiveBatchBytes: 8 * 1024,
        scrubRestMs: 5_000,
      },
      scheduler: {
        ...DEFAULT_SCHEDULER_CONFIG,
        commitEachResult: options.commitEachResult,
        // What backed off during the faults ends soon after them.
        retryIntervalMsMax: 8_000,
      },
      coordinator: {
        openOperationsMax: 1_000,
        waitLeaderMs: 5_000,
        retryMs: 20,
        waitGraceMs: 4_000,
        requestTimeoutMs: options.workload.requestTimeoutMs,
        readTimeoutMs: 3_000,
      },
    };
  }

  #fatal(life: number, error: unknown, context: Readonly<Record<string, unknown>>): void {
    if (!this.process.alive || this.process.life !== life) {
      return;
    }
    const cause = error instanceof Error ? error : new Error(String(error));
    this.#trace('fatal', `${cause.message} ${describeFields(context)}`);
    if ('expected' in context) {
      // A rebuild heals damage; a state that differs from the leader's was computed wrongly.
      this.#world.fail(
        new InvariantViolated('P3', `n${this.nodeId} diverged: ${describeFields(context)}`),
      );
    } else if (!asksForRestart(cause)) {
      this.#world.fail(cause);
    }
    this.kill(false);
    this.restartAfter(200 + this.#random.int(500));
  }

  #logger(): NodeLog {
    const write = (level: string) => (fields: object, message: string) => {
      if (this.process.alive) {
        this.#trace(level, `${message} ${describeFields(fields)}`);
        this.#checkRebuild(message, fields);
      }
    };
    return {
      debug: () => undefined,
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
    };
  }

  /** A state that nothing was done to is always one that the node's own log continues. */
  #checkRebuild(message: string, fields: object): void {
    if (message === REBUILD_MESSAGE && !this.isHarmed) {
      this.#world.fail(
        new InvariantViolated(
          'STATE',
          `n${this.nodeId} must rebuild a state that nothing happened to: ${describeFields(fields)}`,
        ),
      );
    }
  }

  #trace(event: string, detail: string): void {
    this.#world.trace.add(this.#world.time.nowMs, this.nodeId, event, detail);
  }
}

function describeFields(fields: object): string {
  return JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
  );
}

function asksForRestart(error: Error): boolean {
  let at: unknown = error;
  for (let depth = 0; at instanceof Error && depth < 8; depth++) {
    if (RESTART_CODES.has((at as { code?: unknown }).code)) {
      return true;
    }
    at = at.cause;
  }
  return false;
}
