// The log of a node: JSON lines, on standard error where nothing else is asked for.
//
// Owns: the closed set of field names, and the bounds of what a field may hold. No body, payload or
// header of a client is ever logged: a field that is not in the set is dropped and named. Messages
// are constant sentences; values are JSON, so that no gid can forge a line.

import { type DestinationStream, pino } from 'pino';
import type { NodeLog } from '../raft/index.ts';
import { ConfigError } from './config.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Field names that may be logged. */
export const LOG_FIELDS: ReadonlySet<string> = new Set([
  'address',
  'applied',
  'appliedIndex',
  'attempt',
  'baseIndex',
  'bootId',
  'branchId',
  'bytes',
  'clusterId',
  'code',
  'commitIndex',
  'count',
  'delayMs',
  'digest',
  'done',
  'durationMs',
  'entries',
  'err',
  'directory',
  'error',
  'expected',
  'file',
  'freeBytes',
  'freeBytesMin',
  'from',
  'generation',
  'gid',
  'index',
  'key',
  'lagMs',
  'lane',
  'lastIndex',
  'leaderId',
  'leaderIdBefore',
  'logIndex',
  'lostFromIndex',
  'message',
  'nextTryAt',
  'nodeId',
  'offset',
  'op',
  'outcome',
  'path',
  'peer',
  'phase',
  'port',
  'reason',
  'role',
  'segment',
  'signal',
  'state',
  'status',
  'target',
  'term',
  'to',
  'type',
  'version',
  'warning',
]);
const TEXT_LENGTH_MAX = 2_048;

function bounded(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'string' && value.length > TEXT_LENGTH_MAX) {
    return `${value.slice(0, TEXT_LENGTH_MAX)}…`;
  }
  return value;
}

/** Stack and code of an error and of its causes. */
function errorFields(error: Error, depth = 0): Readonly<Record<string, unknown>> {
  const { code } = error as { readonly code?: unknown };
  return {
    type: error.name,
    message: bounded(error.message),
    ...(code === undefined ? {} : { code }),
    stack: bounded(error.stack),
    ...(error.cause instanceof Error && depth < 4
      ? { cause: errorFields(error.cause, depth + 1) }
      : {}),
  };
}

function allowed(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  const dropped: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Error) kept[name === 'error' ? 'err' : name] = errorFields(value);
    else if (LOG_FIELDS.has(name)) kept[name] = bounded(value);
    else dropped.push(name);
  }
  if (dropped.length > 0) kept['droppedFields'] = dropped.join(',');
  return kept;
}

/**
 * `outputs`: as `logging.outputs` says. Written at once, so that the last record of a crash is there.
 *
 * @throws ConfigError for a file that cannot be opened
 */
export function logDestination(outputs: string): DestinationStream {
  const streams = outputs.split(',').map((output) => openOutput(output.trim()));
  const [only] = streams;
  if (streams.length === 1 && only !== undefined) return only;
  // The logger has a level already; each stream takes all that passes it.
  return pino.multistream(streams.map((stream) => ({ level: 'debug', stream })));
}

function openOutput(name: string): DestinationStream {
  const dest = name === 'stderr' ? 2 : name === 'stdout' ? 1 : name;
  try {
    return pino.destination({ dest, sync: true, mkdir: true });
  } catch (error) {
    throw new ConfigError([`logging.outputs: ${name} cannot be opened: ${String(error)}`]);
  }
}

export function createLog(
  options: { readonly level: LogLevel; readonly nodeId: number },
  destination: DestinationStream = pino.destination({ dest: 2, sync: true }),
): NodeLog {
  const logger = pino(
    {
      level: options.level,
      base: { nodeId: options.nodeId },
      messageKey: 'msg',
      // Errors arrive here as plain fields already.
      serializers: { err: (fields: unknown) => fields },
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return {
    debug: (fields, message) => {
      if (logger.isLevelEnabled('debug')) logger.debug(allowed(fields), message);
    },
    info: (fields, message) => logger.info(allowed(fields), message),
    warn: (fields, message) => logger.warn(allowed(fields), message),
    error: (fields, message) => logger.error(allowed(fields), message),
  };
}
