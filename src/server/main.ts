#!/usr/bin/env node
// The process of a node: command line, configuration, signals, exit codes. The only composition root.

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Fatal, NodeLog } from '../raft/index.ts';
import { type CommandLine, parseCommandLine, USAGE } from './command-line.ts';
import { ConfigError, type LoadedConfig, loadConfig } from './config.ts';
import { printConfig } from './config-text.ts';
import { EXIT, exitCodeOf } from './exit.ts';
import { createLog, logDestination } from './log.ts';
import { Node } from './node.ts';
import { localReplicas } from './replica-local.ts';
import { VERSION } from './version.ts';

const THREADS_MIN = 16;

/**
 * How far the heap may grow above what lives in it before it is collected. V8 bases its own choice on
 * the memory of the machine, and lets a node with 50 MiB of live objects take several times that.
 */
const HEAP_GROWING_PERCENT = 60;

/** Flushes, LevelDB, dns and fs share libuv's threads; Node reads the size only at its start. */
function threadPoolProblems(): readonly string[] {
  const text = process.env['UV_THREADPOOL_SIZE'];
  if (text !== undefined && Number(text) >= THREADS_MIN) return [];
  return [
    `UV_THREADPOOL_SIZE is ${text === undefined ? 'not set' : JSON.stringify(text)}, must be at least ${THREADS_MIN} in the environment: start with UV_THREADPOOL_SIZE=${THREADS_MIN}`,
  ];
}

/** All that keeps a node from running with these settings, at once. */
function readRunConfig(line: Parameters<typeof readConfig>[0]): LoadedConfig {
  const problems = [...threadPoolProblems()];
  try {
    const loaded = readConfig(line);
    if (problems.length === 0) return loaded;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.unshift(...error.problems);
  }
  throw new ConfigError(problems);
}

/** The settings are printed also where the environment is wrong: that has no line of its own. */
function print(loaded: LoadedConfig): void {
  process.stdout.write(printConfig(loaded));
  const problems = threadPoolProblems();
  if (problems.length === 0) return;
  process.stderr.write(`assent-node: ${new ConfigError(problems).message}\n`);
  process.exitCode = EXIT.config;
}

function readConfig(line: {
  readonly file: string | undefined;
  readonly flags: ReadonlyMap<string, string>;
}): LoadedConfig {
  const { file: name, flags } = line;
  let text: string | undefined;
  try {
    text = name === undefined ? undefined : readFileSync(name, 'utf8');
  } catch (error) {
    throw new ConfigError([`${name ?? ''}: cannot be read: ${String(error)}`]);
  }
  const file = name === undefined || text === undefined ? undefined : { name, text };
  return loadConfig({ file, environment: process.env, flags });
}

function createFatal(log: NodeLog): Fatal {
  return (error, context) => {
    const code = exitCodeOf(error);
    log.error({ ...context, err: error, code }, 'the node cannot go on');
    process.exit(code);
  };
}

async function run(loaded: LoadedConfig): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const { config } = loaded;
  const { level, outputs } = config.logging;
  const log = createLog({ level, nodeId: config.node.id }, logDestination(outputs));
  for (const warning of loaded.warnings) log.warn({ warning }, 'configuration');
  const fatal = createFatal(log);
  process.on('uncaughtException', (error) => fatal(error, {}));
  process.on('unhandledRejection', (reason) =>
    fatal(reason instanceof Error ? reason : new Error(String(reason)), {}),
  );
  const node = new Node({ config, log, fatal, replicas: localReplicas, version: VERSION });
  const stop = (signal: string): void => {
    log.info({ signal }, 'asked to stop');
    node.stop().then(
      () => process.exit(EXIT.ok),
      (error: unknown) =>
        fatal(error instanceof Error ? error : new Error(String(error)), { signal }),
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  await node.start();
}

async function format(line: CommandLine & { kind: 'format' }): Promise<void> {
  const { config } = readConfig(line);
  const log = createLog({ level: config.logging.level, nodeId: config.node.id });
  await localReplicas.format(config, line.identity, log);
  const { clusterId } = line.identity;
  log.info({ clusterId, file: config.node.dataDir }, 'formatted the data directory');
}

async function main(words: readonly string[]): Promise<void> {
  const line = parseCommandLine(words);
  switch (line.kind) {
    case 'help':
      process.stdout.write(USAGE);
      return;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return;
    case 'printConfig':
      print(readConfig(line));
      return;
    case 'format':
      return format(line);
    case 'run':
      return run(readRunConfig(line));
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const code = error instanceof ConfigError ? EXIT.config : exitCodeOf(error);
  // What an operator can mend is told by its message; a stack is for what only we can.
  const expected = code !== EXIT.brokenInvariant && error instanceof Error;
  const text = expected ? error.message : String((error as Error).stack ?? error);
  process.stderr.write(`assent-node: ${text}\n`);
  process.exit(code);
});
