// The command line of the simulator; `--help` prints its usage.
//
// Owns: arguments and the progress of many runs. Exit code 1: a run failed, or no seed found the
// deliberate bug; 2: the arguments are wrong.

import { parseArgs } from 'node:util';
import { describeFailure } from './report.ts';
import { findBug, runLevel, SEARCH_SEEDS, seedRange } from './run-level.ts';
import type { Level, RunResult } from './run-result.ts';

const USAGE = `Runs a cluster in a simulated world, from a seed.

  npm run sim -- [options]

  --seed N          the seed; the same seed gives the same trace hash        (1)
  --seeds K         seeds N … N+K−1                                          (1; with --bug ${SEARCH_SEEDS})
  --level LEVEL     replica: whole nodes; raft: cores of consensus alone     (replica)
  --nodes N         instead of the number that the seed would draw
  --bug NAME        with a deliberate bug: reports the first seed that finds it; with --seed,
                    that one run in full
  --keep-going      do not stop at the first failure; ends with the list of failed seeds
  --trace           print every event
  --hash            print seed and hash only
  --help            this text

A failure prints its last events, the options, the nodes, the invariant, and the line that repeats
it. Exit code 0: all runs passed, or the bug was found.
`;

interface Arguments {
  readonly seeds: readonly number[];
  readonly nodes: number | undefined;
  readonly bug: string | undefined;
  readonly isSearch: boolean;
  readonly keepGoing: boolean;
  readonly trace: boolean;
  readonly hashOnly: boolean;
  readonly level: Level;
}

/** Undefined: only the usage was asked for. */
function readArguments(): Arguments | undefined {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string' },
      nodes: { type: 'string' },
      bug: { type: 'string' },
      level: { type: 'string', default: 'replica' },
      'keep-going': { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      hash: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    return undefined;
  }
  const { level } = values;
  if (level !== 'raft' && level !== 'replica') {
    throw new Error(`--level is raft or replica, not ${level}`);
  }
  const count = values.seeds === undefined ? undefined : readCount('seeds', values.seeds);
  const isSearch = values.bug !== undefined && (count !== undefined || !wasGiven('--seed'));
  return {
    seeds: seedRange(readCount('seed', values.seed), count ?? (isSearch ? SEARCH_SEEDS : 1)),
    nodes: values.nodes === undefined ? undefined : readCount('nodes', values.nodes),
    bug: values.bug,
    isSearch,
    keepGoing: values['keep-going'],
    trace: values.trace,
    hashOnly: values.hash,
    level,
  };
}

function wasGiven(option: string): boolean {
  return process.argv.some((word) => word === option || word.startsWith(`${option}=`));
}

function readCount(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`--${name} is a whole number from 1 on, not ${text}`);
  }
  return value;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}

function reportRun(args: Arguments, result: RunResult, elapsedMs: number): void {
  if (args.hashOnly) {
    write(`${result.seed} ${result.hash}`);
    return;
  }
  if (args.seeds.length === 1) {
    for (const line of result.options) {
      write(`  ${line}`);
    }
  }
  const stats = Object.entries(result.stats).map(([key, value]) => `${key}=${value}`);
  write(
    `seed ${result.seed}  ok  hash ${result.hash}  ${(result.virtualMs / 1000).toFixed(0)} virtual s in ${elapsedMs.toFixed(0)} ms  ${result.events} events  ${stats.join(' ')}`,
  );
}

async function search(args: Arguments, bug: string): Promise<number> {
  const found = await findBug(args.level, bug, args.seeds);
  if (found === undefined) {
    write(`${bug}: NOT found in ${args.seeds.length} seeds`);
    return 1;
  }
  write(`${bug}: found by seed ${found.seed} (${found.invariant})`);
  if (found.cleanFailure !== undefined) {
    write('but the seed fails without it too:');
    describeFailure(found.cleanFailure, { ...args, bug: undefined }).forEach(write);
    return 1;
  }
  return 0;
}

async function runAll(args: Arguments): Promise<number> {
  const beganMs = performance.now();
  const failed: string[] = [];
  for (const seed of args.seeds) {
    const seedBeganMs = performance.now();
    const result = await runLevel(args.level, {
      seed: String(seed),
      nodes: args.nodes,
      bugs: new Set(args.bug === undefined ? [] : [args.bug]),
      print: args.trace ? write : undefined,
    });
    if (result.failure === undefined) {
      reportRun(args, result, performance.now() - seedBeganMs);
      continue;
    }
    describeFailure(result, args).forEach(write);
    failed.push(result.seed);
    if (!args.keepGoing) {
      break;
    }
  }
  const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
  if (failed.length > 0 && args.seeds.length === 1) {
    return args.bug === undefined ? 1 : 0;
  }
  if (failed.length > 0) {
    write(`failed: ${failed.join(' ')} (${args.seeds.length} seeds asked for, ${seconds} s)`);
    return 1;
  }
  if (!args.hashOnly && args.seeds.length > 1) {
    write(`${args.seeds.length} seeds ok in ${seconds} s`);
  }
  return 0;
}

async function main(): Promise<number> {
  let args: Arguments | undefined;
  try {
    args = readArguments();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (args === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  return args.isSearch && args.bug !== undefined ? search(args, args.bug) : runAll(args);
}

process.exitCode = await main();
