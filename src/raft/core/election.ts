// Elections: pre-vote, vote, stickiness.
//
// Owns: campaigning, granting, ballots. Does not own: leadership (leader.ts), following
// (follower.ts).
//
// Invariants
//   E1. A pre-vote changes nothing on the node that is asked (thesis §9.6).
//   E2. RequestVote, and the own vote, count only when term and vote are durable.
//   E3. While a leader was heard within the election timeout, nobody else is helped into office,
//       except by a transfer (thesis §4.2.3, §6.4.1). The promise is one of time: a change of term
//       does not end it. A refused connection to the leader's port does: nobody listens there.
//   E4. A node that may have forgotten a promise at a restart keeps quiet for one election timeout.
//   E5. A node that recovers, installs a snapshot or has no vote never campaigns; one that recovers
//       never votes.

import { becomeLeader } from './leader.ts';
import { isSoleVoter, isVoter, voterIds } from './membership.ts';
import { tally } from './quorum.ts';
import { failForwardedReads } from './read-index.ts';
import { becomeFollower } from './roles.ts';
import type { Ballot, CoreState } from './state.ts';
import type {
  LogIndex,
  NodeId,
  PreVote,
  PreVoteResponse,
  RequestVote,
  RequestVoteResponse,
  Term,
  TimeoutNow,
} from './types.ts';

/** The first event of a boot: one normal timeout passes before the first campaign. */
export function openElections(state: CoreState): void {
  state.drawElectionTimeout();
  state.armElectionTimer();
  // Nobody can be heard who could lead, so waiting for a leader is pointless.
  if (isSoleVoter(state.configuration, state.nodeId)) state.electionDeadlineMs = state.nowMs;
  // A first boot, or one before any term, has promised nothing (E4).
  if (state.bootId > 1 && state.term > 0) state.promisedAtMs = state.nowMs;
}

export function onElectionTimeout(state: CoreState): void {
  if (state.nowMs < state.electionDeadlineMs) return;
  if (state.role === 'candidate') state.failedElections += 1;
  if (!mayCampaign(state)) {
    becomeFollower(state, state.term, undefined);
    return;
  }
  startPreVote(state);
}

/** Nobody listens on the peer port of `peer`: if it led, it does not any more (E3). */
export function onRefused(state: CoreState, peer: NodeId): void {
  if (state.promisedTo === peer) state.promisedAtMs = undefined;
  if (state.role !== 'follower' || state.leaderId !== peer) return;
  const atMs = state.nowMs + state.random() * state.config.refusedDelayMsMax;
  state.electionDeadlineMs = Math.min(state.electionDeadlineMs, atMs);
}

function mayVote(state: CoreState): boolean {
  return !state.recovering || state.has('voteWhileRecovering');
}

function mayCampaign(state: CoreState): boolean {
  if (state.installing !== undefined || !mayVote(state)) return false;
  return isVoter(state.configuration, state.nodeId);
}

// ---------------------------------------------------------------------------------- campaigning

function startPreVote(state: CoreState): void {
  state.role = 'preCandidate';
  state.leaderId = undefined;
  failForwardedReads(state);
  state.ballotRound += 1;
  state.ballot = newBallot(state.ballotRound, [state.nodeId]);
  state.electionDeadlineMs = state.nowMs + state.drawRetryDelay();
  state.reportRole();
  for (const to of voterIds(state.configuration)) {
    if (to === state.nodeId) continue;
    state.send({
      kind: 'preVote',
      ...state.header(to),
      term: state.term + 1,
      round: state.ballotRound,
      lastLogIndex: state.lastIndex,
      lastLogTerm: state.trail.lastTerm,
    });
  }
  countBallot(state);
}

function newBallot(round: number, granted: readonly NodeId[]): Ballot {
  return {
    round,
    granted: new Set(granted),
    refused: new Set(),
    sentAtMs: undefined,
    clocks: new Map(),
  };
}

/** Campaigns in the next term. The requests and the own vote wait for the disk (E2). */
function startElection(state: CoreState, transfer: boolean): void {
  state.setHardState(state.term + 1, state.nodeId);
  state.role = 'candidate';
  state.leaderId = undefined;
  failForwardedReads(state);
  state.ballot = newBallot(0, []);
  // Repeated at once when split; a voter with a slow disk gets more time with every attempt.
  const patience = 2 ** Math.min(state.failedElections, PATIENCE_DOUBLINGS_MAX);
  const delayMs = Math.min(state.drawRetryDelay() * patience, state.electionTimeoutMs);
  state.electionDeadlineMs = state.nowMs + delayMs;
  state.reportRole();
  for (const to of voterIds(state.configuration)) {
    if (to === state.nodeId) continue;
    state.outbox.release({
      kind: 'requestVote',
      ...state.header(to),
      lastLogIndex: state.lastIndex,
      lastLogTerm: state.trail.lastTerm,
      transfer,
    });
  }
}

