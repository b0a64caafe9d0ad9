// The consensus state machine: events in, effects out.
import { type CoreBugs, NO_BUGS } from './bugs.ts';
import type {
  Entry,
  Instant,
  LogIndex,
  LogTimeMs,
  MonotonicMs,
  ProposeResult,
  RaftConfig,
  RaftEffect,
  RaftEvent,
  RaftStatus,
  RecoveredState,
} from './types.ts';

export interface RaftCoreOptions {
  /** Deliberate bugs for the simulator's gate; none in production. */
  readonly bugs?: CoreBugs;
}

export class RaftCore {
  readonly recovered: RecoveredState;
  readonly config: RaftConfig;
  readonly random: () => number;
  readonly bugs: CoreBugs;

  constructor(
    recovered: RecoveredState,
    config: RaftConfig,
    random: () => number,
    options: RaftCoreOptions = {},
  ) {
    this.recovered = recovered;
    this.config = config;
    this.random = random;
    this.bugs = options.bugs ?? NO_BUGS;
  }

  /** Handles one event to completion. Never throws except for a broken invariant. */
  step(event: RaftEvent, now: Instant): void {
    throw new Error(`not built: ${event.kind} at ${now.monotonicMs}`);
  }

  /** Appends one commands entry, or says why not. Nothing was appended when refused. */
  propose(commands: readonly Uint8Array[], now: Instant): ProposeResult {
    throw new Error(`not built: ${commands.length} at ${now.monotonicMs}`);
  }

  /** The effects since the last call, in order. */
  drain(): readonly RaftEffect[] {
    return [];
  }

  /** When a `timeout` event is due. 0 until the first event: step a `timeout` at once on opening. */
  nextDeadlineMs(): MonotonicMs {
    return Number.POSITIVE_INFINITY;
  }

  status(now: Instant): RaftStatus {
    throw new Error(`not built at ${now.monotonicMs}`);
  }

  /** Entries `[from, to)` if all of them are in memory. */
  entries(_from: LogIndex, _to: LogIndex): readonly Entry[] | undefined {
    return undefined;
  }

  /** Participants may be called before this moment; 0 when they may not. */
  leaseUntilMs(): MonotonicMs {
    return 0;
  }

  /** Leader: cluster time now. Others: the last time seen in the log. */
  logTimeNowMs(_now: Instant): LogTimeMs {
    return this.recovered.lastTimeMs;
  }

  /** Checks everything that must hold; throws `InvariantViolation`. */
  invariants(): void {}
}
