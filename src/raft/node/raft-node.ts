// A Raft node: drives a core on the ports of the outside world.
//
// Owns: the single queue of events, the execution of effects, and the API that the layers above use.
// Does not own: decisions of consensus (core), the order of writes (persister.ts), the order of
// applies (applier.ts), which commands share an entry (proposals.ts).
//
// Invariants: the core is stepped from one place, never from inside a step; effects are executed in
// order, and listeners hear of them after the step that caused them (bug H10); every promise and
// callback given out ends exactly once, at the latest when the node stops (bug H9).
//
// Sources: docs/architecture.md §Consensus; Raft paper §5; thesis §6.4, §10.2.

import {
  type CoreBugs,
  type DropReason,
  type Entry,
  type Instant,
  type LogIndex,
  type LogTimeMs,
  type NodeId,
  type ProposeResult,
  RaftCore,
  type RaftEffect,
  type RaftEvent,
  type Role,
  type Term,
} from '../core/index.ts';
import { Applier } from './applier.ts';
import type { RaftNodeConfig } from './config.ts';
import { asError } from './errors.ts';
import { DispatchLease } from './lease.ts';
import { NO_OBSERVER, type RaftObserver } from './observer.ts';
import { Persister } from './persister.ts';
import type {
  Clock,
  Fatal,
  LogStorage,
  NodeLog,
  OpenedLog,
  Random,
  StateMachine,
  Transport,
} from './ports.ts';
import { type Lane, Proposals, type ProposeDone } from './proposals.ts';
import { Reads } from './reads.ts';
import { Snapshots } from './snapshots.ts';
import type { Leadership, RaftNodeStatus, RoleChange } from './status.ts';
import { DeadlineTimer } from './timers.ts';
import { Transfers } from './transfers.ts';
import { AppliedWaiters } from './waiters.ts';

/** Deliberate bugs of the driver, for the tests of the tests only. */
export type NodeBug = 'releaseBeforePersist';

export interface RaftNodeDeps {
  readonly opened: OpenedLog;
  /** What the state machine holds durably. */
  readonly appliedIndex: LogIndex;
  readonly log: LogStorage;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly fatal: Fatal;
  readonly logger: NodeLog;
  readonly config: RaftNodeConfig;
  readonly observer?: RaftObserver;
  readonly bugs?: ReadonlySet<NodeBug>;
  readonly coreBugs?: CoreBugs;
}

/** The dispatch lease is 0.8 × the shortest election timeout (docs/architecture.md §Consensus). */
const LEASE_SHARE = 0.8;

export class RaftNode {
  readonly #deps: RaftNodeDeps;
  readonly #observer: RaftObserver;
  readonly #core: RaftCore;
  readonly #persister: Persister;
  readonly #applier: Applier;
  readonly #proposals: Proposals;
  readonly #snapshots: Snapshots;
  readonly #reads: Reads;
  readonly #waiters: AppliedWaiters;
  readonly #transfers: Transfers;
  readonly #timer: DeadlineTimer;
  readonly #lease: DispatchLease;
  #events: RaftEvent[] = [];
  #running = false;
  #stopped = false;
  #flushWanted = false;
  #compacting: Promise<void> = Promise.resolve();
  #role: RoleChange;
  #recovering: boolean;
  /** Own appends that are not committed, oldest first: when each was made. */
  #uncommitted: { readonly index: LogIndex; readonly atMs: number }[] = [];
  readonly #roleListeners: ((change: RoleChange) => void)[] = [];
  readonly #commitListeners: ((index: LogIndex) => void)[] = [];
  readonly #installListeners: ((index: LogIndex) => void)[] = [];

