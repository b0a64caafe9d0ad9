// What the scheduler needs from the world. Small on purpose: tests and the simulator implement them.

import type { Clock, Fatal, Random } from '../../raft/index.ts';
import type { AlertDesk } from '../alerts/index.ts';
import type { BranchResult, Command, Transaction } from '../machine/index.ts';
import type { BranchCall, ParticipantCaller } from '../participants/index.ts';
import type { Patterns } from '../patterns/index.ts';
import type { CallEnd } from './branch-results.ts';

export interface DueEntry {
  readonly gid: string;
  readonly dueMs: number;
}

/** One page of an index; `next` continues it, undefined at its end. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

/**
 * This node's applied state. Each read sees at least everything whose `AppliedEntry` had been
 * delivered when the read was asked for. A rejection is damage or a bug, and fatal.
 */
export interface TransactionSource {
  load(gid: string): Promise<Transaction | undefined>;
  /** Unfinished transactions with `fromMs ≤ due < toMs`, in order of due time. */
  due(
    range: { readonly fromMs: number; readonly toMs: number },
    after: string | undefined,
    limit: number,
  ): Promise<Page<DueEntry>>;
  /** Every unfinished transaction, earliest due first. */
  active(after: string | undefined, limit: number): Promise<Page<string>>;
  /** Finished transactions whose retention ended at or before `untilMs`. */
  expired(untilMs: number, limit: number): Promise<readonly string[]>;
}

export type ProposeOutcome =
  /** It will be applied at this index, or this node stops leading. */
  { readonly kind: 'appended'; readonly index: number } | { readonly kind: 'rejected' };

export interface Proposer {
  /** In the progress lane. `done` runs once, never synchronously. */
  propose(command: Command, done: (outcome: ProposeOutcome) => void): void;
}

/** A call that was sent, as an operator is told of it. */
export interface EndedCall {
  readonly call: BranchCall;
  readonly end: CallEnd;
  readonly attempt: number;
  /** Undefined: it is not tried again by itself. */
  readonly retryInMs: number | undefined;
}

export interface SchedulerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly source: TransactionSource;
  readonly proposer: Proposer;
  readonly caller: ParticipantCaller;
  readonly patterns: Patterns;
  /** The dispatch lease holds at this moment. */
  readonly lease: () => boolean;
  /** Cluster time, as the leader would stamp a command now. */
  readonly logTimeNowMs: () => number;
  /** The result of a call that ended after this node stopped leading, for the new leader. */
  readonly forwardResult: (gid: string, result: BranchResult) => void;
  /** Absent: nobody is alerted. */
  readonly alerts?: AlertDesk;
  /** Told of every call that was sent, and when it is tried again. Must not throw. */
  readonly callEnded?: (ended: EndedCall) => void;
  readonly fatal: Fatal;
}
