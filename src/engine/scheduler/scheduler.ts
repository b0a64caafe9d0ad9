// The leader's loop: which transactions are driven now, which are looked at later, and what a new
// leader resumes (docs/architecture.md §Transactions).
//
// Does not own: what is right to do next (the patterns), calls and proposals of one transaction
// (driver.ts), when to look (due-window.ts), what a takeover resumes (takeover.ts).
//
// Invariants
//   1. It acts only between `becomeLeader` and `stopLeading`.
//   2. Every unfinished transaction is in exactly one of: running, loading, ready, or resting; a
//      resting one is in the due window or behind its horizon, or only a command can move it.
//   3. Everything in memory is bounded; at the bound a transaction waits for its due time.

import type { AppliedEntry, BranchResult, Command, Transaction } from '../machine/index.ts';
import type { SchedulerConfig } from './config.ts';
import { createdBeforeCommit, NO_SCHEDULER_BUGS, type SchedulerBugs } from './deliberate-bugs.ts';
import { Driver } from './driver.ts';
import { DueWindow } from './due-window.ts';
import type { Explanation, SchedulerStats } from './explanation.ts';
import { explainRun } from './explanation.ts';
import { GidQueue } from './gid-queue.ts';
import type { SchedulerPorts } from './ports.ts';
import { ReadyQueue } from './ready-queue.ts';
import { asError, Retention } from './retention.ts';
import { isFinal, Run } from './run.ts';
import { Takeover } from './takeover.ts';

const RAMP_STEP_MS = 10;
/** A due transaction that finds every queue full is looked at again after this. */
const READY_RETRY_MS = 1000;

/** A transaction whose state is being read; commands that are applied meanwhile win. */
interface Loading {
  latest: Transaction | undefined;
  readonly resumed: boolean;
}

export class Scheduler {
  readonly #ports: SchedulerPorts;
  readonly #config: SchedulerConfig;
  readonly #bugs: SchedulerBugs;
  readonly #driver: Driver;
  readonly #window: DueWindow;
  readonly #retention: Retention;

  #leading = false;
  #closed = false;
  #term = 0;
  /** Tells reads of an earlier leadership from this one's. */
  #generation = 0;
  readonly #runs = new Map<string, Run>();
  readonly #loading = new Map<string, Loading>();
  readonly #ready: ReadyQueue;
  /** Due, but in memory by name only. */
  readonly #toLoad = new GidQueue();
  readonly #resume = new GidQueue();
  readonly #forwarded = new Map<string, BranchResult[]>();
  #forwardedCount = 0;
  #resumedCount = 0;
  #payloadBytes = 0;
  #takeover: Takeover | undefined;
  #cancelRamp: (() => void) | undefined;
  #pumping = false;

