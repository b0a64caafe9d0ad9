// One stable line of text per message, event and effect: for logs, traces and their hashes.
//
// Fields appear in a fixed order and without times of day, so that the same seed gives the same
// text. Payloads are counted, not shown.

import type { Entry, Message, RaftEffect, RaftEvent, RaftStatus, SnapshotMeta } from './types.ts';

export function describeMessage(message: Message): string {
  const head = `${message.from}→${message.to} ${message.kind} t${message.term} b${message.fromBoot}`;
  switch (message.kind) {
    case 'preVote':
      return `${head} round ${message.round} last ${message.lastLogIndex}/${message.lastLogTerm}`;
    case 'preVoteResponse':
      return `${head} round ${message.round} ${message.granted ? 'granted' : 'refused'}`;
    case 'requestVote': {
      const transfer = message.transfer ? ' transfer' : '';
      return `${head} last ${message.lastLogIndex}/${message.lastLogTerm}${transfer}`;
    }
    case 'requestVoteResponse':
      return `${head} ${message.granted ? 'granted' : 'refused'}`;
    case 'appendEntries': {
      const prev = `prev ${message.prevLogIndex}/${message.prevLogTerm}`;
      const commit = `commit ${message.commitIndex}/${message.commitTerm}`;
      return `${head} ${prev} ${describeEntries(message.entries)} ${commit}`;
    }
    case 'appendEntriesResponse': {
      const { result } = message;
      if (result.accepted) return `${head} match ${result.matchIndex}`;
      return `${head} rejected ${result.rejectedIndex} hint ${result.hintIndex}/${result.hintTerm}`;
    }
    case 'heartbeat':
      return `${head} round ${message.round} commit ${message.commitIndex}/${message.commitTerm}`;
    case 'heartbeatResponse':
      return `${head} round ${message.round}`;
    case 'timeoutNow':
      return head;
    case 'readIndexRequest':
      return `${head} #${message.requestId}`;
    case 'readIndexResponse':
      return `${head} #${message.requestId} ${message.index ?? 'unconfirmed'}`;
  }
}

export function describeEvent(event: RaftEvent): string {
  switch (event.kind) {
    case 'timeout':
      return 'timeout';
    case 'receive':
      return `receive ${describeMessage(event.message)}`;
    case 'persisted':
      return `persisted w${event.writeId}`;
    case 'fetched':
      return `fetched f${event.fetchId} ${describeEntries(event.entries)}`;
    case 'applied':
      return `applied ${event.index}`;
    case 'compacted':
      return `compacted ${event.index}/${event.term}`;
    case 'snapshotReceived':
      return `snapshotReceived from ${event.from} ${describeMeta(event.meta)}`;
    case 'snapshotInstalled':
      return `snapshotInstalled ${describeMeta(event.meta)}`;
    case 'snapshotSent': {
      const meta = event.meta === undefined ? '-' : describeMeta(event.meta);
      return `snapshotSent to ${event.to} ${meta} ${event.ok ? 'ok' : 'failed'}`;
    }
    case 'readIndex':
      return `readIndex #${event.readId}`;
    case 'transferLeadership':
      return `transferLeadership to ${event.to ?? 'anyone'}`;
    case 'unreachable':
      return `unreachable ${event.peer}`;
    case 'refused':
      return `refused ${event.peer}`;
    case 'commitInterest':
      return `commitInterest ${event.peer} ${event.index}`;
  }
}

export function describeEffect(effect: RaftEffect): string {
  switch (effect.kind) {
    case 'persist': {
      const parts = [`persist w${effect.writeId}`];
      const { hardState, truncateFrom } = effect;
      if (hardState !== undefined)
        parts.push(`term ${hardState.term} vote ${hardState.vote ?? '-'}`);
      if (truncateFrom !== undefined) parts.push(`truncate ${truncateFrom}`);
      if (effect.entries.length > 0) parts.push(describeEntries(effect.entries));
      if (effect.recovered) parts.push('recovered');
      for (const message of effect.release) parts.push(`(${describeMessage(message)})`);
      return parts.join(' ');
    }
    case 'send':
      return `send ${effect.messages.map((message) => `(${describeMessage(message)})`).join(' ')}`;
    case 'commit':
      return `commit ${effect.index}`;
    case 'fetch':
      return `fetch f${effect.fetchId} [${effect.from}, ${effect.to})`;
    case 'sendSnapshot':
      return `sendSnapshot to ${effect.to}`;
    case 'installSnapshot':
      return `installSnapshot ${describeMeta(effect.meta)}`;
    case 'discardSnapshot':
      return `discardSnapshot ${describeMeta(effect.meta)}`;
    case 'readReady':
      return `readReady ${effect.readIds.join(',')} at ${effect.index}`;
    case 'readFailed':
      return `readFailed ${effect.readIds.join(',')}`;
    case 'role':
      return `role ${effect.role} t${effect.term} leader ${effect.leaderId ?? '-'}`;
    case 'transferEnded':
      return `transferEnded ${effect.ok ? 'ok' : 'failed'}`;
  }
}

export function describeStatus(status: RaftStatus): string {
  const log = `log ${status.firstIndex}..${status.lastIndex} durable ${status.durableIndex}`;
  const progress = `commit ${status.commitIndex} applied ${status.appliedIndex}`;
  const recovering = status.recovering ? ' recovering' : '';
  const who = `n${status.nodeId} b${status.bootId} ${status.role} t${status.term}`;
  return `${who} leader ${status.leaderId ?? '-'} ${log} ${progress}${recovering}`;
}

function describeMeta(meta: SnapshotMeta): string {
  return `${meta.index}/${meta.term}`;
}

/** `[first/term..last/term]`, or `[]`. */
function describeEntries(entries: readonly Entry[]): string {
  const first = entries[0];
  const last = entries.at(-1);
  if (first === undefined || last === undefined) return '[]';
  if (first === last) return `[${first.index}/${first.term} ${first.kind}]`;
  return `[${first.index}/${first.term}..${last.index}/${last.term}]`;
}
