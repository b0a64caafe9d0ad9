// The command line of the simulator.
//
//   npm run sim -- --seed 7            one run of that seed; the same seed gives the same hash
//   npm run sim -- --seeds 200         seeds 1 … 200 (from --seed, if given); stops at a failure
//   --level raft|replica               cores of consensus alone, or whole replicas
//   --nodes N                          instead of what the seed would draw
//   --bug NAME                         with a deliberate bug: reports the first seed that finds it
//   --trace                            prints every event
//   --hash                             prints seed and hash only
//
// Owns: arguments and the report. Exit code 1: a run failed, or no seed found the deliberate bug.

import { parseArgs } from 'node:util';
import { runRaftSimulation } from './raft-sim.ts';
import { runReplicaSimulation } from './replica-sim.ts';
import type { RunRequest, RunResult } from './run-result.ts';

interface Arguments {
  readonly first: number;
  readonly count: number;
  readonly nodes: number | undefined;
  readonly bug: string | undefined;
  readonly trace: boolean;
  readonly hashOnly: boolean;
  readonly level: string;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      nodes: { type: 'string' },
      bug: { type: 'string' },
      level: { type: 'string', default: 'replica' },
      trace: { type: 'boolean', default: false },
      hash: { type: 'boolean', default: false },
    },
  });
  const first = Number(values.seed ?? 1);
  return {
    first,
    count: Number(
      values.seeds ?? (values.bug !== undefined && values.seed === undefined ? 200 : 1),
    ),
    nodes: values.nodes === undefined ? undefined : Number(values.nodes),
    bug: values.bug,
    trace: values.trace,
    hashOnly: values.hash,
    level: values.level,
  };
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}

function reproduceLine(args: Arguments, seed: string): string {
  const parts = [`npm run sim -- --level ${args.level} --seed ${seed}`];
  if (args.nodes !== undefined) {
    parts.push(`--nodes ${args.nodes}`);
  }
  if (args.bug !== undefined) {
    parts.push(`--bug ${args.bug}`);
  }
  return parts.join(' ');
}

function reportFailure(args: Arguments, result: RunResult): void {
  const { failure } = result;
  if (failure === undefined) {
    return;
  }
  write(`seed ${result.seed} FAILED after ${(result.virtualMs / 1000).toFixed(1)} virtual seconds`);
  for (const line of failure.lastEvents) {
    write(`  ${line}`);
  }
  write('options');
  for (const line of result.options) {
    write(`  ${line}`);
  }
  write('nodes');
  for (const line of failure.table) {
    write(`  ${line}`);
  }
  write(`violated ${failure.invariant}`);
  write(`  ${failure.message}`);
  write(`again: ${reproduceLine(args, result.seed)}`);
}

function reportRun(args: Arguments, result: RunResult, elapsedMs: number): void {
  if (args.hashOnly) {
    write(`${result.seed} ${result.hash}`);
    return;
  }
  if (args.count === 1) {
    for (const line of result.options) {
      write(`  ${line}`);
    }
  }
  const stats = Object.entries(result.stats).map(([key, value]) => `${key}=${value}`);
  write(
    `seed ${result.seed}  ok  hash ${result.hash}  ${(result.virtualMs / 1000).toFixed(0)} virtual s in ${elapsedMs.toFixed(0)} ms  ${result.events} events  ${stats.join(' ')}`,
  );
}

async function runOne(args: Arguments, request: RunRequest): Promise<RunResult> {
  switch (args.level) {
    case 'raft':
      return runRaftSimulation(request);
    case 'replica':
      return runReplicaSimulation(request);
    default:
      throw new Error(`unknown level ${args.level}`);
  }
}

async function main(): Promise<number> {
  const args = readArguments();
  const beganMs = performance.now();
  for (let seed = args.first; seed < args.first + args.count; seed++) {
    const seedBeganMs = performance.now();
    const result = await runOne(args, {
      seed: String(seed),
      nodes: args.nodes,
      bugs: new Set(args.bug === undefined ? [] : [args.bug]),
      print: args.trace ? write : undefined,
    });
    if (result.failure !== undefined) {
      if (args.bug !== undefined && args.count > 1) {
        write(
          `${args.bug}: found by seed ${seed} (${result.failure.invariant}) after ${seed - args.first + 1} seeds`,
        );
        return 0;
      }
      reportFailure(args, result);
      return args.bug === undefined ? 1 : 0;
    }
    if (args.bug === undefined || args.count === 1) {
      reportRun(args, result, performance.now() - seedBeganMs);
    }
  }
  if (args.bug !== undefined) {
    write(`${args.bug}: NOT found in ${args.count} seeds`);
    return 1;
  }
  if (!args.hashOnly && args.count > 1) {
    write(`${args.count} seeds ok in ${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
  }
  return 0;
}

process.exitCode = await main();
