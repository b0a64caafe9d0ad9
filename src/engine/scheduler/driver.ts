// Drives one transaction at a time: asks its pattern what is next, starts calls, proposes results
// and decisions, and waits for their apply.
//
// Does not own: which transactions are in memory, when they are looked at (scheduler.ts); what is
// right to do (the patterns).
//
// Invariants
//   D1. Nothing is acted upon before its command is applied (P2): while a decision is proposed,
//       nothing is called.
//   D2. One command per transaction is under way at a time, so commands of one transaction are
//       applied in the order in which they were decided.
//   D3. A request is written only under the dispatch lease, in the leadership that asked for it,
//       while the transaction still goes the way it went when the call was asked for, and while
//       nothing that was committed since has postponed it: progress leases a workflow.
//   D4. A result is held until it is on record or its row is closed.

import type { Cancel } from '../../raft/index.ts';
import type { BranchResult, Command, Transaction } from '../machine/index.ts';
import type { BranchCall, CallOutcome } from '../participants/index.ts';
import { isOwnCall, type NextActions, type Pattern } from '../patterns/index.ts';
import { branchCall } from './branch-call.ts';
import {
  type CallEnd,
  emptyUrlResult,
  progressOf,
  resultOf,
  type StartedCall,
} from './branch-results.ts';
import type { SchedulerConfig } from './config.ts';
import { abortedBeforeDecision, type SchedulerBugs } from './deliberate-bugs.ts';
import type { ProposeOutcome, SchedulerPorts } from './ports.ts';
import { isRecorded, type Outstanding, type Run } from './run.ts';

const PROPOSE_RETRY_MS_MAX = 1000;

/** What became of a run after it was driven. */
export interface DriverEvents {
  /** Something is under way; look again at `lookMs` if nothing happens before. */
  busy(run: Run, lookMs: number | undefined): void;
  /** Nothing is under way: it may leave memory until `lookMs` or a command. */
  resting(run: Run, lookMs: number | undefined): void;
  /** Transactions in memory that wait for a time, and whether there is no room for more. */
  waitingCount(): number;
  isCrowded(): boolean;
}

type Record = NonNullable<NextActions['record']>;

export class Driver {
  readonly #ports: SchedulerPorts;
  readonly #config: SchedulerConfig;
  readonly #bugs: SchedulerBugs;
  readonly #events: DriverEvents;

  #leading = false;
  #term = 0;
  /** Tells callbacks of an earlier leadership from this one's. */
  #generation = 0;
  #graceEndsMs = 0;
  #appliedIndex = 0;
  readonly #proposed = new Map<number, Run[]>();
  readonly #waitingForLease = new Set<Run>();
  #cancelLeasePoll: Cancel | undefined;
  #inflightCount = 0;

  constructor(
    ports: SchedulerPorts,
    config: SchedulerConfig,
    bugs: SchedulerBugs,
    events: DriverEvents,
  ) {
    this.#ports = ports;
    this.#config = config;
    this.#bugs = bugs;
    this.#events = events;
  }

  /** Calls in flight, including those of an earlier leadership that are still running. */
  get inflightCount(): number {
    return this.#inflightCount;
  }

  get leaseWaitingCount(): number {
    return this.#waitingForLease.size;
  }

  lead(term: number, graceEndsMs: number): void {
    this.#leading = true;
    this.#term = term;
    this.#generation += 1;
    this.#graceEndsMs = graceEndsMs;
  }

  stop(): void {
    this.#leading = false;
    this.#generation += 1;
    this.#proposed.clear();
    this.#waitingForLease.clear();
    this.#cancelLeasePoll?.();
    this.#cancelLeasePoll = undefined;
  }

