// Opening the durable half of a replica: the log, then the state that the log vouches for.
//
// Owns: what is done when the state is stale or damaged: rebuilt from the log if the log still holds
// every entry, else the log starts over as `recovering`, so that a leader sends what is missing (a
// snapshot, then entries) before this node votes again. Nothing is decided that could lose an
// acknowledged entry of a majority (docs/architecture.md §Storage).

import type { Clock, Fatal, NodeLog } from '../../raft/index.ts';
import {
  type Files,
  type FlushMark,
  type LogBug,
  type LogConfig,
  type OpenedSegmentedLog,
  openLog,
} from '../log/index.ts';
import {
  type KvOpener,
  openStore,
  type Store,
  type StoreBug,
  type StoreConfig,
  StoreError,
  type StorePorts,
} from '../store/index.ts';
import { clearRebuildMark, isRebuildMarked, markRebuild } from './rebuild-mark.ts';
import { dropStateAside, setStateAside } from './state-aside.ts';

export interface StoragePorts {
  readonly files: Files;
  readonly kvOpener: KvOpener;
  readonly clock: Clock;
  readonly fatal: Fatal;
  readonly logger: NodeLog;
}

export interface StorageConfig {
  /** The formatted data directory. */
  readonly directory: string;
  readonly log: Partial<LogConfig>;
  readonly store: StoreConfig;
}

export interface StorageOwner {
  /**
   * Up to here the log on disk is this node's log. Entries behind it may be void: the truncation
   * that makes them so may still be queued.
   */
  durableIndex(): number;
  /** A flush mark is durable: the log may be compacted behind it. */
  flushed(appliedIndex: number): void;
}

export interface StorageBugs {
  readonly log: ReadonlySet<LogBug>;
  readonly store: ReadonlySet<StoreBug>;
}

export interface Storage extends OpenedSegmentedLog {
  readonly store: Store;
}

/** Asks the launcher for a restart, in which the state is rebuilt (exit 75). */
export class RebuildError extends Error {
  readonly code = 'REBUILD';
}

/**
 * @param node what only the running node knows; it starts after the storage is open.
 * @throws {LogError, StoreError} what opening cannot decide.
 */
export async function openStorage(
  ports: StoragePorts,
  config: StorageConfig,
  bugs: StorageBugs,
  node: StorageOwner,
): Promise<Storage> {
  const { files, clock, fatal, logger } = ports;
  const { directory } = config;
  const open = (startOver: boolean): Promise<OpenedSegmentedLog> =>
    openLog({
      files,
      directory,
      config: config.log,
      clock,
      fatal,
      logger,
      bugs: bugs.log,
      startOver,
    });
  let opened = await open(false);
  const marked = await isRebuildMarked(files, directory);
  const tryStore = (rebuild: boolean) =>
    openStore(
      { directory, generation: opened.marks.generation },
      { lastMark: opened.marks.flushMark, logBase: opened.opened.recovered.base, rebuild },
      storePorts(ports, directory, () => opened, node),
      config.store,
      bugs.store,
    );
  let result = marked ? undefined : await tryStore(false);
  if (result?.kind !== 'open') {
    const why = result ?? { reason: 'damaged', detail: 'found while it ran' };
    const holdsAll = opened.opened.recovered.base.index === 0;
    logger.warn({ ...why, from: holdsAll ? 'log' : 'peer' }, 'the state must be rebuilt');
    // From here on a crash must not open the old state again.
    await markRebuild(files, directory);
    if (!holdsAll) {
      await opened.log.close();
      opened = await open(true);
    }
    if (opened.opened.recovering !== undefined) {
      await setStateAside(files, directory, opened.marks.generation);
    }
    result = await tryStore(true);
    if (result.kind === 'stale') throw new StoreError('STATE_UNREADABLE', result.detail);
    await clearRebuildMark(files, directory);
  }
  const { store } = result;
  if (opened.opened.recovering === undefined) await dropStateAside(files, directory);
  await liftLog(opened, store, logger);
  return { ...opened, opened: opened.log.opened(), store };
}

/**
 * Damage low in the log can leave it shorter than what the state has applied. The state is committed
 * and audited, so the log may begin behind it, as behind a snapshot; it stays `recovering`.
 */
async function liftLog({ log }: OpenedSegmentedLog, store: Store, logger: NodeLog): Promise<void> {
  const { appliedIndex: index, appliedTerm: term, appliedTimeMs: timeMs } = store.apply;
  const { lastIndex } = log.stats();
  if (index <= lastIndex) return;
  logger.warn({ appliedIndex: index, lastIndex }, 'the log begins anew behind the state');
  await log.installed(
    { index, term, timeMs, configuration: store.apply.configuration },
    store.generation,
  );
}

function storePorts(
  ports: StoragePorts,
  directory: string,
  opened: () => OpenedSegmentedLog,
  node: StorageOwner,
): StorePorts {
  const { files, kvOpener, clock, fatal, logger } = ports;
  let damaged = false;
  return {
    opener: kvOpener,
    directories: files,
    clock,
    log: logger,
    fatal,
    durableIndex: () => Math.min(opened().log.stats().lastIndex, node.durableIndex()),
    spaceLow: () => opened().log.stats().belowFloor,
    recordFlushMark: async (mark: FlushMark) => {
      await opened().log.flushMark(mark);
      node.flushed(mark.appliedIndex);
    },
    onDamage: (key, generation) => {
      if (damaged) return;
      damaged = true;
      const found = { key: hex(key), generation };
      logger.error(found, 'a value of the state is damaged; the state will be rebuilt');
      stopToRebuild(ports, directory, found);
    },
  };
}

/** Leaves the mark, then ends the process. */
export function stopToRebuild(
  ports: Pick<StoragePorts, 'files' | 'fatal'>,
  directory: string,
  context: Readonly<Record<string, unknown>>,
): void {
  markRebuild(ports.files, directory).then(
    () => ports.fatal(new RebuildError('the state must be rebuilt'), context),
    (cause: unknown) =>
      ports.fatal(new RebuildError('the state must be rebuilt', { cause }), context),
  );
}

function hex(key: string): string {
  return Array.from(key, (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}
