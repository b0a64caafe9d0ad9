// The view of a core that operators and the driver get. Reads only.

import { leaseUntilMs } from './leader.ts';
import type { CoreState } from './state.ts';
import type { PeerStatus, RaftStatus } from './types.ts';

export function statusOf(state: CoreState): RaftStatus {
  const { leader, trail } = state;
  return {
    nodeId: state.nodeId,
    bootId: state.bootId,
    role: state.role,
    term: state.term,
    vote: state.vote,
    leaderId: state.leaderId,
    commitIndex: state.commitIndex,
    lastIndex: trail.lastIndex,
    durableIndex: state.writes.durableIndex,
    firstIndex: trail.baseIndex + 1,
    appliedIndex: state.appliedIndex,
    recovering: state.recovering,
    configuration: state.configuration,
    ownTermIndex: leader?.ownTermIndex,
    leaseUntilMs: leaseUntilMs(state),
    uncommittedBytes: leader?.uncommitted.bytes ?? 0,
    clockSuspect: leader?.clock.suspect ?? false,
    transferTo: state.transfer?.to,
    leaderContactMs: leaderContactMs(state),
    peers: peersOf(state),
  };
}

function leaderContactMs(state: CoreState): number | undefined {
  if (state.leader !== undefined) return state.nowMs;
  return state.leaderId === state.promisedTo && state.leaderId !== undefined
    ? state.promisedAtMs
    : undefined;
}

function peersOf(state: CoreState): readonly PeerStatus[] {
  const { leader } = state;
  if (leader === undefined) return [];
  return leader.peers.map((peer) => ({
    nodeId: peer.nodeId,
    bootId: peer.bootId,
    matchIndex: peer.matchIndex,
    nextIndex: peer.nextIndex,
    state: peer.state,
    inflightBytes: peer.inflights.bytes,
    lastContactMs: peer.hasAnswered ? peer.lastContactMs : undefined,
    clockOffsetMs: leader.clock.offsetOf(peer.nodeId, state.now),
  }));
}
