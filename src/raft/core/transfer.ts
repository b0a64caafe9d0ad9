// Leadership transfer (thesis §3.10), the leader's side.
//
// Owns: choosing a target, letting it catch up, TimeoutNow, the outcome. Does not own: the target's
// election (election.ts).
//
// Invariants
//   T1. One transfer at a time; a second one to another node replaces the first.
//   T2. The dispatch lease ends before TimeoutNow leaves, because the target's election overrides
//       stickiness; it stays away until the target is known not to have started one.
//   T3. Every transfer ends with exactly one `transferEnded`.

import type { LeaderState } from './leader-state.ts';
import { isVoter } from './membership.ts';
import type { Progress } from './replication/progress.ts';
import type { CoreState } from './state.ts';
import type { NodeId } from './types.ts';

/** A TimeoutNow older than this many election timeouts is taken to be lost. */
const TIMEOUT_NOW_LIFE = 2;

export function beginTransfer(state: CoreState, leader: LeaderState, to: NodeId | undefined): void {
  const target = to === undefined ? mostCaughtUp(state, leader) : leader.progress.get(to);
  if (target === undefined || !isVoter(state.configuration, target.nodeId)) {
    state.outbox.emit({ kind: 'transferEnded', ok: false });
    return;
  }
  if (state.transfer?.to === target.nodeId) return;
  endTransfer(state, false);
  state.transfer = {
    to: target.nodeId,
    deadlineMs: state.nowMs + state.config.electionTimeoutMs,
    timeoutNowSent: false,
  };
  continueTransfer(state, leader, target);
}

/** Sends TimeoutNow once the target holds the whole log. */
export function continueTransfer(state: CoreState, leader: LeaderState, target: Progress): void {
  const { transfer } = state;
  if (transfer?.to !== target.nodeId || transfer.timeoutNowSent) return;
  if (target.matchIndex < state.lastIndex) return;
  transfer.timeoutNowSent = true;
  leader.leaseStartMs = undefined;
  leader.leaseHold = {
    peer: target.nodeId,
    round: state.round,
    untilMs: state.nowMs + (1 + TIMEOUT_NOW_LIFE) * state.config.electionTimeoutMs,
  };
  state.send({ kind: 'timeoutNow', ...state.header(target.nodeId) });
}

/** Ends the transfer under way, if any (T3). */
export function endTransfer(state: CoreState, ok: boolean): void {
  if (state.transfer === undefined) return;
  state.transfer = undefined;
  state.outbox.emit({ kind: 'transferEnded', ok });
}

/** Gives up when an election timeout has passed, or when the target lost its vote. */
export function expireTransfer(state: CoreState): void {
  const { transfer } = state;
  if (transfer === undefined) return;
  const isAllowed = isVoter(state.configuration, transfer.to);
  if (!isAllowed || state.nowMs >= transfer.deadlineMs) endTransfer(state, false);
}

/**
 * The voter that holds most of the log, among those heard within an election timeout and allowed
 * by `accept`; the lowest id of equals.
 */
export function mostCaughtUp(
  state: CoreState,
  leader: LeaderState,
  accept: (id: NodeId) => boolean = () => true,
): Progress | undefined {
  let best: Progress | undefined;
  for (const peer of leader.peers) {
    if (!isVoter(state.configuration, peer.nodeId) || !accept(peer.nodeId)) continue;
    if (!peer.hasAnswered) continue;
    if (state.nowMs - peer.lastContactMs >= state.config.electionTimeoutMs) continue;
    if (best === undefined || peer.matchIndex > best.matchIndex) best = peer;
  }
  return best;
}
