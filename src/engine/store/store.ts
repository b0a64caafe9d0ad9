// The state of one node: the current generation, and the ways in which another takes its place.
//
// Owns: the directories `state-<generation>` under one parent; opening, receiving, installing and
// deleting them.
// Does not own: what is in the state (machine), which generation is the current one: that is what
// the log's last `Installed` record says, and the caller passes it in.
//
// Invariants
//   ST1. A generation is in use only if its audit found it sound.
//   ST2. The current generation's directory is deleted only after another was installed. The
//        caller makes the `Installed` record durable first, so whichever generation the log names
//        exists.
//   ST3. One snapshot is received at a time (bug F5).
//
// Sources: docs/architecture.md §Storage.

import type {
  Clock,
  Configuration,
  Fatal,
  NodeLog,
  SnapshotMeta,
  SnapshotSource,
} from '../../raft/index.ts';
import type { Key, StateReader } from '../machine/index.ts';
import type { ApplyTarget } from './apply-state.ts';
import { auditState, type Sound, type Stale } from './audit.ts';
import type { StoreBug, StoreConfig } from './config.ts';
import { decodeConfiguration } from './configuration-codec.ts';
import { asError, kvErrorCode, StoreError } from './errors.ts';
import { Generation, type GenerationMetrics } from './generation.ts';
import type { Directories, FlushMark, KvOpener, OrderedKv } from './ports.ts';
import { receiveSnapshot } from './snapshot-receiver.ts';

export interface StorePorts {
  readonly opener: KvOpener;
  readonly directories: Directories;
  readonly clock: Clock;
  readonly log: NodeLog;
  readonly fatal: Fatal;
  /** Last index that this node's own log holds durably. */
  durableIndex(): number;
  /** True below the free-space floor: flushes wait. */
  spaceLow(): boolean;
  /** Puts a flush mark into the log; resolves when it is durable. */
  recordFlushMark(mark: FlushMark): Promise<void>;
  /**
   * The state on disk is damaged: the replica has to be rebuilt. Called at each damaged read, with
   * the key, or with an empty key when a file of LevelDB is damaged.
   */
  onDamage(key: Key, generation: number): void;
}

export interface StoreLocation {
  /** Holds the generations' directories; exists. */
  readonly directory: string;
  /** The one that the log's last `Installed` record names, or the first. */
  readonly generation: number;
}

export interface OpenExpectation {
  /** The last flush mark in the log (of whatever generation). */
  readonly lastMark: FlushMark | undefined;
  /** The log holds entries above `index` only. Its configuration is that of an empty state. */
  readonly logBase: Pick<SnapshotMeta, 'index' | 'configuration'>;
  /**
   * Throws away what the generation holds and begins with an empty state: after `stale`, when the
   * log still holds every entry, or while waiting for a snapshot from a peer.
   */
  readonly rebuild?: boolean;
}

export type OpenStoreResult = { readonly kind: 'open'; readonly store: Store } | Stale;

export interface StoreMetrics extends GenerationMetrics {
  readonly receiving: boolean;
}

interface Environment {
  readonly ports: StorePorts;
  readonly config: StoreConfig;
  readonly bugs: ReadonlySet<StoreBug>;
}

/**
 * Opens the state. `stale`: it must be rebuilt, from the log or from a peer; nothing was changed.
 * @throws {STATE_FORMAT_UNKNOWN, STATE_LOCKED, STATE_NO_SPACE, STATE_UNREADABLE}
 */
export async function openStore(
  location: StoreLocation,
  expected: OpenExpectation,
  ports: StorePorts,
  config: StoreConfig,
  bugs: ReadonlySet<StoreBug> = new Set(),
): Promise<OpenStoreResult> {
  const environment: Environment = { ports, config, bugs };
  const { directories } = ports;
  const path = generationPath(location.directory, location.generation);
  await deleteOthers(location, directories);
  if (expected.rebuild === true) {
    await directories.removeDirectory(path);
    await directories.syncDirectory(location.directory);
  }
  const opened = await openSound(location, expected, environment);
  if (opened.kind === 'stale') return opened;
  const generation = new Generation(
    { ...opened, number: location.generation },
    generationPorts(ports, location.generation),
    config,
    bugs,
  );
  return { kind: 'open', store: new Store(location, generation, environment) };
}