  drive(run: Run): void {
    if (!this.#leading) {
      return;
    }
    if (run.isFinal && run.isAtRest) {
      this.#events.resting(run, undefined);
      return;
    }
    const pattern = this.#ports.patterns[run.transaction.definition.type];
    if (pattern === undefined) {
      run.actions = undefined;
      this.#events.resting(run, undefined);
      return;
    }
    const nowMs = this.#ports.logTimeNowMs();
    const actions = this.#nextActions(run, pattern, nowMs);
    run.actions = actions;
    const recordMs =
      actions.record === undefined ? undefined : this.#record(run, actions.record, nowMs);
    const callMs = this.#startCalls(run, pattern, actions.call, nowMs);
    const lookMs = earliest(actions.waitUntilMs, recordMs, callMs);
    run.lookAtMs = lookMs === undefined ? undefined : Math.max(lookMs, nowMs + 1);
    if (run.isAtRest) {
      this.#events.resting(run, run.lookAtMs);
    } else {
      this.#events.busy(run, run.lookAtMs);
    }
  }

  /**
   * Everything up to `index` is applied, and `run.transaction`s are up to date. Goes on with those
   * whose own command was in that entry, and returns them.
   */
  applied(index: number): readonly Run[] {
    this.#appliedIndex = index;
    const runs = this.#proposed.get(index) ?? [];
    this.#proposed.delete(index);
    for (const run of runs) {
      this.#resolve(run, index);
    }
    return runs;
  }

  /** Holds a result, of this node's call or another's. One that ends its row is never replaced. */
  accept(run: Run, result: BranchResult): void {
    const before = run.held.get(result.row)?.outcome;
    const ended = before === 'success' || before === 'failure';
    if (!ended && !isRecorded(run.transaction, result)) {
      run.held.set(result.row, result);
    }
  }

