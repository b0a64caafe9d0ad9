// One replica: log, state, consensus, scheduler and operations, composed on given ports.
//
// Owns: what knows whom, and the order of opening and closing. The server and the simulator compose
// the same replica; only the ports differ.
// Does not own: any decision of its parts.
//
// Invariants
//   C1. The scheduler leads only between the apply of the own term's no-op and the loss of leadership.
//   C2. Whoever hears of an applied entry hears of it after its state is visible.
//   C3. The log is compacted only behind a durable flush mark, and keeps trailing entries.

import type { Random } from '../../raft/index.ts';
import {
  type CoreBugs,
  type Fatal,
  type LogIndex,
  type NodeBug,
  RaftNode,
  type RaftNodeConfig,
  type RaftObserver,
  type RoleChange,
  type Term,
  type Transport,
} from '../../raft/index.ts';
import {
  AlertDesk,
  type AlertSender,
  type AlertsConfig,
  DEFAULT_ALERTS_CONFIG,
} from '../alerts/index.ts';
import type { Identity, SegmentedLog } from '../log/index.ts';
import type { Command } from '../machine/index.ts';
import { type AppliedEntry, decodeCommand, encodeCommand, Machine } from '../machine/index.ts';
import {
  type Consensus,
  type CoordinatorConfig,
  type ForwardTransport,
  forwardLateResult,
  LocalCoordinator,
  RemoteWaits,
} from '../operations/index.ts';
import type { ParticipantCaller } from '../participants/index.ts';
import { createPatterns } from '../patterns/index.ts';
import {
  type EndedCall,
  type ProposeOutcome,
  Scheduler,
  type SchedulerConfig,
  StateTransactionSource,
  type TransactionSource,
} from '../scheduler/index.ts';
import { type Store, StoreError } from '../store/index.ts';
import {
  openStorage,
  type StorageConfig,
  type StoragePorts,
  stopToRebuild,
} from './open-storage.ts';
import { ReplicatedMachine } from './replicated-machine.ts';
import { StateQueries } from './state-queries.ts';

/** Who this replica is, once its log is open: what the connections to its peers say first. */
export interface ReplicaSelf {
  readonly identity: Identity;
  readonly bootId: number;
}

export interface ReplicaPorts extends StoragePorts {
  readonly random: Random;
  /** Called once, when the log is open and before consensus starts. */
  readonly connect: (self: ReplicaSelf) => {
    readonly transport: Transport;
    readonly forward: ForwardTransport;
  };
  readonly caller: ParticipantCaller;
  /** Absent: nobody is alerted. */
  readonly alerts?: AlertSender;
  /** Told of every call that was sent. */
  readonly callEnded?: (ended: EndedCall) => void;
  readonly raftObserver?: RaftObserver;
  /** Every applied entry, after the parts of this replica have heard of it. */
  readonly onApplied?: (entry: AppliedEntry) => void;
}

export interface ReplicaConfig extends StorageConfig {
  readonly raft: RaftNodeConfig;
  /** Entries kept behind a compaction, for followers that lag. */
  readonly trailingEntries: number;
  readonly scheduler: SchedulerConfig;
  /** Absent: the defaults. */
  readonly alerts?: AlertsConfig;
  readonly coordinator: CoordinatorConfig;
}

/** Names of deliberate bugs; each part takes those that it knows. Only tests pass any. */
export type ReplicaBugs = ReadonlySet<string>;
const NO_BUGS: ReplicaBugs = new Set();

export class LocalReplica {
  readonly identity: Identity;
  readonly bootId: number;
  readonly log: SegmentedLog;
  readonly store: Store;
  readonly raft: RaftNode;
  readonly scheduler: Scheduler;
  readonly alerts: AlertDesk | undefined;
  readonly coordinator: LocalCoordinator;
  readonly #ports: ReplicaPorts;
  readonly #config: ReplicaConfig;
  readonly #remoteWaits: RemoteWaits;
  /** The term in which this node leads, by the last role change. */
  #leadingTerm: Term | undefined;
  #compactedTo: LogIndex = 0;
  #stopping: Promise<void> | undefined;