export class Store {
  readonly #directory: string;
  readonly #environment: Environment;
  #current: Generation;
  #nextGeneration: number;
  #receiving = false;
  /** Generations on their way out. */
  readonly #retiring = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(location: StoreLocation, current: Generation, environment: Environment) {
    this.#directory = location.directory;
    this.#environment = environment;
    this.#current = current;
    this.#nextGeneration = location.generation + 1;
  }

  /** For the applier. To be asked for anew after an install. */
  get apply(): ApplyTarget {
    return this.#current.apply;
  }

  /** For everyone else. To be asked for anew after an install. */
  get reader(): StateReader {
    return this.#current.reader;
  }

  get generation(): number {
    return this.#current.number;
  }

  get appliedIndex(): number {
    return this.#current.apply.appliedIndex;
  }

  /** What LevelDB contains. */
  get flushedIndex(): number {
    return this.#current.flushedIndex;
  }

  /** See `Flusher.flush`. */
  flush(): Promise<boolean> {
    return this.#current.flush();
  }

  /** A consistent image at the last flushed index, after a flush if one is possible. */
  snapshot(): Promise<SnapshotSource> {
    return this.#current.snapshot();
  }

  /**
   * Writes a stream into a new generation: verified, synced, not in use. Resolves to its number.
   * @throws {SNAPSHOT_DAMAGED, SNAPSHOT_CUT, SNAPSHOT_NOT_STORED, SNAPSHOT_BUSY,
   * STATE_FORMAT_UNKNOWN}; nothing is left behind.
   */
  async receive(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    if (this.#receiving) throw new StoreError('SNAPSHOT_BUSY', 'a snapshot is being received');
    this.#receiving = true;
    const { ports, config } = this.#environment;
    const number = this.#nextGeneration;
    this.#nextGeneration += 1;
    const directory = generationPath(this.#directory, number);
    try {
      await ports.directories.removeDirectory(directory);
      await receiveSnapshot({ opener: ports.opener, directory, config }, meta, chunks);
      await ports.directories.syncDirectory(directory);
      await ports.directories.syncDirectory(this.#directory);
      return number;
    } catch (error) {
      await this.#remove(number);
      if (error instanceof StoreError) throw error;
      throw new StoreError('SNAPSHOT_NOT_STORED', asError(error).message, { cause: error });
    } finally {
      this.#receiving = false;
    }
  }

  async discard(generation: number): Promise<void> {
    if (generation !== this.#current.number) await this.#remove(generation);
  }

  /**
   * Switches to a received generation. To be called with no apply under way, after the log's
   * `Installed` record is durable (ST2). The old generation is closed, once its readers and
   * outgoing snapshots are done, and deleted.
   * @throws {STATE_DAMAGED} what was received is not what lies there.
   */
  async install(meta: SnapshotMeta, generation: number): Promise<void> {
    const { ports, config, bugs } = this.#environment;
    const location = { directory: this.#directory, generation };
    const opened = await openSound(
      location,
      { lastMark: undefined, logBase: meta },
      this.#environment,
    );
    if (opened.kind === 'stale' || opened.meta?.index !== meta.index) {
      throw new StoreError('STATE_DAMAGED', `generation ${generation} is not the snapshot`);
    }
    const next = new Generation(
      { ...opened, number: generation },
      generationPorts(ports, generation),
      config,
      bugs,
    );
    const old = this.#current;
    this.#current = next;
    this.#nextGeneration = Math.max(this.#nextGeneration, generation + 1);
    this.#retire(old);
  }

  /** Flushes what may be flushed at once, then closes; the overlay's rest is in the log. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  metrics(): StoreMetrics {
    return { ...this.#current.metrics(), receiving: this.#receiving };
  }

  async #close(): Promise<void> {
    const { ports } = this.#environment;
    const isDurable = ports.durableIndex() >= this.#current.apply.appliedIndex;
    if (isDurable && !ports.spaceLow()) await this.#current.flush();
    await this.#current.close();
    await Promise.all(this.#retiring);
  }

  #retire(old: Generation): void {
    const retiring = (async () => {
      try {
        await old.close();
        await this.#remove(old.number);
      } catch (error) {
        // The next open deletes what is left.
        const fields = { error: asError(error).message, generation: old.number };
        this.#environment.ports.log.warn(fields, 'an old state generation was not deleted');
      }
    })();
    this.#retiring.add(retiring);
    void retiring.then(() => this.#retiring.delete(retiring));
  }

  async #remove(generation: number): Promise<void> {
    const { directories } = this.#environment.ports;
    await directories.removeDirectory(generationPath(this.#directory, generation));
    await directories.syncDirectory(this.#directory);
  }
}

const GENERATION_NAME = /^state-(\d+)$/;

export function generationPath(directory: string, generation: number): string {
  return `${directory}/state-${generation}`;
}

async function deleteOthers(location: StoreLocation, directories: Directories): Promise<void> {
  let isChanged = false;
  for (const name of await directories.list(location.directory)) {
    const number = GENERATION_NAME.exec(name)?.[1];
    if (number === undefined || Number(number) === location.generation) continue;
    await directories.removeDirectory(`${location.directory}/${name}`);
    isChanged = true;
  }
  if (isChanged) await directories.syncDirectory(location.directory);
}

interface OpenedSound {
  readonly kind: 'sound';
  readonly kv: OrderedKv;
  readonly meta: Sound['meta'];
  readonly configuration: Configuration;
  readonly scrubPosition: Sound['scrubPosition'];
}

/** Opens and audits; closes again what is stale. */
async function openSound(
  location: StoreLocation,
  expected: OpenExpectation,
  environment: Environment,
): Promise<OpenedSound | Stale> {
  const opened = await openDirectory(location, environment.ports);
  if ('kind' in opened) return opened;
  try {
    const isRebuilt = expected.rebuild === true;
    const audit = await auditState(
      opened,
      {
        lastMark: isRebuilt ? undefined : expected.lastMark,
        logBaseIndex: isRebuilt ? 0 : expected.logBase.index,
        unchecked: environment.bugs.has('noLedgerCheck'),
      },
      environment.config,
    );
    if (audit.kind === 'stale') {
      await opened.close();
      return audit;
    }
    const configuration =
      audit.configuration === undefined
        ? expected.logBase.configuration
        : decodeConfiguration(audit.configuration);
    const { meta, scrubPosition } = audit;
    return { kind: 'sound', kv: opened, meta, configuration, scrubPosition };
  } catch (error) {
    await opened.close();
    const isDamaged =
      error instanceof StoreError
        ? error.code === 'STATE_DAMAGED'
        : kvErrorCode(error) === 'KV_CORRUPT';
    if (isDamaged) return damagedState(error);
    if (error instanceof StoreError) throw error;
    throw new StoreError('STATE_UNREADABLE', 'the state cannot be read', { cause: error });
  }
}

async function openDirectory(
  { directory, generation }: StoreLocation,
  { opener, directories }: StorePorts,
): Promise<OrderedKv | Stale> {
  const path = generationPath(directory, generation);
  const isNew = !(await directories.list(directory)).includes(`state-${generation}`);
  try {
    const kv = await opener.open(path);
    if (!isNew) return kv;
    // LevelDB does not make the names of its files durable by itself (the LevelDB finding L15).
    await kv.close();
    await directories.syncDirectory(path);
    await directories.syncDirectory(directory);
    return await opener.open(path);
  } catch (error) {
    const code = kvErrorCode(error);
    if (code === 'KV_CORRUPT') return damagedState(error);
    if (code === 'KV_LOCKED') {
      throw new StoreError('STATE_LOCKED', `${path} is in use`, { cause: error });
    }
    const reason = code === 'ENOSPC' ? 'STATE_NO_SPACE' : 'STATE_UNREADABLE';
    throw new StoreError(reason, asError(error).message, { cause: error });
  }
}

function damagedState(error: unknown): Stale {
  return { kind: 'stale', reason: 'damaged', detail: asError(error).message, appliedIndex: 0 };
}

function generationPorts(ports: StorePorts, generation: number) {
  return {
    clock: ports.clock,
    fatal: ports.fatal,
    durableIndex: () => ports.durableIndex(),
    spaceLow: () => ports.spaceLow(),
    recordFlushMark: (mark: FlushMark) => ports.recordFlushMark(mark),
    onDamage: (key: Key) => ports.onDamage(key, generation),
  };
}