  constructor(deps: RaftNodeDeps) {
    const { opened, clock, random, config } = deps;
    this.#deps = deps;
    this.#observer = deps.observer ?? NO_OBSERVER;
    this.#core = new RaftCore(
      { ...opened.recovered, appliedIndex: deps.appliedIndex },
      config,
      () => random.next(),
      deps.coreBugs === undefined ? {} : { bugs: deps.coreBugs },
    );
    this.#recovering = opened.recovered.recovering;
    this.#role = { role: 'follower', term: opened.recovered.hardState.term, leaderId: undefined };
    this.#waiters = new AppliedWaiters(clock, config.waitersMax);
    this.#persister = this.#makePersister();
    this.#applier = this.#makeApplier();
    this.#proposals = this.#makeProposals();
    this.#reads = this.#makeReads();
    this.#transfers = new Transfers(clock, 2 * config.electionTimeoutMs, (to) =>
      this.#dispatch({ kind: 'transferLeadership', to }),
    );
    this.#timer = new DeadlineTimer(clock, this.#observer, () =>
      this.#dispatch({ kind: 'timeout' }),
    );
    this.#lease = new DispatchLease(this.#reading(), {
      divergenceMsMax: config.clockDivergenceMsMax,
      leaseMsMax: LEASE_SHARE * config.electionTimeoutMs,
    });
    this.#snapshots = new Snapshots({
      ...deps,
      persister: this.#persister,
      applier: this.#applier,
      dispatch: (event) => this.#dispatch(event),
      installed: (index) => this.#installed(index),
      limits: config,
    });
  }

  start(): void {
    this.#deps.transport.start({
      message: (message) => this.#dispatch({ kind: 'receive', message }),
      unreachable: (peer) => this.#dispatch({ kind: 'unreachable', peer }),
      refused: (peer) => this.#dispatch({ kind: 'refused', peer }),
      snapshot: (from, meta, chunks) => this.#snapshots.receive(from, meta, chunks),
    });
    // The core sets its first election deadline when it first hears what time it is (bug A12).
    this.#dispatch({ kind: 'timeout' });
  }

  /** Ends every wait, then waits (bounded) for the write and the apply under way. */
  stop(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#stopped = true;
    this.#events = [];
    this.#timer.stop();
    this.#snapshots.stop();
    this.#proposals.stop();
    this.#reads.stop();
    this.#waiters.stop();
    this.#transfers.stop();
    return new Promise((resolve) => {
      const cancel = this.#deps.clock.after(this.#deps.config.stopMsMax, () => {
        this.#deps.logger.warn({}, 'stopped with a write or an apply still under way');
        resolve();
      });
      this.#persister.stop(() => {
        this.#applier.stop(() => {
          cancel();
          resolve();
        });
      });
    });
  }

  /**
   * Offers a command. `done` runs once and later: with the position at which this node appended it
   * as leader, or with the reason why it certainly did not.
   */
  propose(command: Uint8Array, lane: Lane, done: ProposeDone): void {
    this.#proposals.propose(command, lane, done);
  }

  /**
   * Resolves to an index at or above everything committed before the call, once it is applied here.
   * @throws {RaftNodeError} `timeout`, `overloaded`, `stopped`.
   */
  readIndex(timeoutMs: number): Promise<LogIndex> {
    return this.#reads.read(timeoutMs);
  }

  /** @throws {RaftNodeError} `timeout`, `overloaded`, `stopped`. */
  waitApplied(index: LogIndex, timeoutMs: number): Promise<void> {
    return this.#waiters.wait(index, this.#applier.appliedIndex, timeoutMs);
  }

  /** True once another node has been seen to lead; false when the transfer failed. */
  transferLeadership(to?: NodeId): Promise<boolean> {
    return this.#transfers.transfer(to);
  }

  /** A peer has clients that wait for `index`: it is told of the commit at once. */
  commitInterest(peer: NodeId, index: LogIndex): void {
    this.#dispatch({ kind: 'commitInterest', peer, index });
  }

  /** Whether a participant may be called at this moment. */
  leaseValid(): boolean {
    return !this.#stopped && this.#lease.valid(this.#reading(), this.#core.leaseUntilMs());
  }

  logTimeNowMs(): LogTimeMs {
    return this.#core.logTimeNowMs(this.#instant());
  }

  /**
   * Gives up the log at and below `index`, as far as it is applied and no receiver of a snapshot
   * needs it. The caller leaves trailing entries for slow followers.
   */
  compact(index: LogIndex): Promise<void> {
    const run = this.#compacting.then(() => this.#compact(index));
    // A failure is the caller's to see; it must not fail those that come after.
    this.#compacting = run.catch(() => undefined);
    return run;
  }

  leadership(): Leadership {
    const { role, term, leaderId } = this.#role;
    return { term, leaderId, isLeader: role === 'leader', recovering: this.#recovering };
  }

  /** Up to here this node's own log is on stable storage. */
  get durableIndex(): LogIndex {
    return this.#core.durableIndex();
  }

  get appliedIndex(): LogIndex {
    return this.#applier.appliedIndex;
  }

  onRole(listener: (change: RoleChange) => void): void {
    this.#roleListeners.push(listener);
  }

  onCommit(listener: (index: LogIndex) => void): void {
    this.#commitListeners.push(listener);
  }

  /** A snapshot replaced the state: results at or below its index are not announced one by one. */
  onInstalled(listener: (index: LogIndex) => void): void {
    this.#installListeners.push(listener);
  }

  status(): RaftNodeStatus {
    return {
      ...this.#core.status(this.#instant()),
      appliedIndex: this.#applier.appliedIndex,
      queues: {
        admission: this.#proposals.depth('admission'),
        progress: this.#proposals.depth('progress'),
        persistBytes: this.#persister.queuedBytes,
        reads: this.#reads.count,
        waits: this.#waiters.count,
      },
      snapshot: { sendingTo: this.#snapshots.sendingTo, receiving: this.#snapshots.receiving },
      damage: this.#recovering ? this.#deps.opened.recovering : undefined,
    };
  }

  /** Checks everything that must hold in the core; throws `InvariantViolation`. */
  invariants(): void {
    this.#core.invariants();
  }

  // ------------------------------------------------------------------------------ the event queue

  #dispatch(event: RaftEvent): void {
    if (this.#stopped) return;
    this.#events.push(event);
    this.#run();
  }

  #run(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    try {
      do {
        this.#drainEvents();
        // A write without content is complete at once and yields further events.
        this.#persister.kick();
      } while (this.#events.length > 0 || this.#flushDue());
      this.#timer.arm(this.#core.nextDeadlineMs());
    } catch (cause) {
      this.#stopped = true;
      this.#deps.fatal(asError(cause), { role: this.#role.role, term: this.#role.term });
    } finally {
      this.#running = false;
    }
  }

  #drainEvents(): void {
    for (;;) {
      const events = this.#events;
      this.#events = [];
      for (const event of events) {
        if (this.#stopped) return;
        this.#core.step(event, this.#instant());
        this.#executeAll();
        if (event.kind === 'snapshotReceived') this.#snapshots.settle(event.meta);
      }
      if (this.#events.length > 0) continue;
      if (!this.#flushDue()) return;
      this.#flushWanted = false;
      this.#proposals.flush();
      this.#executeAll();
    }
  }

  #flushDue(): boolean {
    return this.#flushWanted && !this.#persister.busy && !this.#stopped;
  }

  #executeAll(): void {
    for (const effect of this.#core.drain()) this.#execute(effect);
  }

  #execute(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'persist':
        if (effect.recovered) this.#recovering = false;
        this.#persister.enqueue(effect);
        return;
      case 'send':
        if (effect.messages.some((message) => message.kind === 'heartbeat')) {
          this.#lease.roundSent(this.#reading());
        }
        this.#deps.transport.send(effect.messages);
        return;
      case 'commit':
        this.#committed(effect.index);
        return;
      case 'fetch':
        this.#fetch(effect);
        return;
      case 'sendSnapshot':
        this.#snapshots.send(effect.to);
        return;
      case 'installSnapshot':
        this.#snapshots.install(effect.meta);
        return;
      case 'discardSnapshot':
        this.#snapshots.discard(effect.meta);
        return;
      case 'readReady':
        this.#reads.ready(effect.readIds, effect.index);
        return;
      case 'readFailed':
        this.#reads.failed(effect.readIds);
        return;
      case 'role':
        this.#roleChanged(effect);
        return;
      case 'transferEnded':
        this.#transfers.ended(effect.ok);
    }
  }

  #committed(index: LogIndex): void {
    const now = this.#deps.clock.monotonicMs();
    let count = 0;
    for (const own of this.#uncommitted) {
      if (own.index > index) break;
      this.#observer.committed(now - own.atMs);
      count += 1;
    }
    if (count > 0) this.#uncommitted.splice(0, count);
    this.#applier.commit(index);
    // Commits make room for progress commands that the core had none for.
    this.#proposals.schedule();
    for (const listener of this.#commitListeners) listener(index);
  }

  #roleChanged(change: { role: Role; term: Term; leaderId: NodeId | undefined }): void {
    const { role, term, leaderId } = change;
    this.#role = { role, term, leaderId };
    if (role !== 'leader') this.#uncommitted = [];
    this.#deps.logger.info({ role, term, leaderId }, 'role changed');
    this.#proposals.schedule();
    for (const listener of this.#roleListeners) listener(this.#role);
  }

  #fetch(effect: Extract<RaftEffect, { kind: 'fetch' }>): void {
    const { fetchId, from, to, bytesMax } = effect;
    this.#deps.log.read(from, to, bytesMax).then(
      (entries) => {
        if (isContiguous(entries, from)) this.#dispatch({ kind: 'fetched', fetchId, entries });
        else this.#fail(new Error(`the log gave other entries than those from ${from}`));
      },
      // An error must not look like "nothing to send" (bug C16).
      (cause: unknown) => this.#fail(asError(cause)),
    );
  }

  async #compact(index: LogIndex): Promise<void> {
    if (this.#stopped) return;
    const upTo = Math.min(index, this.#applier.appliedIndex, this.#snapshots.compactableIndex);
    if (upTo <= 0) return;
    const base = await this.#deps.log.compact(upTo);
    // An install under way may have moved the base further; the core hears of that by its end.
    if (base.index > upTo) return;
    this.#dispatch({ kind: 'compacted', index: base.index, term: base.term });
  }

  #installed(index: LogIndex): void {
    this.#waiters.applied(index);
    for (const listener of this.#installListeners) listener(index);
  }

  #append(commands: readonly Uint8Array[]): ProposeResult {
    const now = this.#instant();
    const result = this.#core.propose(commands, now);
    if (result.accepted) {
      this.#uncommitted.push({ index: result.index, atMs: now.monotonicMs });
    }
    return result;
  }

  #fail(error: Error): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#deps.fatal(error, { role: this.#role.role, term: this.#role.term });
  }

  #instant(): Instant {
    const { clock } = this.#deps;
    return { monotonicMs: clock.monotonicMs(), wallMs: Math.floor(clock.wallMs()) };
  }

  #reading(): { monotonicMs: number; wallMs: number } {
    const { clock } = this.#deps;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }

  // ------------------------------------------------------------------------------------- the parts

  #makePersister(): Persister {
    const { log, clock, fatal, transport, config, bugs } = this.#deps;
    return new Persister({
      log,
      clock,
      fatal,
      observer: this.#observer,
      bytesMax: config.persistBytesMax,
      releaseBeforePersist: bugs?.has('releaseBeforePersist') ?? false,
      release: (messages) => {
        if (messages.length > 0) transport.send(messages);
      },
      persisted: (writeIds) => {
        for (const writeId of writeIds) this.#events.push({ kind: 'persisted', writeId });
        // What gathered during this write goes into the next one.
        this.#flushWanted = true;
        this.#run();
      },
    });
  }

  #makeApplier(): Applier {
    const { log, machine, clock, fatal, config, appliedIndex } = this.#deps;
    return new Applier(
      {
        log,
        machine,
        clock,
        fatal,
        observer: this.#observer,
        window: (from, to) => this.#core.entries(from, to),
        durableIndex: () => this.#core.durableIndex(),
        applied: (index) => {
          this.#dispatch({ kind: 'applied', index });
          this.#waiters.applied(index);
        },
        bytesMax: config.applyBytesMax,
        entriesMax: config.applyEntriesMax,
        sliceMsMax: config.applySliceMsMax,
      },
      appliedIndex,
    );
  }

  #makeProposals(): Proposals {
    const { log, clock, config } = this.#deps;
    return new Proposals({
      clock,
      observer: this.#observer,
      busy: () => this.#persister.busy,
      wake: () => {
        this.#flushWanted = true;
        this.#run();
      },
      append: (commands) => this.#append(commands),
      refusal: (reason: DropReason) => ({
        accepted: false,
        reason,
        leaderId: this.#role.leaderId,
        term: this.#role.term,
      }),
      // Only a leader judges load and space; anyone else says who leads.
      admissionOpen: () => this.#role.role !== 'leader' || log.admissionOpen(),
      admissionRoomBytes: () =>
        config.uncommittedBytesMax -
        config.progressReserveBytes -
        this.#core.status(this.#instant()).uncommittedBytes,
      limits: config,
    });
  }

  #makeReads(): Reads {
    const { clock, config } = this.#deps;
    return new Reads({
      clock,
      ask: (readId) => this.#dispatch({ kind: 'readIndex', readId }),
      waitApplied: (index, timeoutMs) => this.waitApplied(index, timeoutMs),
      retryMs: config.readRetryMs,
      roundMsMax: config.electionTimeoutMs,
      countMax: config.waitersMax,
    });
  }
}

function isContiguous(entries: readonly Entry[], from: LogIndex): boolean {
  return entries.every((entry, position) => entry.index === from + position);
}
