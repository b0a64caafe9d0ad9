// The leader: appending, counting, committing, staying leader.
//
// Owns: becoming leader, proposals, answers of peers, the commit rule, check-quorum, cluster time's
// upkeep. Does not own: what is sent to a peer (replication/), rounds (heartbeat.ts), reads, transfers.
//
// Invariants
//   L1. Only an entry of the current term is committed by counting (paper §5.4.2, Figure 8).
//   L2. The leader counts itself for what is durable here, not for what it has sent.
//   L3. A leader that a quorum has not answered for an election timeout steps down (thesis §6.2).
//   L4. Nothing is appended while leadership is being handed over.

import { assertThat } from './assert.ts';
import { ClusterClock } from './cluster-time.ts';
import { broadcastRound, confirmRounds } from './heartbeat.ts';
import { type LeaderState, RoundTimes } from './leader-state.ts';
import { commandsBytes, entryBytes } from './log/entry-size.ts';
import { memberIds } from './membership.ts';
import { quorumValue } from './quorum.ts';
import { addRead, failReads, PendingReads, wantsRound } from './read-index.ts';
import { Progress } from './replication/progress.ts';
import {
  pushCommit,
  replicateTo,
  replicateToAll,
  resume,
  sendEmptyAppend,
} from './replication/replicate.ts';
import { UncommittedBytes } from './replication/uncommitted.ts';
import { becomeFollower } from './roles.ts';
import type { CoreState } from './state.ts';
import {
  beginTransfer,
  continueTransfer,
  endTransfer,
  expireTransfer,
  mostCaughtUp,
} from './transfer.ts';
import type {
  AppendEntriesResponse,
  Entry,
  HeartbeatResponse,
  LogIndex,
  LogTimeMs,
  NodeId,
  ProposeResult,
  ReadIndexRequest,
} from './types.ts';

/** The share of the election timeout for which a confirmed round allows calls to participants. */
const LEASE_SHARE = 0.8;
/** A leader with a bad clock tries to hand over at most this often. */
const CLOCK_HANDOVER_INTERVAL_MS = 30_000;

/** Takes up leadership of the current term, with an entry of its own (paper §8). */
export function becomeLeader(state: CoreState): void {
  assertThat(state.role === 'candidate' && state.vote === state.nodeId, 'only winners lead');
  endTransfer(state, false);
  state.role = 'leader';
  state.leaderId = state.nodeId;
  state.failedElections = 0;
  const leader = newLeaderState(state);
  learnVotersClocks(state, leader);
  state.ballot = undefined;
  state.leader = leader;
  state.reportRole();
  leader.clock.evaluate(state.configuration, state.nodeId, state.now);
  if (!state.has('dropOwnTermNoop')) {
    appendOwn(state, leader, {
      kind: 'noop',
      index: state.lastIndex + 1,
      term: state.term,
      timeMs: nextTimeMs(state, leader),
    });
  }
  broadcastRound(state, leader);
  replicateToAll(state, leader);
}

function newLeaderState(state: CoreState): LeaderState {
  const progress = new Map<NodeId, Progress>();
  const at = { lastIndex: state.lastIndex, nowMs: state.nowMs };
  for (const id of memberIds(state.configuration)) {
    if (id !== state.nodeId) progress.set(id, new Progress(id, state.boots.get(id), at));
  }
  return {
    peers: [...progress.values()],
    progress,
    ownTermIndex: state.has('dropOwnTermNoop') ? state.commitIndex : state.lastIndex + 1,
    firstRound: state.round + 1,
    confirmedRound: 0,
    roundTimes: new RoundTimes(),
    heartbeatDeadlineMs: state.nowMs + state.config.heartbeatIntervalMs,
    checkQuorumDeadlineMs: state.nowMs + state.config.electionTimeoutMs,
    leaseStartMs: undefined,
    leaseHold: undefined,
    reads: new PendingReads(),
    uncommitted: new UncommittedBytes(state.lastIndex + 1),
    clock: new ClusterClock(state.lastTimeMs, state.now),
    suspectSinceMs: undefined,
  };
}

/**
 * The quorum that voted has told its wall clocks: time that passed without a leader is made up for
 * before the first command is stamped, so that none is old as soon as it is committed.
 */
function learnVotersClocks(state: CoreState, leader: LeaderState): void {
  const { ballot } = state;
  if (ballot?.sentAtMs === undefined) return;
  for (const [nodeId, { wallMs, receivedAt }] of ballot.clocks) {
    leader.clock.sample(nodeId, wallMs, ballot.sentAtMs, receivedAt);
  }
}