  /** @throws {LogError, StoreError} what only an operator can decide. */
  static async open(
    ports: ReplicaPorts,
    config: ReplicaConfig,
    bugs: ReplicaBugs = NO_BUGS,
  ): Promise<LocalReplica> {
    const running: { replica?: LocalReplica } = {};
    const storage = await openStorage(
      ports,
      config,
      { log: bugs as ReadonlySet<never>, store: bugs as ReadonlySet<never> },
      {
        durableIndex: () => running.replica?.raft.durableIndex ?? Number.POSITIVE_INFINITY,
        flushed: (appliedIndex) => running.replica?.compactBehind(appliedIndex),
      },
    );
    running.replica = new LocalReplica(ports, config, storage, bugs);
    return running.replica;
  }

  private constructor(
    ports: ReplicaPorts,
    config: ReplicaConfig,
    storage: Awaited<ReturnType<typeof openStorage>>,
    bugs: ReplicaBugs,
  ) {
    const { opened, identity, log, store } = storage;
    this.#ports = ports;
    this.#config = config;
    this.identity = identity;
    this.bootId = opened.bootId;
    this.log = log;
    this.store = store;
    const { transport, forward } = ports.connect({ identity, bootId: opened.bootId });
    const { clock, random, logger, raftObserver } = ports;
    const fatal: Fatal = (error, context) => this.#fatal(error, context);
    this.raft = new RaftNode({
      opened,
      appliedIndex: store.appliedIndex,
      log,
      machine: this.#machine(fatal, bugs),
      transport,
      clock,
      random,
      fatal,
      logger,
      config: config.raft,
      ...(raftObserver === undefined ? {} : { observer: raftObserver }),
      bugs: bugs as ReadonlySet<NodeBug>,
      coreBugs: bugs as CoreBugs,
    });
    this.#remoteWaits = new RemoteWaits(identity.nodeId, (peer, index) =>
      this.raft.commitInterest(peer, index),
    );
    const source = new StateTransactionSource(() => store.reader);
    this.alerts = this.#makeAlertDesk();
    this.scheduler = this.#makeScheduler(source, forward, bugs);
    this.coordinator = new LocalCoordinator(
      { nodeId: identity.nodeId, incarnation: opened.bootId },
      {
        consensus: this.#consensus(bugs),
        forward,
        reads: new StateQueries(() => store.reader, source),
        clock,
        logTimeNowMs: () => this.raft.logTimeNowMs(),
        onLateResult: (gid, result) => this.scheduler.acceptResult(gid, result),
      },
      config.coordinator,
    );
    this.raft.onRole((change) => this.#roleChanged(change));
    this.raft.onInstalled(() => this.coordinator.snapshotInstalled());
  }

  start(): void {
    this.raft.start();
    this.coordinator.start();
  }

  /** True when another node has been seen to lead. */
  handOverLeadership(): Promise<boolean> {
    if (!this.raft.leadership().isLeader) return Promise.resolve(true);
    return this.raft.transferLeadership();
  }

