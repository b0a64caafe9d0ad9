// A log on a disk in memory, for the tests of this folder.

import {
  formatDirectory,
  type Identity,
  type LogBug,
  type LogConfig,
  type OpenedSegmentedLog,
  openLog,
  type SegmentedLog,
} from '../../../../src/engine/log/index.ts';
import type {
  CommandsEntry,
  Entry,
  HardState,
  LogBatch,
  NodeLog,
} from '../../../../src/raft/index.ts';

import { MemoryFiles } from '../../../helpers/memory-files.ts';
import { StepClock } from './step-clock.ts';

export const DIRECTORY = '/data';

export const IDENTITY: Identity = {
  clusterId: 'cluster-a',
  nodeId: 1,
  birthId: 'birth-1',
  voters: [
    { nodeId: 1, birthId: 'birth-1' },
    { nodeId: 2, birthId: 'birth-2' },
    { nodeId: 3, birthId: 'birth-3' },
  ],
};

export const CONFIG: Partial<LogConfig> = {
  segmentBytes: 8192,
  freeBytesMin: 0,
  ballastBytes: 0,
  zeroFillSliceBytes: 4096,
};

export interface Said {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export interface OpenedFixture extends OpenedSegmentedLog {
  readonly clock: StepClock;
  readonly fatal: { readonly error: Error; readonly context: Readonly<Record<string, unknown>> }[];
  readonly said: readonly Said[];
}

export async function formatted(config: Partial<LogConfig> = CONFIG): Promise<MemoryFiles> {
  const files = new MemoryFiles();
  const segmentBytes = config.segmentBytes ?? 8192;
  await formatDirectory(files, DIRECTORY, IDENTITY, { segmentBytes });
  return files;
}

export async function open(
  files: MemoryFiles,
  config: Partial<LogConfig> = CONFIG,
  bugs: readonly LogBug[] = [],
  startOver = false,
): Promise<OpenedFixture> {
  const clock = new StepClock();
  const fatal: OpenedFixture['fatal'] = [];
  const said: Said[] = [];
  const say =
    (level: string): NodeLog['info'] =>
    (fields, message) =>
      said.push({ level, fields, message });
  const opened = await openLog({
    files,
    directory: DIRECTORY,
    config,
    clock,
    fatal: (error, context) => fatal.push({ error, context }),
    logger: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
    bugs: new Set(bugs),
    startOver,
  });
  return { ...opened, clock, fatal, said };
}

export function entry(index: number, term = 1, text = `entry ${index}.${term}`): CommandsEntry {
  return {
    kind: 'commands',
    index,
    term,
    timeMs: 1_000 + index,
    commands: [new TextEncoder().encode(text)],
  };
}

export function entries(from: number, to: number, term = 1, text?: string): Entry[] {
  const made: Entry[] = [];
  for (let index = from; index <= to; index += 1) made.push(entry(index, term, text));
  return made;
}

export function batch(parts: Partial<LogBatch>): LogBatch {
  return {
    hardState: undefined,
    truncateFrom: undefined,
    entries: [],
    recovered: false,
    ...parts,
  };
}

export function hard(term: number, vote?: number): HardState {
  return { term, vote };
}

/** Resolves when the batch is durable. */
export function append(log: SegmentedLog, parts: Partial<LogBatch>): Promise<void> {
  return new Promise((resolve) => {
    log.append(batch(parts), resolve);
  });
}

/** Lets everything that can settle do so: an append that failed never calls back. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Everything that the log holds, read back from its files. */
export async function readAll(log: SegmentedLog): Promise<Entry[]> {
  const { base, lastIndex } = log.opened().recovered;
  const all: Entry[] = [];
  while (base.index + all.length < lastIndex) {
    const next = base.index + all.length + 1;
    const some = await log.read(next, lastIndex + 1, 1_000);
    if (some.length === 0) throw new Error(`nothing at ${next}`);
    all.push(...some);
  }
  return all;
}

/** Index, term and text of each entry: enough to tell any two logs apart. */
export function summary(all: readonly Entry[]): string[] {
  return all.map((one) => {
    const text =
      one.kind === 'commands'
        ? one.commands.map((command) => new TextDecoder().decode(command)).join('|')
        : one.kind;
    return `${one.index}/${one.term}/${text}`;
  });
}