/** Appends one entry with all commands, or says why not. */
export function propose(state: CoreState, commands: readonly Uint8Array[]): ProposeResult {
  assertThat(commands.length > 0, 'a commands entry has at least one command');
  const { leader, leaderId, term } = state;
  if (leader === undefined) return { accepted: false, reason: 'notLeader', leaderId, term };
  if (state.transfer !== undefined) {
    return { accepted: false, reason: 'transferring', leaderId, term };
  }
  const bytes = commandsBytes(commands);
  const pending = leader.uncommitted.bytes;
  if (pending > 0 && pending + bytes > state.config.uncommittedBytesMax) {
    return { accepted: false, reason: 'overloaded', leaderId, term };
  }
  const index = state.lastIndex + 1;
  const timeMs = nextTimeMs(state, leader);
  appendOwn(state, leader, { kind: 'commands', index, term, timeMs, commands });
  replicateToAll(state, leader);
  return { accepted: true, term, index };
}

function appendOwn(state: CoreState, leader: LeaderState, entry: Entry): void {
  const bytes = entryBytes(entry);
  state.append(entry, bytes);
  // The bound is for work; what leadership itself appends is never refused and never counted.
  leader.uncommitted.append(entry.index, entry.kind === 'commands' ? bytes : 0);
  if (state.has('countSelfBeforeFsync')) advanceCommit(state, leader);
}

function nextTimeMs(state: CoreState, leader: LeaderState): LogTimeMs {
  return Math.max(state.lastTimeMs, leader.clock.read(state.now));
}

// ------------------------------------------------------------------------------------ counting

/** Commits what a quorum holds durably. */
export function advanceCommit(state: CoreState, leader: LeaderState): void {
  const own = state.has('countSelfBeforeFsync') ? state.lastIndex : state.writes.durableIndex;
  const index = quorumValue(state.configuration, (id) =>
    id === state.nodeId ? own : (leader.progress.get(id)?.matchIndex ?? 0),
  );
  if (index <= state.commitIndex) return;
  if (state.trail.termAt(index) !== state.term && !state.has('commitOldTermByCounting')) return;
  if (!state.commitTo(index)) return;
  leader.uncommitted.commitTo(index);
  if (wantsRound(state, leader)) broadcastRound(state, leader);
}

/** A write of this node completed: it may count itself for more (L2). */
export function onOwnWriteDurable(state: CoreState, leader: LeaderState): void {
  advanceCommit(state, leader);
  pushCommit(state, leader);
}

// ----------------------------------------------------------------------------- answers of peers

export function onAppendResponse(
  state: CoreState,
  leader: LeaderState,
  message: AppendEntriesResponse,
): void {
  const peer = leader.progress.get(message.from);
  if (peer === undefined) return;
  if (message.toBoot !== state.bootId && !state.has('staleAckAccepted')) return;
  noteContact(state, peer);
  const { result } = message;
  if (result.accepted) {
    onAccepted(state, leader, peer, result.matchIndex);
  } else {
    // Skips in one step what lies above the last possible agreement (paper §5.3, end).
    const { rejectedIndex, hintIndex, hintTerm } = result;
    const agree = state.trail.lastWithTermAtMost(hintIndex, hintTerm);
    peer.reject(rejectedIndex, agree ?? state.trail.baseIndex - 1);
  }
  replicateTo(state, peer);
  pushCommit(state, leader);
}

function onAccepted(
  state: CoreState,
  leader: LeaderState,
  peer: Progress,
  matchIndex: LogIndex,
): void {
  assertThat(matchIndex <= state.lastIndex, `node ${peer.nodeId} matches ${matchIndex}, unknown`);
  const news = peer.acknowledge(matchIndex);
  // A pending snapshot is moot once the peer can continue from the log.
  const canContinue = peer.state === 'probe' || peer.matchIndex >= state.trail.baseIndex;
  if (peer.state !== 'replicate' && canContinue) peer.becomeReplicate();
  if (!news) return;
  advanceCommit(state, leader);
  continueTransfer(state, leader, peer);
}

export function onHeartbeatResponse(
  state: CoreState,
  leader: LeaderState,
  message: HeartbeatResponse,
): void {
  const peer = leader.progress.get(message.from);
  if (peer === undefined) return;
  noteContact(state, peer);
  const { round } = message;
  if (round >= leader.firstRound && round <= state.round) {
    if (round > peer.ackedRound) peer.ackedRound = round;
    const sentAtMs = leader.roundTimes.sentAt(round);
    if (sentAtMs !== undefined) {
      leader.clock.sample(peer.nodeId, message.wallMs, sentAtMs, state.now);
      if (!leader.clock.tookOver) evaluateClock(state, leader);
    }
    liftLeaseHold(state, leader);
    confirmRounds(state, leader);
  }
  resume(state, peer);
}

function noteContact(state: CoreState, peer: Progress): void {
  peer.lastContactMs = state.nowMs;
  peer.hasAnswered = true;
}

/** A peer's process restarted: nothing that an earlier boot acknowledged is known to be there. */
export function onPeerReboot(state: CoreState, leader: LeaderState, peerId: NodeId): void {
  const bootId = state.boots.get(peerId);
  const peer = leader.progress.get(peerId);
  if (peer === undefined || bootId === undefined) return;
  // First heard of in this leadership: nothing was acknowledged by any boot.
  if (peer.bootId === undefined) peer.bootId = bootId;
  else peer.rebooted(bootId, state.lastIndex);
}

