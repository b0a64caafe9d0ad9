// The consensus state machine of one node: events in, effects out.
//
// Owns: dispatch. Each event is handled to completion at the time it carries; the effects are
// collected by `drain`. Policy lives in election.ts, follower.ts, leader.ts and their helpers.
//
// Contract with the driver
//   1. Writes complete in the order of their `persist` effects; `release` messages leave after that.
//   2. A `persist` effect without content exists only to release messages behind earlier writes.
//   3. `commit` may run ahead of what is durable here; entries come from `entries` or from the log.
//   4. Right after opening, a `timeout` event is stepped to arm the timers.
//   5. An exception is a broken invariant: the core must not be used any more.
//
// Sources: Ongaro & Ousterhout 2014; Ongaro's thesis; docs/architecture.md §Consensus.

import { assertThat } from './assert.ts';
import { type CoreBugs, NO_BUGS } from './bugs.ts';
import {
  onElectionTimeout,
  onOwnVoteDurable,
  onPreVote,
  onPreVoteResponse,
  onRefused,
  onRequestVote,
  onRequestVoteResponse,
  onTimeoutNow,
  openElections,
} from './election.ts';
import {
  heal,
  onAppendEntries,
  onCompacted,
  onHealResponse,
  onHeartbeat,
  onSnapshotInstalled,
  onSnapshotReceived,
} from './follower.ts';
import { admit } from './gate.ts';
import { checkAll, checkAlways, type Marks } from './invariants.ts';
import {
  leaseUntilMs,
  onAppendResponse,
  onCommitInterest,
  onHeartbeatResponse,
  onLeaderTimeout,
  onOwnWriteDurable,
  onPeerUnreachable,
  propose,
  readOnLeader,
  startTransfer,
} from './leader.ts';
import type { LeaderState } from './leader-state.ts';
import {
  expireForwardedReads,
  forwardRead,
  onReadIndexResponse,
  refuseReadRequest,
} from './read-index.ts';
import { onFetched, onSnapshotSent } from './replication/replicate.ts';
import { CoreState } from './state.ts';
import { statusOf } from './status.ts';
import { endTransfer } from './transfer.ts';
import type {
  Entry,
  Instant,
  LogIndex,
  LogTimeMs,
  Message,
  MonotonicMs,
  NodeId,
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

type SnapshotEvent = Extract<
  RaftEvent,
  { readonly kind: 'compacted' | 'snapshotReceived' | 'snapshotInstalled' }
>;
type LeaderEvent = Extract<
  RaftEvent,
  { readonly kind: 'fetched' | 'commitInterest' | 'snapshotSent' }
>;

export class RaftCore {
  readonly #state: CoreState;
  readonly #marks: Marks;
  #isOpen = false;

  /** `random` is uniform in [0, 1) and seeded differently on every node. */
  constructor(
    recovered: RecoveredState,
    config: RaftConfig,
    random: () => number,
    options: RaftCoreOptions = {},
  ) {
    this.#state = new CoreState(recovered, { config, random, bugs: options.bugs ?? NO_BUGS });
    this.#marks = { term: this.#state.term, commitIndex: this.#state.commitIndex };
  }

  /**
   * Handles one event to completion.
   * @throws {InvariantViolation} for a bug here or a peer that breaks the protocol.
   */
  step(event: RaftEvent, now: Instant): void {
    this.#begin(now);
    this.#handle(event);
    this.#end();
  }

  /** Appends one entry with all `commands` (at least one), or says why nothing was appended. */
  propose(commands: readonly Uint8Array[], now: Instant): ProposeResult {
    this.#begin(now);
    const result = propose(this.#state, commands);
    this.#end();
    return result;
  }

  /** The effects since the last call, in order. */
  drain(): readonly RaftEffect[] {
    return this.#state.outbox.drain();
  }

  /** When a `timeout` event is due. 0 until the first event. */
  nextDeadlineMs(): MonotonicMs {
    const state = this.#state;
    if (!this.#isOpen) return 0;
    const transferMs = state.transfer?.deadlineMs ?? Number.POSITIVE_INFINITY;
    if (state.leader !== undefined) {
      const { heartbeatDeadlineMs, checkQuorumDeadlineMs } = state.leader;
      return Math.min(heartbeatDeadlineMs, checkQuorumDeadlineMs, transferMs);
    }
    const readsMs = state.forwarded.request?.deadlineMs ?? Number.POSITIVE_INFINITY;
    return Math.min(state.electionDeadlineMs, readsMs, transferMs);
  }

  status(now: Instant): RaftStatus {
    const state = this.#state;
    if (now.monotonicMs > state.nowMs) state.now = now;
    return statusOf(state);
  }

  /** Entries `[from, to)` if all of them are in memory. */
  entries(from: LogIndex, to: LogIndex): readonly Entry[] | undefined {
    return this.#state.window.slice(from, to);
  }

  /** Participants may be called before this moment; 0 when they may not. */
  leaseUntilMs(): MonotonicMs {
    return leaseUntilMs(this.#state);
  }

  /** Up to here this node's log is on stable storage; what was there before a truncation is not. */
  durableIndex(): LogIndex {
    return this.#state.writes.durableIndex;
  }

  /** Leader: cluster time now. Others: the last time seen in the log. */
  logTimeNowMs(now: Instant): LogTimeMs {
    const { leader, lastTimeMs } = this.#state;
    return leader === undefined ? lastTimeMs : Math.max(lastTimeMs, leader.clock.read(now));
  }

  /**
   * Checks everything that must hold within this node; a part of it is checked after every step.
   * @throws {InvariantViolation}
   */
  invariants(): void {
    checkAlways(this.#state, this.#marks);
    checkAll(this.#state);
  }

  #begin(now: Instant): void {
    const state = this.#state;
    state.now = now;
    if (this.#isOpen) return;
    this.#isOpen = true;
    openElections(state);
  }

  #end(): void {
    const state = this.#state;
    state.flush();
    state.window.evict(state.writes.durableIndex);
    checkAlways(state, this.#marks);
  }

  #handle(event: RaftEvent): void {
    const state = this.#state;
    const { leader } = state;
    switch (event.kind) {
      case 'timeout':
        this.#onTimeout();
        return;
      case 'receive':
        if (admit(state, event.message)) this.#receive(event.message);
        return;
      case 'persisted':
        this.#onPersisted(event.writeId);
        return;
      case 'fetched':
      case 'commitInterest':
      case 'snapshotSent':
        if (leader !== undefined) this.#onLeaderEvent(event, leader);
        return;
      case 'applied':
        this.#onApplied(event.index);
        return;
      case 'compacted':
      case 'snapshotReceived':
      case 'snapshotInstalled':
        this.#onSnapshotEvent(event);
        return;
      case 'readIndex':
        if (leader === undefined) forwardRead(state, event.readId);
        else readOnLeader(state, leader, event.readId);
        return;
      case 'transferLeadership':
        this.#onTransfer(event.to);
        return;
      case 'unreachable':
      case 'refused':
        if (leader !== undefined) onPeerUnreachable(leader, event.peer);
        else if (event.kind === 'refused') onRefused(state, event.peer);
        return;
    }
  }

  /** What only a leader waits for; to anyone else it comes too late. */
  #onLeaderEvent(event: LeaderEvent, leader: LeaderState): void {
    const state = this.#state;
    switch (event.kind) {
      case 'fetched':
        onFetched(state, leader, event.fetchId, event.entries);
        return;
      case 'commitInterest':
        onCommitInterest(state, leader, event.peer, event.index);
        return;
      case 'snapshotSent': {
        const peer = leader.progress.get(event.to);
        if (peer !== undefined) onSnapshotSent(state, peer, event.meta, event.ok);
        return;
      }
    }
  }

  #onSnapshotEvent(event: SnapshotEvent): void {
    const state = this.#state;
    switch (event.kind) {
      case 'compacted':
        onCompacted(state, event.index, event.term);
        return;
      case 'snapshotReceived':
        onSnapshotReceived(state, event.from, event.meta);
        return;
      case 'snapshotInstalled':
        onSnapshotInstalled(state, event.meta);
        return;
    }
  }

  #receive(message: Message): void {
    const state = this.#state;
    const { leader } = state;
    switch (message.kind) {
      case 'preVote':
        onPreVote(state, message);
        return;
      case 'preVoteResponse':
        onPreVoteResponse(state, message);
        return;
      case 'requestVote':
        onRequestVote(state, message);
        return;
      case 'requestVoteResponse':
        onRequestVoteResponse(state, message);
        return;
      case 'appendEntries':
        onAppendEntries(state, message);
        return;
      case 'appendEntriesResponse':
        if (leader !== undefined) onAppendResponse(state, leader, message);
        return;
      case 'heartbeat':
        onHeartbeat(state, message);
        return;
      case 'heartbeatResponse':
        if (leader !== undefined) onHeartbeatResponse(state, leader, message);
        return;
      case 'timeoutNow':
        onTimeoutNow(state, message);
        return;
      case 'readIndexRequest':
        if (leader === undefined) refuseReadRequest(state, message);
        else readOnLeader(state, leader, message);
        return;
      case 'readIndexResponse':
        if (!onHealResponse(state, message)) onReadIndexResponse(state, message);
        return;
    }
  }

  #onTimeout(): void {
    const state = this.#state;
    if (state.leader !== undefined) {
      onLeaderTimeout(state, state.leader);
      return;
    }
    // A transfer that this node began and whose successor was never seen.
    if (state.transfer !== undefined && state.nowMs >= state.transfer.deadlineMs) {
      endTransfer(state, false);
    }
    expireForwardedReads(state);
    onElectionTimeout(state);
  }

  #onPersisted(writeId: number): void {
    const state = this.#state;
    state.writes.complete(writeId);
    if (state.leader !== undefined) onOwnWriteDurable(state, state.leader);
    else onOwnVoteDurable(state);
    heal(state);
  }

  #onApplied(index: LogIndex): void {
    const state = this.#state;
    // A recovering node may have applied more than its damaged log still proves.
    assertThat(index <= state.commitIndex || state.recovering, 'applied ≤ committed');
    state.appliedIndex = Math.max(state.appliedIndex, Math.min(index, state.commitIndex));
  }

  #onTransfer(to: NodeId | undefined): void {
    const state = this.#state;
    if (state.leader === undefined) state.outbox.emit({ kind: 'transferEnded', ok: false });
    else startTransfer(state, state.leader, to);
  }
}