  constructor(
    ports: SchedulerPorts,
    config: SchedulerConfig,
    bugs: SchedulerBugs = NO_SCHEDULER_BUGS,
  ) {
    this.#ports = ports;
    this.#config = config;
    this.#bugs = bugs;
    this.#ready = new ReadyQueue({
      countMax: config.readyMax,
      bytesMax: Math.floor(config.payloadBytesMax / 4),
    });
    this.#driver = new Driver(ports, config, bugs, {
      busy: (run, lookMs) => this.#busy(run, lookMs),
      resting: (run, lookMs) => this.#resting(run, lookMs),
      waitingCount: () => this.#window.size,
      isCrowded: () => this.#window.isCrowded,
    });
    this.#window = new DueWindow(
      {
        clock: ports.clock,
        nowMs: ports.logTimeNowMs,
        readDue: (range, after, limit) => ports.source.due(range, after, limit),
        isKnown: (gid) => this.#isKnown(gid),
        onDue: (gid) => this.#due(gid),
        onDueEnd: () => this.#pump(),
        onError: (error) => this.#failed(error, 'reading due transactions'),
      },
      config,
    );
    this.#retention = new Retention(ports, config);
  }

  /** After the no-op of its own term is applied here. */
  becomeLeader(term: number): void {
    if (this.#closed) {
      return;
    }
    this.stopLeading();
    this.#leading = true;
    this.#term = term;
    const nowMs = this.#ports.logTimeNowMs();
    const startedMs = this.#ports.clock.monotonicMs();
    this.#takeover = new Takeover(this.#ports.source, this.#config, startedMs);
    this.#driver.lead(term, nowMs + this.#config.timeoutGraceMs);
    this.#window.open(nowMs + this.#config.dueWindowMs);
    this.#retention.start();
    this.#ports.alerts?.becomeLeader();
    this.#pump();
  }

  /** Calls that run go on; their results, and those that are held, go to the new leader. */
  stopLeading(): void {
    if (!this.#leading) {
      return;
    }
    this.#leading = false;
    this.#generation += 1;
    this.#driver.stop();
    this.#window.close();
    this.#retention.stop();
    this.#ports.alerts?.stopLeading();
    this.#cancelRamp?.();
    this.#cancelRamp = undefined;
    this.#takeover = undefined;
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    this.#loading.clear();
    this.#ready.clear();
    this.#toLoad.clear();
    this.#resume.clear();
    this.#forwarded.clear();
    this.#forwardedCount = 0;
    this.#resumedCount = 0;
    this.#payloadBytes = 0;
    for (const run of runs) {
      for (const result of run.held.values()) {
        this.#ports.forwardResult(run.gid, result);
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.stopLeading();
  }

  /** Every entry that this node applies, in order; nothing happens on a follower. */
  onApplied(entry: AppliedEntry): void {
    if (!this.#leading) {
      return;
    }
    const changed = new Set<Run>();
    for (const { gid, after } of entry.changes) {
      const run = this.#runs.get(gid);
      if (run !== undefined && after !== undefined) {
        run.transaction = after;
        changed.add(run);
      } else if (run === undefined) {
        this.#changedAtRest(gid, after);
      }
    }
    for (const run of changed) {
      run.forgetRecorded();
    }
    for (const run of this.#driver.applied(entry.index)) {
      changed.delete(run);
    }
    for (const run of changed) {
      this.#driver.drive(run);
    }
    this.#pump();
  }

  /** The result of a call that a former leader made. Lost when this node does not lead: P5. */
  acceptResult(gid: string, result: BranchResult): void {
    if (!this.#leading) {
      return;
    }
    const run = this.#runs.get(gid);
    if (run !== undefined) {
      this.#driver.accept(run, result);
      this.#driver.drive(run);
      return;
    }
    if (this.#forwardedCount >= this.#config.forwardedResultsMax) {
      return;
    }
    this.#forwardedCount += 1;
    const results = this.#forwarded.get(gid);
    if (results === undefined) {
      this.#forwarded.set(gid, [result]);
    } else {
      results.push(result);
    }
    if (!this.#isKnown(gid)) {
      this.#toLoad.add(gid);
    }
    this.#pump();
  }

  /** Told of every command as it is proposed here; only the bug `callBeforeCommit` listens. */
  onProposed(command: Command): void {
    if (!this.#leading || !this.#bugs.has('callBeforeCommit')) {
      return;
    }
    const at = { timeMs: this.#ports.logTimeNowMs(), term: this.#term };
    const created = createdBeforeCommit(command, this.#ports.patterns, at);
    if (created !== undefined && !this.#isKnown(created.definition.gid)) {
      this.#start(created, false);
    }
  }

  /** Why a transaction waits, as far as this node's memory knows. */
  explain(gid: string): Explanation {
    if (!this.#leading) {
      return { kind: 'notLeading' };
    }
    const run = this.#runs.get(gid);
    if (run !== undefined) {
      return explainRun(run, this.#ports.lease());
    }
    if (this.#isKnown(gid)) {
      return { kind: 'queued' };
    }
    return { kind: 'resting', lookAtMs: this.#window.lookAtMs(gid) };
  }

  stats(): SchedulerStats {
    return {
      leading: this.#leading,
      term: this.#term,
      runningCount: this.#runs.size,
      inflightCallCount: this.#driver.inflightCount,
      leaseWaitingCount: this.#driver.leaseWaitingCount,
      loadingCount: this.#loading.size,
      readyCount: this.#ready.size + this.#toLoad.size,
      resumingCount: this.#resume.size + this.#resumedCount,
      takingOver: this.#takeover !== undefined,
      dueEntryCount: this.#window.size,
      dueHorizonMs: this.#window.horizonMs,
      payloadBytes: this.#payloadBytes,
    };
  }

  #isKnown(gid: string): boolean {
    return (
      this.#runs.has(gid) ||
      this.#loading.has(gid) ||
      this.#ready.has(gid) ||
      this.#toLoad.has(gid) ||
      this.#resume.has(gid)
    );
  }

  // ------------------------------------------------------------------------- taking up work

  #changedAtRest(gid: string, after: Transaction | undefined): void {
    const loading = this.#loading.get(gid);
    if (loading !== undefined) {
      loading.latest = after ?? loading.latest;
      return;
    }
    this.#resume.delete(gid);
    if (after === undefined || isFinal(after)) {
      this.#ready.delete(gid);
      this.#toLoad.delete(gid);
      this.#window.forget(gid);
      return;
    }
    const { status, dueMs } = after.state;
    if (status === 'prepared') {
      this.#window.rest(gid, dueMs, dueMs);
    } else if (this.#ready.set(after)) {
      this.#toLoad.delete(gid);
      this.#window.forget(gid);
    } else {
      this.#loadLater(gid);
    }
  }

  #due(gid: string): void {
    const run = this.#runs.get(gid);
    if (run !== undefined) {
      this.#driver.drive(run);
    } else if (!this.#isKnown(gid)) {
      this.#loadLater(gid);
    }
  }

  #loadLater(gid: string): void {
    if (this.#toLoad.size < this.#config.readyMax || this.#toLoad.has(gid)) {
      this.#toLoad.add(gid);
      this.#window.forget(gid);
    } else {
      this.#window.wake(gid, this.#ports.logTimeNowMs() + READY_RETRY_MS, undefined);
    }
  }

  #hasRoom(): boolean {
    return (
      this.#runs.size + this.#loading.size < this.#config.transactionsInFlightMax &&
      this.#payloadBytes < this.#config.payloadBytesMax
    );
  }

  /** Takes up as much as limits allow: applied ones, due ones and resumed ones in turn. */
  #pump(): void {
    if (this.#pumping || !this.#leading) {
      return;
    }
    this.#pumping = true;
    let took = true;
    while (took && this.#hasRoom()) {
      const ready = this.#ready.take();
      if (ready !== undefined) {
        this.#start(ready, false);
      }
      const due = this.#hasRoom() && this.#takeFrom(this.#toLoad, false);
      const resumed = this.#hasRoom() && this.#mayResume() && this.#takeFrom(this.#resume, true);
      took = ready !== undefined || due || resumed;
    }
    this.#pumping = false;
    this.#readTakeover();
  }

  #mayResume(): boolean {
    const allowance = this.#takeover?.allowance(this.#ports.clock.monotonicMs());
    const may = allowance === undefined || this.#resumedCount < allowance;
    if (!may && this.#resume.size > 0) {
      this.#waitForRamp();
    }
    return may;
  }

  #takeFrom(gids: GidQueue, resumed: boolean): boolean {
    const gid = this.#loading.size < this.#config.loadsMax ? gids.take() : undefined;
    if (gid !== undefined) {
      this.#load(gid, resumed);
    }
    return gid !== undefined;
  }

  #waitForRamp(): void {
    this.#cancelRamp ??= this.#ports.clock.after(RAMP_STEP_MS, () => {
      this.#cancelRamp = undefined;
      this.#pump();
    });
  }

  #readTakeover(): void {
    const takeover = this.#takeover;
    if (takeover === undefined || takeover.isReading || this.#resume.size > 0) {
      return;
    }
    if (takeover.isDone) {
      this.#takeover = undefined;
      return;
    }
    const generation = this.#generation;
    takeover.read().then(
      (gids) => {
        if (generation !== this.#generation) {
          return;
        }
        for (const gid of gids) {
          if (!this.#isKnown(gid) && this.#window.lookAtMs(gid) === undefined) {
            this.#resume.add(gid);
          }
        }
        this.#pump();
      },
      (error: unknown) => this.#failed(error, 'reading what to resume'),
    );
  }

  #load(gid: string, resumed: boolean): void {
    const loading: Loading = { latest: undefined, resumed };
    const generation = this.#generation;
    this.#loading.set(gid, loading);
    this.#resumedCount += resumed ? 1 : 0;
    this.#ports.source.load(gid).then(
      (read) => {
        if (generation !== this.#generation) {
          return;
        }
        this.#loading.delete(gid);
        this.#resumedCount -= resumed ? 1 : 0;
        const transaction = loading.latest ?? read;
        if (transaction === undefined) {
          this.#forgetForwarded(gid);
        } else {
          this.#start(transaction, resumed);
        }
        this.#pump();
      },
      (error: unknown) => this.#failed(error, 'reading a transaction'),
    );
  }

  #start(transaction: Transaction, resumed: boolean): void {
    const { gid } = transaction.definition;
    const results = this.#forgetForwarded(gid);
    this.#window.forget(gid);
    if (isFinal(transaction) && results.length === 0) {
      return;
    }
    const { commitEachResult } = this.#config;
    const run = new Run(transaction, this.#term, { commitEachResult, resumed });
    this.#runs.set(gid, run);
    this.#payloadBytes += run.payloadBytes;
    this.#resumedCount += resumed ? 1 : 0;
    for (const result of results) {
      this.#driver.accept(run, result);
    }
    this.#driver.drive(run);
  }

  #forgetForwarded(gid: string): readonly BranchResult[] {
    const results = this.#forwarded.get(gid) ?? [];
    if (results.length > 0) {
      this.#forwarded.delete(gid);
      this.#forwardedCount -= results.length;
    }
    return results;
  }

  // ------------------------------------------------------------------- what the driver tells

  #busy(run: Run, lookMs: number | undefined): void {
    if (lookMs === undefined) {
      this.#window.forget(run.gid);
    } else {
      this.#window.wake(run.gid, lookMs, run.transaction.state.dueMs);
    }
  }

  #resting(run: Run, lookMs: number | undefined): void {
    if (this.#runs.get(run.gid) !== run) {
      return;
    }
    this.#runs.delete(run.gid);
    this.#payloadBytes -= run.payloadBytes;
    this.#resumedCount -= run.resumed ? 1 : 0;
    if (run.isFinal) {
      this.#window.forget(run.gid);
    } else {
      this.#window.rest(run.gid, lookMs, run.transaction.state.dueMs);
    }
    this.#pump();
  }

  #failed(error: unknown, during: string): void {
    this.#ports.fatal(asError(error), { during });
  }
}
