// The state of a core, and the few operations on it that every role needs.
//
// Owns: term, vote, role, log, configuration, commit index, outbox. Does not own: policy; who calls
// what, and when, is in election.ts, follower.ts and leader.ts.
//
// Invariants
//   R1. term never decreases; within a term the vote is given at most once (paper §5.2).
//   R2. commitIndex never decreases and never exceeds the last index; nothing at or below it is
//       truncated (paper §5.4).
//   R3. A message that asserts a term, a vote or entries leaves after they are durable.
//
// Source: paper Fig. 2.

import { assertThat } from './assert.ts';
import type { CoreBug, CoreBugs } from './bugs.ts';
import type { LeaderState } from './leader-state.ts';
import { entryBytes } from './log/entry-size.ts';
import { Trail } from './log/trail.ts';
import { Window } from './log/window.ts';
import { Writes } from './log/writes.ts';
import { ConfigurationHistory } from './membership.ts';
import { Outbox } from './outbox.ts';
import { ForwardedReads } from './read-index.ts';
import type {
  BootId,
  Configuration,
  Entry,
  HardState,
  Instant,
  LogIndex,
  LogTimeMs,
  Message,
  MonotonicMs,
  NodeId,
  RaftConfig,
  RecoveredState,
  Role,
  SnapshotMeta,
  Term,
  WallMs,
} from './types.ts';

/** A ballot under way: pre-votes or votes, by node id so that repeats count once. */
export interface Ballot {
  readonly round: number;
  readonly granted: Set<NodeId>;
  readonly refused: Set<NodeId>;
  /** When the requests left, and the voters' wall clocks in the answers. */
  sentAtMs: MonotonicMs | undefined;
  readonly clocks: Map<NodeId, VoterClock>;
}

export interface VoterClock {
  readonly wallMs: WallMs;
  readonly receivedAt: Instant;
}

/** A leadership transfer. It outlives the leadership until its outcome is seen. */
export interface Transfer {
  readonly to: NodeId;
  readonly deadlineMs: MonotonicMs;
  timeoutNowSent: boolean;
}

export interface CoreDeps {
  readonly config: RaftConfig;
  readonly random: () => number;
  readonly bugs: CoreBugs;
}

export class CoreState {
  readonly nodeId: NodeId;
  readonly bootId: BootId;
  readonly config: RaftConfig;
  readonly random: () => number;
  readonly #bugs: CoreBugs;
  /** The time of the event being handled. */
  now: Instant = { monotonicMs: 0, wallMs: 0 };

  term: Term;
  vote: NodeId | undefined;
  role: Role = 'follower';
  leaderId: NodeId | undefined;

  readonly trail: Trail;
  readonly window: Window;
  readonly writes: Writes;
  readonly configurations: ConfigurationHistory;
  readonly outbox = new Outbox();
  commitIndex: LogIndex;
  appliedIndex: LogIndex;
  /** The largest log time seen; entries never carry less. */
  lastTimeMs: LogTimeMs;

  /** Boot ids seen, newest per node. */
  readonly boots = new Map<NodeId, BootId>();
  electionDeadlineMs: MonotonicMs = 0;
  /** Drawn anew whenever the role or the term changes (paper §5.2). */
  electionTimeoutMs = 0;
  ballot: Ballot | undefined;
  /** Distinguishes pre-vote ballots of this boot. */
  ballotRound = 0;
  /** Elections lost or split since a leader was last seen. */
  failedElections = 0;

  /** The last leader heard, kept when its term ends: the promise to it is one of time. */
  promisedTo: NodeId | undefined;
  /** When it was heard; this node votes for nobody else for an election timeout after that. */
  promisedAtMs: MonotonicMs | undefined;

  /** Cleared when the end of it is durable, so that nothing is promised before. */
  recovering: boolean;
  /** The write that ends `recovering` is under way. */
  isHealing = false;
  /** A commit index learned from a leader since this boot, to be held durably before voting. */
  healIndex: LogIndex | undefined;
  healRequest: { readonly requestId: number; readonly sentAtMs: MonotonicMs } | undefined;
  /** A snapshot that is being made effective. */
  installing: SnapshotMeta | undefined;

  /** Present exactly while `role` is leader. */
  leader: LeaderState | undefined;
  transfer: Transfer | undefined;
  readonly forwarded = new ForwardedReads();
  /** The newest heartbeat round of this boot. */
  round = 0;
  lastRequestId = 0;
  lastFetchId = 0;
  lastClockHandoverMs: MonotonicMs | undefined;
  #reported: { role: Role; term: Term; leaderId: NodeId | undefined };