/** What was sent may be lost: find the common prefix again, once the peer answers. */
export function onPeerUnreachable(leader: LeaderState, peerId: NodeId): void {
  const peer = leader.progress.get(peerId);
  if (peer === undefined || peer.state === 'snapshot') return;
  if (peer.state === 'replicate') peer.becomeProbe(peer.matchIndex + 1);
  peer.paused = true;
}

export function onCommitInterest(
  state: CoreState,
  leader: LeaderState,
  peerId: NodeId,
  index: LogIndex,
): void {
  const peer = leader.progress.get(peerId);
  if (peer === undefined) return;
  if (index <= state.commitIndex) {
    const reachable = Math.min(state.commitIndex, peer.nextIndex - 1);
    if (peer.state === 'replicate' && peer.commitSent < reachable) sendEmptyAppend(state, peer);
    return;
  }
  peer.interestFrom = peer.interestFrom === 0 ? index : Math.min(peer.interestFrom, index);
  peer.interestTo = Math.max(peer.interestTo, index);
}

// --------------------------------------------------------------------------------------- reads

export function readOnLeader(
  state: CoreState,
  leader: LeaderState,
  read: number | ReadIndexRequest,
): void {
  if (addRead(state, leader, read) === 'startRound') broadcastRound(state, leader);
}

// ---------------------------------------------------------------------------------------- time

export function onLeaderTimeout(state: CoreState, leader: LeaderState): void {
  expireTransfer(state);
  liftLeaseHold(state, leader);
  if (state.nowMs >= leader.checkQuorumDeadlineMs && !hasQuorumContact(state, leader)) {
    becomeFollower(state, state.term, undefined);
    return;
  }
  if (state.nowMs < leader.heartbeatDeadlineMs) return;
  // A fixed grid: missed periods are skipped, not made up for, and do not drift into phase.
  const interval = state.config.heartbeatIntervalMs;
  const missed = Math.floor((state.nowMs - leader.heartbeatDeadlineMs) / interval);
  leader.heartbeatDeadlineMs += (missed + 1) * interval;
  evaluateClock(state, leader);
  broadcastRound(state, leader);
  handOverForClock(state, leader);
}

/** Whether a quorum answered within an election timeout (L3); sets the next moment to ask. */
function hasQuorumContact(state: CoreState, leader: LeaderState): boolean {
  const contactMs = quorumValue(state.configuration, (id) =>
    id === state.nodeId
      ? state.nowMs
      : (leader.progress.get(id)?.lastContactMs ?? Number.NEGATIVE_INFINITY),
  );
  leader.checkQuorumDeadlineMs = Math.min(contactMs, state.nowMs) + state.config.electionTimeoutMs;
  return leader.checkQuorumDeadlineMs > state.nowMs;
}

/** The lease may return when the target of a TimeoutNow is known to follow on. */
function liftLeaseHold(state: CoreState, leader: LeaderState): void {
  const hold = leader.leaseHold;
  if (hold === undefined || state.transfer !== undefined) return;
  const acked = leader.progress.get(hold.peer)?.ackedRound ?? 0;
  if (acked > hold.round || state.nowMs >= hold.untilMs) leader.leaseHold = undefined;
}

/** Participants may be called before this moment; 0 when they may not. */
export function leaseUntilMs(state: CoreState): number {
  const startMs = state.leader?.leaseStartMs;
  return startMs === undefined ? 0 : startMs + LEASE_SHARE * state.config.electionTimeoutMs;
}

function evaluateClock(state: CoreState, leader: LeaderState): void {
  leader.clock.evaluate(state.configuration, state.nodeId, state.now);
  if (!leader.clock.suspect) leader.suspectSinceMs = undefined;
  else leader.suspectSinceMs ??= state.nowMs;
}

/** A leader whose wall clock is at odds with a quorum makes way for one whose clock is not. */
function handOverForClock(state: CoreState, leader: LeaderState): void {
  const sinceMs = leader.suspectSinceMs;
  if (sinceMs === undefined || state.nowMs - sinceMs < state.config.electionTimeoutMs) return;
  const triedAtMs = state.lastClockHandoverMs;
  if (triedAtMs !== undefined && state.nowMs - triedAtMs < CLOCK_HANDOVER_INTERVAL_MS) return;
  if (state.transfer !== undefined) return;
  const accept = (id: NodeId): boolean =>
    leader.clock.agrees(id, state.now, state.configuration, state.nodeId);
  const target = mostCaughtUp(state, leader, accept);
  if (target === undefined) return;
  state.lastClockHandoverMs = state.nowMs;
  startTransfer(state, leader, target.nodeId);
}

/** Hands leadership to `to`, or to the voter that is furthest along. Waiting reads fail. */
export function startTransfer(state: CoreState, leader: LeaderState, to: NodeId | undefined): void {
  beginTransfer(state, leader, to);
  if (state.transfer !== undefined) failReads(state, leader);
}
