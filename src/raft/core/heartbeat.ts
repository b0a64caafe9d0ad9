// Heartbeat rounds: the leader's proof that a quorum still follows it.
//
// Owns: sending numbered rounds, and what their confirmation yields (the dispatch lease, reads).
// Does not own: when rounds are sent (leader.ts), replication.
//
// Invariants
//   H1. Rounds increase strictly for the life of a process; an answer confirms its round only.
//   H2. The lease is counted from the moment a confirmed round was *sent*: every node of the quorum
//       refuses to elect anyone for an election timeout after receiving it (thesis §6.4.1).
//   H3. A heartbeat never announces a commit beyond what the peer is known to hold.

import type { LeaderState } from './leader-state.ts';
import { quorumValue } from './quorum.ts';
import { attachReads, confirmReads, wantsRound } from './read-index.ts';
import type { Progress } from './replication/progress.ts';
import type { CoreState } from './state.ts';

/** Sends the next round to every peer; reads that wait ride on it. */
export function broadcastRound(state: CoreState, leader: LeaderState): void {
  state.round += 1;
  leader.roundTimes.record(state.round, state.nowMs);
  attachReads(state, leader);
  for (const peer of leader.peers) sendHeartbeat(state, peer);
  confirmRounds(state, leader);
}

/** Draws the consequences when a quorum has answered a newer round. */
export function confirmRounds(state: CoreState, leader: LeaderState): void {
  const confirmed = quorumValue(state.configuration, (id) =>
    id === state.nodeId ? state.round : (leader.progress.get(id)?.ackedRound ?? 0),
  );
  if (confirmed <= leader.confirmedRound) return;
  leader.confirmedRound = confirmed;
  const sentAtMs = leader.roundTimes.sentAt(confirmed);
  if (sentAtMs !== undefined && leader.leaseHold === undefined) leader.leaseStartMs = sentAtMs;
  confirmReads(state, leader);
  if (wantsRound(state, leader)) broadcastRound(state, leader);
}

function sendHeartbeat(state: CoreState, peer: Progress): void {
  const known = Math.min(peer.matchIndex, state.commitIndex);
  const knownTerm = state.trail.termAt(known);
  state.send({
    kind: 'heartbeat',
    ...state.header(peer.nodeId),
    round: state.round,
    // Below the base the term is forgotten: announce nothing rather than something unprovable.
    commitIndex: knownTerm === undefined ? 0 : known,
    commitTerm: knownTerm ?? 0,
  });
}
