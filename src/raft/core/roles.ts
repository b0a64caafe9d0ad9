// Falling back to follower: the one transition that every role shares.
//
// Owns: what ends with a role (reads, ballots, leadership). Does not own: becoming candidate
// (election.ts) or leader (leader.ts).
//
// Invariant: leaderId is forgotten with every change of term and with every step-down, so that no
// stale hint leads anyone in circles.

import { failForwardedReads, failReads } from './read-index.ts';
import type { CoreState } from './state.ts';
import { endTransfer } from './transfer.ts';
import type { NodeId, Term } from './types.ts';

/** Follows `leaderId` (perhaps nobody yet) in `term`, with a fresh election timeout. */
export function becomeFollower(state: CoreState, term: Term, leaderId: NodeId | undefined): void {
  if (term > state.term) state.setHardState(term, undefined);
  if (state.leader !== undefined) {
    const { leader } = state;
    state.leader = undefined;
    failReads(state, leader);
  }
  if (state.leaderId !== leaderId) failForwardedReads(state);
  state.role = 'follower';
  state.ballot = undefined;
  state.leaderId = leaderId;
  if (leaderId !== undefined) {
    state.failedElections = 0;
    endTransfer(state, true);
  }
  state.drawElectionTimeout();
  state.armElectionTimer();
  state.reportRole();
}
