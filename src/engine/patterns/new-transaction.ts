// A transaction as it is created: what its pattern says of its rows, with everything else resolved
// from what the client gave and from the defaults that travel with the command (P3).

import type {
  BranchDefinition,
  BranchProgress,
  StepInput,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from '../machine/index.ts';
import { type Limits, resolveLimits, resolveOptions } from './limits.ts';
import { REASON_BYTES_MAX, truncateText } from './text.ts';

export interface CreatedAt {
  readonly timeMs: number;
  readonly term: number;
  readonly submitted: boolean;
  /** URLs that a topic has at this moment; absent where topics cannot be read. */
  readonly subscribersOf?: (topic: string) => readonly string[] | undefined;
}

/** What a pattern makes of the input. */
export interface Shape {
  readonly steps: readonly StepInput[];
  readonly payloads: readonly Uint8Array[];
  readonly branches: readonly BranchDefinition[];
  readonly concurrent: boolean;
  readonly orders: ReadonlyMap<number, readonly number[]>;
  /** The pattern's own limit where the client gave none; undefined = never. */
  readonly defaultTimeoutMs: number | undefined;
}

/** Its `dueMs` is for the pattern to say. */
export function newTransaction(
  input: TransactionInput,
  defaults: TransactionDefaults,
  at: CreatedAt,
  shape: Shape,
): Transaction {
  const options = resolveOptions(input.options);
  const limits: Limits = resolveLimits(options, defaults);
  const { defaultTimeoutMs, ...parts } = shape;
  const fresh = freshProgress(at.timeMs, limits.baseIntervalMs);
  return {
    definition: {
      gid: input.gid,
      type: input.type,
      protocol: input.protocol ?? 'http',
      queryPrepared: input.queryPrepared ?? '',
      customData: input.customData ?? '',
      options,
      ...parts,
      ...limits,
      timeoutMs: limits.timeoutMs ?? defaultTimeoutMs,
    },
    state: {
      gid: input.gid,
      type: input.type,
      status: at.submitted ? 'submitted' : 'prepared',
      createTimeMs: at.timeMs,
      updateTimeMs: at.timeMs,
      finishTimeMs: undefined,
      rollbackTimeMs: undefined,
      rollbackReason: truncateText(input.rollbackReason ?? '', REASON_BYTES_MAX),
      result: '',
      acceptedTerm: at.submitted ? at.term : 0,
      retryCount: Math.max(0, options.retryCount),
      dueMs: undefined,
      intervalMs: limits.baseIntervalMs,
      forced: undefined,
      branches: shape.branches.map(() => fresh),
    },
  };
}

/** A row that nothing has happened to. */
export function freshProgress(timeMs: number, intervalMs: number): BranchProgress {
  return {
    status: 'prepared',
    createTimeMs: timeMs,
    updateTimeMs: timeMs,
    finishTimeMs: undefined,
    wanted: false,
    retryAtMs: undefined,
    intervalMs,
    attemptCount: 0,
    ongoingCount: 0,
    unknownCount: 0,
    firstAttempts: [],
    lastAttempts: [],
  };
}