  constructor(recovered: RecoveredState, deps: CoreDeps) {
    const { base, lastIndex, hardState } = recovered;
    this.nodeId = recovered.nodeId;
    this.bootId = recovered.bootId;
    this.config = deps.config;
    this.random = deps.random;
    this.#bugs = deps.bugs;
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.recovering = recovered.recovering;
    this.trail = Trail.recovered(base, recovered.termRuns, lastIndex);
    this.window = new Window(deps.config.windowBytesMax, lastIndex - recovered.tail.length + 1);
    for (const entry of recovered.tail) this.window.append(entry, entryBytes(entry));
    assertThat(this.window.nextIndex === lastIndex + 1, 'the recovered tail ends the log');
    this.window.evict(lastIndex);
    this.writes = new Writes(lastIndex, hardState);
    this.configurations = new ConfigurationHistory(base, recovered.configurations);
    this.lastTimeMs = recovered.lastTimeMs;
    assertThat(
      recovered.recovering || recovered.appliedIndex <= lastIndex,
      'the state is ahead of an undamaged log',
    );
    this.commitIndex = Math.max(base.index, Math.min(recovered.appliedIndex, lastIndex));
    this.appliedIndex = Math.min(recovered.appliedIndex, this.commitIndex);
    this.#reported = { role: 'follower', term: this.term, leaderId: undefined };
  }

  has(bug: CoreBug): boolean {
    return this.#bugs.has(bug);
  }

  get configuration(): Configuration {
    return this.configurations.current;
  }

  get lastIndex(): LogIndex {
    return this.trail.lastIndex;
  }

  get nowMs(): MonotonicMs {
    return this.now.monotonicMs;
  }

  /** What every message of this node begins with. */
  header(to: NodeId): { from: NodeId; to: NodeId; term: Term; fromBoot: BootId } {
    return { from: this.nodeId, to, term: this.term, fromBoot: this.bootId };
  }

  send(message: Message): void {
    this.outbox.send(message);
  }

  /** Answers with the current term, which has to be durable first (R3). */
  reply(message: Message): void {
    if (this.writes.durableHardState.term === this.term) this.outbox.send(message);
    else this.outbox.release(message);
  }

  setHardState(term: Term, vote: NodeId | undefined): void {
    assertThat(term >= this.term, `term ${term} after ${this.term}`);
    assertThat(
      term > this.term || this.vote === undefined || this.vote === vote,
      `second vote in term ${term}`,
    );
    this.term = term;
    this.vote = vote;
    const persisted: HardState = { term, vote: this.has('forgetVote') ? undefined : vote };
    this.outbox.persistHardState(persisted);
  }

  append(entry: Entry, bytes: number): void {
    assertThat(entry.term <= this.term, `entry of term ${entry.term} in term ${this.term}`);
    this.trail.append(entry.index, entry.term);
    this.window.append(entry, bytes);
    this.outbox.persistEntry(entry);
    if (entry.timeMs > this.lastTimeMs) this.lastTimeMs = entry.timeMs;
    if (entry.kind === 'configuration') {
      this.configurations.append(entry.index, entry.configuration);
    }
  }

  truncateFrom(index: LogIndex): void {
    assertThat(index > this.commitIndex, `truncation from ${index} of committed entries`);
    this.trail.truncateFrom(index);
    this.window.truncateFrom(index);
    this.writes.truncateFrom(index);
    this.configurations.truncateFrom(index);
    this.outbox.persistTruncation(index);
  }

  /** Returns whether the commit index moved. While a snapshot is being installed it stands still. */
  commitTo(index: LogIndex): boolean {
    if (index <= this.commitIndex || this.installing !== undefined) return false;
    assertThat(index <= this.lastIndex, `commit ${index} beyond the log's end ${this.lastIndex}`);
    this.commitIndex = index;
    this.outbox.emit({ kind: 'commit', index });
    return true;
  }

  nextRequestId(): number {
    this.lastRequestId += 1;
    return this.bootId * REQUESTS_PER_BOOT + this.lastRequestId;
  }

  drawElectionTimeout(): void {
    const { electionTimeoutMs } = this.config;
    this.electionTimeoutMs = electionTimeoutMs * (1 + ELECTION_TIMEOUT_SPREAD * this.random());
  }

  /** A delay after which a lost or split ballot is repeated. */
  drawRetryDelay(): number {
    const { electionRetryMsMin, electionRetryMsMax } = this.config;
    return electionRetryMsMin + this.random() * (electionRetryMsMax - electionRetryMsMin);
  }

  armElectionTimer(): void {
    this.electionDeadlineMs = this.nowMs + this.electionTimeoutMs;
  }

  /** Tells the driver of role, term and leader when any of them changed. */
  reportRole(): void {
    const { role, term, leaderId } = this;
    const before = this.#reported;
    if (before.role === role && before.term === term && before.leaderId === leaderId) return;
    this.#reported = { role, term, leaderId };
    this.outbox.role({ kind: 'role', role, term, leaderId });
  }

  flush(): void {
    const intended = { term: this.term, vote: this.vote };
    this.outbox.flush(this.writes, this.lastIndex, intended);
  }
}

/** Timeouts are drawn from [ET, 1.25 ET): stickiness needs that nobody is faster than ET. */
const ELECTION_TIMEOUT_SPREAD = 0.25;
/** Keeps request ids of different boots apart, so that a late answer is never taken for ours. */
const REQUESTS_PER_BOOT = 2 ** 26;
