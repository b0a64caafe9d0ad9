// One transaction that is being driven: the committed snapshot and what this leader knows beyond it.
//
// Invariant: `started` never shrinks while the run lives, and a run that is rebuilt after it rested
// has lost nothing: a transaction rests only when every call has ended and its result is committed,
// so what was started is on record (docs/architecture.md §Transactions, "What may have run").

import type { BranchResult, Transaction, TransactionStatus } from '../machine/index.ts';
import type { Knowledge, NextActions } from '../patterns/index.ts';

/** A command under way, from its proposal to its apply. */
export interface Outstanding {
  readonly results: readonly BranchResult[];
  readonly decides: boolean;
  readonly expectStatus: TransactionStatus;
  /** Known once it is appended. */
  index: number | undefined;
}

export class Run implements Knowledge {
  readonly gid: string;
  transaction: Transaction;
  readonly drivenSinceAccepted: boolean;
  readonly commitEachResult: boolean;
  /** Taken up by a takeover, not by a command of this term: counts against the ramp. */
  readonly resumed: boolean;
  readonly started = new Set<number>();
  readonly inflight = new Set<number>();
  readonly held = new Map<number, BranchResult>();

  outstanding: Outstanding | undefined;
  /** Nothing is proposed before this time: the last proposal was refused. */
  proposeNotBeforeMs = Number.NEGATIVE_INFINITY;
  refusedCount = 0;
  /** Rows whose call its target refused unsent, and when to try again. */
  deferred: Map<number, number> | undefined;
  /** Calls wait for the dispatch lease. */
  waitsForLease = false;
  /** What its pattern last asked for; undefined: this leader does not know the pattern. */
  actions: NextActions | undefined;
  lookAtMs: number | undefined;
  readonly payloadBytes: number;

  constructor(
    transaction: Transaction,
    term: number,
    options: { readonly commitEachResult: boolean; readonly resumed: boolean },
  ) {
    this.gid = transaction.definition.gid;
    this.transaction = transaction;
    this.commitEachResult = options.commitEachResult;
    this.resumed = options.resumed;
    // Whoever led when it was accepted led until now: a term has one leader, and nobody leads
    // again in a term that it led before.
    this.drivenSinceAccepted = transaction.state.acceptedTerm === term;
    this.payloadBytes = payloadBytesOf(transaction);
  }

  /** What it waits for, in a few words. */
  get waitingFor(): string {
    if (this.waitsForLease) return 'the dispatch lease';
    if (this.actions !== undefined) return this.actions.waitingFor;
    return `a leader that knows the pattern ${this.transaction.definition.type}`;
  }

  get isFinal(): boolean {
    return isFinal(this.transaction);
  }

  /** Nothing is under way: what it waits for is committed, or a time, or a command. */
  get isAtRest(): boolean {
    const idle = this.inflight.size === 0 && this.held.size === 0;
    return idle && this.outstanding === undefined && !this.waitsForLease;
  }

  /** Drops held results that are on record, or whose row is closed. */
  forgetRecorded(): void {
    for (const [row, result] of this.held) {
      if (isRecorded(this.transaction, result)) {
        this.held.delete(row);
      }
    }
  }
}

export function isFinal(transaction: Transaction): boolean {
  const { status } = transaction.state;
  return status === 'succeed' || status === 'failed';
}

export function payloadBytesOf(transaction: Transaction): number {
  let bytes = 0;
  for (const payload of transaction.definition.payloads) {
    bytes += payload.length;
  }
  return bytes;
}

/** A result needs no (further) command: apply knows it, or would refuse it for its closed row. */
export function isRecorded(transaction: Transaction, result: BranchResult): boolean {
  const progress = transaction.state.branches[result.row];
  if (progress?.status !== 'prepared') {
    return true;
  }
  for (const attempts of [progress.lastAttempts, progress.firstAttempts]) {
    for (const { term, attempt } of attempts) {
      if (term === result.term && attempt === result.attempt) {
        return true;
      }
    }
  }
  return false;
}
