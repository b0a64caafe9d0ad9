// What the server talks to: operations, waits and linearizable reads of this node, in one place.
//
// Owns: the `Coordinator` face, and the join of the parts behind it.
// Does not own: how an operation travels (operation-log.ts), when a wait ends (waits.ts).

import type { Clock } from '../../raft/index.ts';
import type { AppliedEntry, OperationRequest, TopicPage, Transaction } from '../machine/index.ts';
import type { ForwardTransport } from './forward-port.ts';
import { type LateResult, serveForwarding } from './forward-server.ts';
import { OperationLog } from './operation-log.ts';
import type { Consensus, OperationsConfig } from './ports.ts';
import type {
  Coordinator,
  ListFilter,
  ListPage,
  OperationOutcome,
  ReadOutcome,
  TopicFilter,
  WaitOutcome,
} from './types.ts';
import { Waits } from './waits.ts';

/** The node's own state, as it is applied here; what makes it current is the ReadIndex before. */
export interface TransactionReads {
  load(gid: string): Promise<Transaction | undefined>;
  /** Undefined: `position` is not one that this scan has given out. */
  list(filter: ListFilter): Promise<ListPage | undefined>;
  dueAfter(dueMs: number, limit: number): Promise<readonly string[]>;
  /** Undefined: `position` is not one that this scan has given out. */
  topics(filter: TopicFilter): Promise<TopicPage | undefined>;
}

export interface CoordinatorConfig extends OperationsConfig {
  /** Added to RequestTimeout, it bounds a wait (the dtm reference §5.4). */
  readonly waitGraceMs: number;
  readonly requestTimeoutMs: number;
  readonly readTimeoutMs: number;
}

export interface CoordinatorDeps {
  readonly consensus: Consensus;
  readonly forward: ForwardTransport;
  readonly reads: TransactionReads;
  readonly clock: Clock;
  readonly logTimeNowMs: () => number;
  readonly onLateResult: LateResult;
}

export class LocalCoordinator implements Coordinator {
  readonly #deps: CoordinatorDeps;
  readonly #config: CoordinatorConfig;
  readonly #operations: OperationLog;
  readonly #waits: Waits;

  constructor(
    self: { readonly nodeId: number; readonly incarnation: number },
    deps: CoordinatorDeps,
    config: CoordinatorConfig,
  ) {
    this.#deps = deps;
    this.#config = config;
    this.#operations = new OperationLog(self, deps, config);
    this.#waits = new Waits(
      deps.clock,
      (gid) => deps.reads.load(gid),
      deps.logTimeNowMs,
      self.nodeId,
    );
    serveForwarding(deps.forward, deps.consensus, deps.onLateResult);
  }

  start(): void {
    this.#operations.start();
  }

  stop(): void {
    this.#operations.stop();
    this.#waits.stop();
  }

  /** Operations and waits that a client still waits for. */
  counts(): { readonly operations: number; readonly waits: number; readonly sessionOpen: boolean } {
    return {
      operations: this.#operations.openCount,
      waits: this.#waits.count,
      sessionOpen: this.#operations.sessionOpen,
    };
  }

  leadershipChanged(): void {
    this.#operations.leadershipChanged();
    this.#waits.leadershipChanged(this.#deps.consensus.leadership().leaderId !== undefined);
  }

  snapshotInstalled(): void {
    this.#operations.snapshotInstalled();
  }

  applied(entry: AppliedEntry): void {
    for (const session of entry.sessionsOpened) {
      this.#operations.sessionOpened(session.nodeId, session.incarnation);
    }
    this.#operations.applied(entry);
    this.#waits.applied(entry);
  }

  execute(request: OperationRequest, timeoutMs: number): Promise<OperationOutcome> {
    return this.#operations.execute(request, timeoutMs);
  }

  waitResult(gid: string): Promise<WaitOutcome> {
    return this.#waits.wait(gid, this.#config.requestTimeoutMs + this.#config.waitGraceMs);
  }

  query(gid: string): Promise<ReadOutcome<Transaction | undefined>> {
    return this.#read(() => this.#deps.reads.load(gid));
  }

  list(filter: ListFilter): Promise<ReadOutcome<ListPage>> {
    return this.#readPage(() => this.#deps.reads.list(filter));
  }

  topics(filter: TopicFilter): Promise<ReadOutcome<TopicPage>> {
    return this.#readPage(() => this.#deps.reads.topics(filter));
  }

  dueLaterThan(afterMs: number, limit: number): Promise<ReadOutcome<readonly string[]>> {
    return this.#read(() => this.#deps.reads.dueAfter(this.#deps.logTimeNowMs() + afterMs, limit));
  }

  async #readPage<T>(load: () => Promise<T | undefined>): Promise<ReadOutcome<T>> {
    const outcome = await this.#read(load);
    if (outcome.kind !== 'value') return outcome;
    const page = outcome.value;
    return page === undefined ? { kind: 'badPosition' } : { kind: 'value', value: page };
  }

  async #read<T>(load: () => Promise<T>): Promise<ReadOutcome<T>> {
    try {
      await this.#deps.consensus.readIndex(this.#config.readTimeoutMs);
    } catch (error) {
      return {
        kind: 'refused',
        code: 'READ_TIMEOUT',
        message: `no majority confirmed the read in time: ${error instanceof Error ? error.message : String(error)}`,
        retryAfterMs: 1000,
      };
    }
    return { kind: 'value', value: await load() };
  }
}