  /** Asks the pattern, after succeeding rows that need no call. */
  #nextActions(run: Run, pattern: Pattern, nowMs: number): NextActions {
    for (;;) {
      const actions = pattern.next(run.transaction, nowMs, run);
      const { branches } = run.transaction.definition;
      const free = run.outstanding?.decides
        ? []
        : actions.call.filter((row) => branches[row]?.url === '');
      if (free.length === 0) {
        return actions;
      }
      for (const row of free) {
        run.started.add(row);
        run.held.set(row, emptyUrlResult(run.transaction, row, { term: this.#term, nowMs }));
      }
    }
  }

  // ------------------------------------------------------------------------------ proposals

  /** Returns when to try again, if not now. */
  #record(run: Run, record: Record, nowMs: number): number | undefined {
    if (run.outstanding !== undefined) {
      return undefined;
    }
    if (run.proposeNotBeforeMs > nowMs) {
      return run.proposeNotBeforeMs;
    }
    // Right after a takeover, clients' waiting requests come before what only time has decided: also
    // that of a message whose client cannot be asked.
    const { branches } = run.transaction.definition;
    const asksNobody = ({ row }: BranchResult): boolean =>
      isOwnCall(branches[row]) && branches[row]?.url === '';
    const timeDecided = record.decision !== undefined && record.results.every(asksNobody);
    if (timeDecided && record.decision.to !== 'succeed' && nowMs < this.#graceEndsMs) {
      return this.#graceEndsMs;
    }
    this.#propose(run, record);
    return undefined;
  }

  #propose(run: Run, record: Record): void {
    const expectStatus = run.transaction.state.status;
    const outstanding: Outstanding = {
      results: record.results,
      decides: record.decision !== undefined,
      expectStatus,
      index: undefined,
    };
    run.outstanding = outstanding;
    if (this.#bugs.has('dropHeldOnTimer') && record.decision === undefined) {
      return;
    }
    const command: Command = { kind: 'advance', gid: run.gid, expectStatus, ...record };
    const generation = this.#generation;
    this.#ports.proposer.propose(command, (outcome) => {
      if (generation === this.#generation && run.outstanding === outstanding) {
        this.#proposedAs(run, outstanding, outcome);
      }
    });
    if (this.#bugs.has('compensateBeforeDecision')) {
      this.#actBeforeDecision(run, record);
    }
  }

  #proposedAs(run: Run, outstanding: Outstanding, outcome: ProposeOutcome): void {
    switch (outcome.kind) {
      case 'appended': {
        outstanding.index = outcome.index;
        if (outcome.index <= this.#appliedIndex) {
          this.#resolve(run, outcome.index);
          return;
        }
        const runs = this.#proposed.get(outcome.index);
        if (runs === undefined) {
          this.#proposed.set(outcome.index, [run]);
        } else {
          runs.push(run);
        }
        return;
      }
      case 'rejected':
        run.outstanding = undefined;
        this.#backOff(run);
        this.drive(run);
        return;
    }
  }

  #resolve(run: Run, index: number): void {
    const { outstanding } = run;
    if (outstanding?.index !== index) {
      return;
    }
    run.outstanding = undefined;
    const { transaction } = run;
    const done =
      outstanding.results.every((result) => isRecorded(transaction, result)) &&
      !(outstanding.decides && transaction.state.status === outstanding.expectStatus);
    run.forgetRecorded();
    this.#tellAlerts(transaction, outstanding.results);
    if (done) {
      run.refusedCount = 0;
    } else if (run.isFinal) {
      // What a finished transaction does not take will not be taken later either.
      run.held.clear();
    } else {
      this.#backOff(run);
    }
    this.drive(run);
  }

  #tellAlerts(transaction: Transaction, results: readonly BranchResult[]): void {
    const { alerts } = this.#ports;
    if (alerts === undefined) return;
    for (const result of results) {
      if (isRecorded(transaction, result)) alerts.recorded(transaction, result);
    }
  }

  #backOff(run: Run): void {
    const delayMs = this.#config.proposeRetryMs * 2 ** Math.min(run.refusedCount, 20);
    run.refusedCount += 1;
    run.proposeNotBeforeMs = this.#ports.logTimeNowMs() + Math.min(delayMs, PROPOSE_RETRY_MS_MAX);
  }

  // ---------------------------------------------------------------------------------- calls

  /** Returns when to try again what is deferred. */
  #startCalls(
    run: Run,
    pattern: Pattern,
    rows: readonly number[],
    nowMs: number,
  ): number | undefined {
    if (rows.length === 0 || run.outstanding?.decides) {
      return undefined;
    }
    if (!this.#hasLease()) {
      this.#waitForLease(run);
      return undefined;
    }
    if (run.waitsForLease) {
      run.waitsForLease = false;
      this.#waitingForLease.delete(run);
    }
    let lookMs: number | undefined;
    for (const row of rows) {
      const deferredMs = run.deferred?.get(row);
      if (deferredMs !== undefined && deferredMs > nowMs) {
        lookMs = earliest(lookMs, deferredMs);
      } else {
        run.deferred?.delete(row);
        this.#call(run, pattern, row, nowMs);
      }
    }
    return lookMs;
  }

  #call(run: Run, pattern: Pattern, row: number, nowMs: number): void {
    const request = branchCall(run.transaction, pattern, row);
    const call: StartedCall = {
      row,
      attempt: progressOf(run.transaction, row).attemptCount + 1,
      term: this.#term,
      atMs: nowMs,
    };
    const generation = this.#generation;
    const direction = run.transaction.state.status;
    const askedAtMs = progressOf(run.transaction, row).retryAtMs;
    run.started.add(row);
    run.inflight.add(row);
    this.#inflightCount += 1;
    const mayWrite = (): boolean => {
      const wanted = generation === this.#generation && run.transaction.state.status === direction;
      const writtenMs = this.#ports.logTimeNowMs();
      const { retryAtMs } = progressOf(run.transaction, row);
      const postponed = retryAtMs !== askedAtMs && (retryAtMs ?? 0) > writtenMs;
      if (!wanted || postponed || !this.#hasLease()) {
        return false;
      }
      call.atMs = writtenMs;
      return true;
    };
    this.#ports.caller.call(request, mayWrite, (outcome) => {
      this.#inflightCount -= 1;
      run.inflight.delete(row);
      const result = this.#ended(run, pattern, call, outcome, generation);
      if (result !== undefined && outcome.kind !== 'notSent') {
        this.#tellEnded(request, outcome, result);
      }
    });
  }

  #ended(
    run: Run,
    pattern: Pattern,
    call: StartedCall,
    outcome: CallOutcome,
    generation: number,
  ): BranchResult | undefined {
    const current = generation === this.#generation;
    if (outcome.kind === 'notSent') {
      if (current) {
        this.#notSent(run, pattern, call, outcome);
      }
      return undefined;
    }
    const computed = resultOf(run.transaction, pattern, call, outcome, {
      nowMs: this.#ports.logTimeNowMs(),
      random: this.#ports.random.next(),
      capMs: this.#config.retryIntervalMsMax,
    });
    const alerted = this.#ports.alerts?.wasDelivered(run.gid, call.row) === true;
    const result = alerted ? { ...computed, alerted } : computed;
    if (current) {
      this.accept(run, result);
      this.drive(run);
    } else {
      this.#ports.forwardResult(run.gid, result);
    }
    return result;
  }

  #tellEnded(call: BranchCall, end: CallEnd, { attempt, retryAtMs }: BranchResult): void {
    const retryInMs =
      retryAtMs === undefined ? undefined : Math.max(0, retryAtMs - this.#ports.logTimeNowMs());
    this.#ports.callEnded?.({ call, end, attempt, retryInMs });
  }

  /** Nothing was sent: tried again without counting as an attempt. */
  #notSent(
    run: Run,
    pattern: Pattern,
    call: StartedCall,
    outcome: Extract<CallOutcome, { kind: 'notSent' }>,
  ): void {
    const { reason } = outcome;
    if (reason === 'circuitOpen' || reason === 'queueFull' || reason === 'stopped') {
      if (this.#events.isCrowded()) {
        // So many wait that memory cannot remember their times: the log does, as an attempt.
        const detail = reason === 'circuitOpen' ? 'circuit open' : 'queue full';
        const end = { kind: 'unknown' as const, detail, durationMs: 0 };
        this.#ended(run, pattern, call, end, this.#generation);
        return;
      }
      const { refusedCallDelayMsMin, refusedCallsPerSecondMax } = this.#config;
      const paceMs = (1000 * this.#events.waitingCount()) / refusedCallsPerSecondMax;
      const leastMs = Math.max(outcome.retryAfterMs ?? 0, refusedCallDelayMsMin, paceMs);
      const delayMs = leastMs * (1 + this.#ports.random.next());
      run.deferred ??= new Map();
      run.deferred.set(call.row, this.#ports.logTimeNowMs() + delayMs);
    }
    this.drive(run);
  }

  // ---------------------------------------------------------------------------------- lease

  #hasLease(): boolean {
    return this.#bugs.has('ignoreLease') || this.#ports.lease();
  }

  #waitForLease(run: Run): void {
    run.waitsForLease = true;
    this.#waitingForLease.add(run);
    this.#pollLease();
  }

  #pollLease(): void {
    this.#cancelLeasePoll ??= this.#ports.clock.after(this.#config.leasePollMs, () => {
      this.#cancelLeasePoll = undefined;
      if (!this.#ports.lease()) {
        this.#pollLease();
        return;
      }
      const runs = [...this.#waitingForLease];
      this.#waitingForLease.clear();
      for (const run of runs) {
        run.waitsForLease = false;
        this.drive(run);
      }
    });
  }

  /** `compensateBeforeDecision`: a deliberate bug. */
  #actBeforeDecision(run: Run, record: Record): void {
    const pattern = this.#ports.patterns[run.transaction.definition.type];
    if (pattern === undefined || record.decision?.to !== 'aborting') {
      return;
    }
    const nowMs = this.#ports.logTimeNowMs();
    run.transaction = abortedBeforeDecision(run.transaction, record.results, record.decision);
    for (const row of pattern.next(run.transaction, nowMs, run).call) {
      this.#call(run, pattern, row, nowMs);
    }
  }
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const time of times) {
    if (time !== undefined && (first === undefined || time < first)) {
      first = time;
    }
  }
  return first;
}