  /** Ends every wait, then closes what is open. Repeated calls join the first. */
  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.scheduler.close();
      this.coordinator.stop();
      await this.raft.stop();
      await this.store.close();
      await this.log.close();
    })();
    return this.#stopping;
  }

  /** Gives up log that a durable flush mark covers, in steps worth the work. */
  compactBehind(flushedIndex: LogIndex): void {
    const { trailingEntries } = this.#config;
    const target = flushedIndex - trailingEntries;
    if (target - this.#compactedTo < Math.max(1, trailingEntries / 8)) return;
    this.#compactedTo = target;
    this.raft.compact(target).catch((error: unknown) => {
      this.#ports.logger.warn({ error: String(error), target }, 'compaction failed');
    });
  }

  /** A damaged value ends the process only after the note to rebuild the state is durable. */
  #fatal(error: Error, context: Readonly<Record<string, unknown>>): void {
    const isDamage = error instanceof StoreError && error.code === 'STATE_DAMAGED';
    if (isDamage) stopToRebuild(this.#ports, this.#config.directory, context);
    else this.#ports.fatal(error, context);
  }

  #machine(fatal: Fatal, bugs: ReplicaBugs): ReplicatedMachine {
    return new ReplicatedMachine({
      store: this.store,
      machine: new Machine({ bugs }),
      fatal,
      onApplied: (entry) => {
        if (bugs.has('compactWithoutMark')) this.compactBehind(entry.index);
        if (this.#leadingTerm !== undefined) this.#remoteWaits.applied(entry);
        this.scheduler.onApplied(entry);
        this.coordinator.applied(entry);
        this.#ports.onApplied?.(entry);
      },
      onNoop: (term) => {
        if (term === this.#leadingTerm) this.scheduler.becomeLeader(term);
      },
      onDigest: (index, digest) => {
        if (this.#leadingTerm !== undefined) this.#propose({ kind: 'digest', index, digest });
      },
      onDivergence: (context) => stopToRebuild(this.#ports, this.#config.directory, context),
    });
  }

  /** The node as operations see it; only the bug `callBeforeCommit` listens to proposals. */
  #consensus(bugs: ReplicaBugs): Consensus {
    const { raft } = this;
    if (!bugs.has('callBeforeCommit')) return raft;
    return {
      propose: (command, lane, done) => {
        this.scheduler.onProposed(decodeCommand(command));
        raft.propose(command, lane, done);
      },
      readIndex: (timeoutMs) => raft.readIndex(timeoutMs),
      commitInterest: (peer, index) => raft.commitInterest(peer, index),
      leadership: () => raft.leadership(),
    };
  }

  #makeAlertDesk(): AlertDesk | undefined {
    const { clock, logger, alerts: sender } = this.#ports;
    if (sender === undefined) return undefined;
    const failed = ({ gid }: { readonly gid: string }, reason: string): void => {
      logger.warn({ gid, reason }, 'an alert could not be delivered');
    };
    const { alerts = DEFAULT_ALERTS_CONFIG, scheduler } = this.#config;
    return new AlertDesk({ clock, sender, failed }, alerts, scheduler.retryIntervalMsMax);
  }

  #makeScheduler(
    source: TransactionSource,
    forward: ForwardTransport,
    bugs: ReplicaBugs,
  ): Scheduler {
    const { clock, random, caller, callEnded } = this.#ports;
    return new Scheduler(
      {
        clock,
        random,
        source,
        proposer: { propose: (command, done) => this.#propose(command, done) },
        caller,
        patterns: createPatterns(bugs),
        lease: () => this.raft.leaseValid(),
        logTimeNowMs: () => this.raft.logTimeNowMs(),
        forwardResult: (gid, result) => {
          const { leaderId, isLeader } = this.raft.leadership();
          if (leaderId !== undefined && !isLeader)
            forwardLateResult(forward, leaderId, gid, result);
        },
        ...(this.alerts === undefined ? {} : { alerts: this.alerts }),
        ...(callEnded === undefined ? {} : { callEnded }),
        fatal: (error, context) => this.#fatal(error, context),
      },
      this.#config.scheduler,
      bugs,
    );
  }

  #propose(command: Command, done: (outcome: ProposeOutcome) => void = () => undefined): void {
    this.raft.propose(encodeCommand(command), 'progress', (result) => {
      if (result.accepted) this.#remoteWaits.appended(command, result.index);
      done(result.accepted ? { kind: 'appended', index: result.index } : { kind: 'rejected' });
    });
  }

  #roleChanged(change: RoleChange): void {
    this.#leadingTerm = change.role === 'leader' ? change.term : undefined;
    if (this.#leadingTerm === undefined) {
      this.scheduler.stopLeading();
      this.#remoteWaits.clear();
    }
    this.coordinator.leadershipChanged();
  }
}
