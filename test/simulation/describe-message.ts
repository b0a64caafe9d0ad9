// Messages of consensus, as one line of a trace, and the lane each travels in.

import type { Message } from '../../src/raft/core/index.ts';
import type { Lane } from './sim-network.ts';

export function laneOf(message: Message): Lane {
  return message.kind === 'appendEntries' || message.kind === 'appendEntriesResponse'
    ? 'append'
    : 'control';
}

export function describeMessage(message: Message): string {
  const head = `${message.kind} ${message.from}>${message.to} t${message.term} b${message.fromBoot}`;
  switch (message.kind) {
    case 'preVote':
      return `${head} round=${message.round} last=${message.lastLogIndex}/${message.lastLogTerm}`;
    case 'preVoteResponse':
      return `${head} round=${message.round} ${message.granted ? 'granted' : 'refused'}`;
    case 'requestVote':
      return `${head} last=${message.lastLogIndex}/${message.lastLogTerm}${message.transfer ? ' transfer' : ''}`;
    case 'requestVoteResponse':
      return `${head} ${message.granted ? 'granted' : 'refused'}`;
    case 'appendEntries':
      return `${head} prev=${message.prevLogIndex}/${message.prevLogTerm} n=${message.entries.length} commit=${message.commitIndex}/${message.commitTerm}`;
    case 'appendEntriesResponse':
      return message.result.accepted
        ? `${head} match=${message.result.matchIndex}`
        : `${head} rejected=${message.result.rejectedIndex} hint=${message.result.hintIndex}/${message.result.hintTerm}`;
    case 'heartbeat':
      return `${head} round=${message.round} commit=${message.commitIndex}/${message.commitTerm}`;
    case 'heartbeatResponse':
      return `${head} round=${message.round}`;
    case 'timeoutNow':
      return head;
    case 'readIndexRequest':
      return `${head} id=${message.requestId}`;
    case 'readIndexResponse':
      return `${head} id=${message.requestId} index=${message.index ?? '-'}`;
    default:
      return message satisfies never;
  }
}