/** A write completed: a candidate may count its own vote. */
export function onOwnVoteDurable(state: CoreState): void {
  if (state.role !== 'candidate' || state.ballot === undefined) return;
  const { term, vote } = state.writes.durableHardState;
  if (term !== state.term || vote !== state.nodeId || state.ballot.granted.has(vote)) return;
  state.ballot.granted.add(vote);
  state.ballot.sentAtMs = state.nowMs;
  countBallot(state);
}

/** The leader makes way for this node: no pre-vote, and stickiness does not apply. */
export function onTimeoutNow(state: CoreState, message: TimeoutNow): void {
  if (state.role !== 'follower' || state.leaderId !== message.from) return;
  if (mayCampaign(state)) startElection(state, true);
}

export function onPreVoteResponse(state: CoreState, message: PreVoteResponse): void {
  const { ballot } = state;
  if (state.role !== 'preCandidate' || ballot?.round !== message.round) return;
  if (message.granted && message.term !== state.term + 1) return;
  (message.granted ? ballot.granted : ballot.refused).add(message.from);
  countBallot(state);
}

export function onRequestVoteResponse(state: CoreState, message: RequestVoteResponse): void {
  if (state.role !== 'candidate' || state.ballot === undefined) return;
  const { granted, refused, clocks } = state.ballot;
  (message.granted ? granted : refused).add(message.from);
  const { from, wallMs } = message;
  if (wallMs !== undefined) clocks.set(from, { wallMs, receivedAt: state.now });
  countBallot(state);
}

function countBallot(state: CoreState): void {
  const { ballot } = state;
  if (ballot === undefined) return;
  switch (tally(state.configuration, ballot.granted, ballot.refused)) {
    case 'undecided':
      return;
    case 'won':
      if (state.role === 'preCandidate') startElection(state, false);
      else becomeLeader(state);
      return;
    case 'lost':
      if (state.role === 'candidate') state.failedElections += 1;
      retryLater(state, state.term);
  }
}

/** Back to follower, with the next attempt soon: the ballot is known to be lost. */
export function retryLater(state: CoreState, term: Term): void {
  becomeFollower(state, term, undefined);
  state.electionDeadlineMs = state.nowMs + state.drawRetryDelay();
}

// ------------------------------------------------------------------------------------- granting

/** Whether this node has promised not to help anyone but its leader into office (E3, E4). */
export function isSticky(state: CoreState, candidate: NodeId): boolean {
  if (state.has('noStickiness')) return false;
  if (state.role === 'leader') return true;
  if (state.promisedAtMs === undefined || state.promisedTo === candidate) return false;
  return state.nowMs - state.promisedAtMs < state.config.electionTimeoutMs;
}

export function onPreVote(state: CoreState, message: PreVote): void {
  const granted =
    message.term > state.term &&
    mayVote(state) &&
    !isSticky(state, message.from) &&
    isUpToDate(state, message.lastLogIndex, message.lastLogTerm);
  const response = {
    kind: 'preVoteResponse' as const,
    ...state.header(message.from),
    granted,
    round: message.round,
  };
  if (granted) state.send({ ...response, term: message.term });
  else state.reply(response);
}

/** Handles a request of the current term. */
export function onRequestVote(state: CoreState, message: RequestVote): void {
  const granted =
    state.role === 'follower' &&
    mayVote(state) &&
    (state.vote === undefined || state.vote === message.from) &&
    (state.leaderId === undefined || state.vote === message.from) &&
    isUpToDate(state, message.lastLogIndex, message.lastLogTerm);
  if (!granted) {
    refuseVote(state, message);
    return;
  }
  if (state.vote === undefined) state.setHardState(state.term, message.from);
  state.armElectionTimer();
  state.outbox.release({
    kind: 'requestVoteResponse',
    ...state.header(message.from),
    granted: true,
    wallMs: state.now.wallMs,
  });
}

export function refuseVote(state: CoreState, message: RequestVote): void {
  state.reply({ kind: 'requestVoteResponse', ...state.header(message.from), granted: false });
}

/** Lexicographic: the last term decides, then the length (paper §5.4.1). */
function isUpToDate(state: CoreState, lastLogIndex: LogIndex, lastLogTerm: Term): boolean {
  const ownTerm = state.trail.lastTerm;
  if (lastLogTerm !== ownTerm) return lastLogTerm > ownTerm;
  return lastLogIndex >= state.lastIndex;
}

/** Beyond 2^6 × the longest retry delay the election timeout is the bound anyway. */
const PATIENCE_DOUBLINGS_MAX = 6;
