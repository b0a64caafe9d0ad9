// What stands before every message: boots and terms.
//
// Owns: dropping messages of dead boots, adopting newer terms, answering older ones. Does not own:
// what a message of the current term means.
//
// Invariants
//   B1. Nothing of an earlier boot of a peer is looked at once a later one was heard.
//   B2. A message of an older term is never handled as a current one; where its sender could go on
//       in ignorance for ever (stale leader, stale candidate) it is told the current term.
//   B3. A pre-vote never moves a term; its refusal by a node of a newer term does.
//
// Source: paper §5.1; thesis §9.6.

import { isSticky, onPreVote, onPreVoteResponse, refuseVote, retryLater } from './election.ts';
import { answerStaleLeader } from './follower.ts';
import { onPeerReboot } from './leader.ts';
import { refuseReadRequest } from './read-index.ts';
import { becomeFollower } from './roles.ts';
import type { CoreState } from './state.ts';
import type { Message } from './types.ts';

/** Whether the message is to be handled as one of the current term. */
export function admit(state: CoreState, message: Message): boolean {
  if (message.to !== state.nodeId || message.from === state.nodeId) return false;
  if (message.kind === 'appendEntriesResponse' && state.has('staleAckAccepted')) {
    return message.term <= state.term;
  }
  if (!noteBoot(state, message)) return false;
  if (message.term < state.term) {
    answerOlder(state, message);
    return false;
  }
  return message.term === state.term || adoptNewer(state, message);
}

function noteBoot(state: CoreState, message: Message): boolean {
  const known = state.boots.get(message.from);
  if (known === message.fromBoot) return true;
  if (known !== undefined && message.fromBoot < known) return false;
  state.boots.set(message.from, message.fromBoot);
  if (state.leader !== undefined) onPeerReboot(state, state.leader, message.from);
  return true;
}

/** A message of a newer term; returns whether to go on with it. */
function adoptNewer(state: CoreState, message: Message): boolean {
  switch (message.kind) {
    case 'preVote':
      return true;
    case 'preVoteResponse':
      if (message.granted) return true;
      retryLater(state, message.term);
      return false;
    case 'requestVote': {
      if (!message.transfer && isSticky(state, message.from)) return false;
      // Only a granted vote may postpone an election of our own.
      const dueMs = state.role === 'leader' ? Number.POSITIVE_INFINITY : state.electionDeadlineMs;
      becomeFollower(state, message.term, undefined);
      state.electionDeadlineMs = Math.min(state.electionDeadlineMs, dueMs);
      return true;
    }
    case 'appendEntries':
    case 'heartbeat':
      becomeFollower(state, message.term, message.from);
      return true;
    case 'requestVoteResponse':
    case 'appendEntriesResponse':
    case 'heartbeatResponse':
    case 'timeoutNow':
    case 'readIndexRequest':
    case 'readIndexResponse':
      becomeFollower(state, message.term, undefined);
      return true;
  }
}

function answerOlder(state: CoreState, message: Message): void {
  switch (message.kind) {
    case 'appendEntries':
    case 'heartbeat':
      answerStaleLeader(state, message);
      return;
    case 'preVote':
      onPreVote(state, message);
      return;
    case 'preVoteResponse':
      // A refusal by a node that is behind: the ballot's round says whether it counts.
      if (!message.granted) onPreVoteResponse(state, message);
      return;
    case 'requestVote':
      refuseVote(state, message);
      return;
    case 'readIndexRequest':
      // The asker is behind; told so, it adopts the term and asks again.
      refuseReadRequest(state, message);
      return;
    case 'requestVoteResponse':
    case 'appendEntriesResponse':
    case 'heartbeatResponse':
    case 'timeoutNow':
    case 'readIndexResponse':
      return;
  }
}
