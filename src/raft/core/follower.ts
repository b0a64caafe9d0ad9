// The follower: taking in the leader's log and commits, snapshots, and healing.
//
// Owns: the consistency check, truncation of conflicts, acknowledgements, installing snapshots, the
// end of `recovering`. Does not own: votes (election.ts).
//
// Invariants
//   F1. Only from the first entry that really conflicts is anything truncated: a late, shorter
//       append never removes what was acknowledged (paper §5.3).
//   F2. commitIndex ≤ min(leader's commit, last entry that this message proves to match).
//   F3. An acknowledgement leaves after everything that it covers is durable here.
//   F4. A recovering node heals only behind a commit index that a leader of its own term's entry
//       confirmed after this boot, held durably here. It is asked for by a ReadIndexRequest: its
//       answer cannot be a message from before the boot, and ReadIndex answers only behind an entry
//       of the leader's own term. Everything this node may ever have acknowledged lies below it.

import { assertThat } from './assert.ts';
import { entryBytes } from './log/entry-size.ts';
import { isMember } from './membership.ts';
import { repeatForwardedReads } from './read-index.ts';
import { becomeFollower } from './roles.ts';
import type { CoreState } from './state.ts';
import type {
  AppendEntries,
  BootId,
  Entry,
  Heartbeat,
  LogIndex,
  NodeId,
  ReadIndexResponse,
  SnapshotMeta,
  Term,
} from './types.ts';

// ------------------------------------------------------------------------------------- the leader

/** A message of the current term's leader: follow it and promise it an election timeout. */
function follow(state: CoreState, leaderId: NodeId): void {
  assertThat(state.role !== 'leader', `node ${leaderId} also leads term ${state.term}`);
  assertThat(
    state.leaderId === undefined || state.leaderId === leaderId,
    `nodes ${String(state.leaderId)} and ${leaderId} lead term ${state.term}`,
  );
  if (state.role !== 'follower' || state.leaderId !== leaderId) {
    becomeFollower(state, state.term, leaderId);
  } else {
    state.armElectionTimer();
  }
  state.promisedTo = leaderId;
  state.promisedAtMs = state.nowMs;
}

export function onHeartbeat(state: CoreState, message: Heartbeat): void {
  follow(state, message.from);
  // (index, term) in this log proves the whole prefix; a leader that still counts on an earlier
  // boot of this node may announce more than is left here (F2).
  const { commitIndex, commitTerm } = message;
  if (commitIndex > state.commitIndex && state.trail.termAt(commitIndex) === commitTerm) {
    state.commitTo(commitIndex);
  }
  answerHeartbeat(state, message);
  repeatForwardedReads(state);
  heal(state);
}

function answerHeartbeat(state: CoreState, message: Heartbeat): void {
  state.reply({
    kind: 'heartbeatResponse',
    ...state.header(message.from),
    round: message.round,
    wallMs: state.now.wallMs,
  });
}

export function onAppendEntries(state: CoreState, message: AppendEntries): void {
  follow(state, message.from);
  // The log is about to be replaced: a write queued now would land behind the snapshot. The
  // acknowledgement of the snapshot will tell the leader where to continue.
  if (state.installing !== undefined) return;
  const { entries, prevLogIndex, prevLogTerm } = message;
  assertContiguous(entries, prevLogIndex);
  const coveredIndex = prevLogIndex + entries.length;
  if (coveredIndex <= state.commitIndex) {
    // Late or repeated: everything committed here is in every leader's log (paper §5.4.3).
    acknowledge(state, message, state.commitIndex);
    return;
  }
  const isKnown = prevLogIndex <= state.commitIndex;
  if (!isKnown && state.trail.termAt(prevLogIndex) !== prevLogTerm) {
    rejectAppend(state, message);
    return;
  }
  appendMissing(state, entries);
  state.commitTo(Math.max(state.commitIndex, Math.min(message.commitIndex, coveredIndex)));
  acknowledge(state, message, coveredIndex);
  heal(state);
}

/** Skips what is here, truncates from the first conflict, appends the rest (F1). */
function appendMissing(state: CoreState, entries: readonly Entry[]): void {
  let position = 0;
  for (const entry of entries) {
    const isHere = state.trail.termAt(entry.index) === entry.term;
    const isCommitted = entry.index <= state.commitIndex;
    if (!isCommitted && (!isHere || state.has('truncateAlways'))) break;
    position += 1;
  }
  const first = entries[position];
  if (first === undefined) return;
  if (first.index <= state.lastIndex) state.truncateFrom(first.index);
  for (const entry of position === 0 ? entries : entries.slice(position)) {
    state.append(entry, entryBytes(entry));
  }
}

/** Says what is durable here; waits for the disk unless it already is (F3). */
function acknowledge(state: CoreState, message: AppendEntries, matchIndex: LogIndex): void {
  const response = {
    kind: 'appendEntriesResponse' as const,
    ...state.header(message.from),
    toBoot: message.fromBoot,
    result: { accepted: true as const, matchIndex },
  };
  if (matchIndex <= state.writes.durableIndex || state.has('ackBeforeFsync')) state.reply(response);
  else state.outbox.release(response);
}

function rejectAppend(state: CoreState, message: AppendEntries): void {
  // Nothing below the commit index is in doubt, so the search never goes below it.
  const from = Math.min(message.prevLogIndex, state.lastIndex);
  const agree = state.trail.lastWithTermAtMost(from, message.prevLogTerm) ?? 0;
  const hintIndex = Math.max(agree, state.commitIndex);
  sendRejection(state, message, hintIndex);
}

function sendRejection(state: CoreState, message: AppendEntries, hintIndex: LogIndex): void {
  const hintTerm = state.trail.termAt(hintIndex);
  assertThat(hintTerm !== undefined, `hint ${hintIndex} is not in the log`);
  state.reply({
    kind: 'appendEntriesResponse',
    ...state.header(message.from),
    toBoot: message.fromBoot,
    result: { accepted: false, rejectedIndex: message.prevLogIndex, hintIndex, hintTerm },
  });
}

/** A leader of an earlier term learns from the answer that there is a newer one. */
export function answerStaleLeader(state: CoreState, message: AppendEntries | Heartbeat): void {
  if (message.kind === 'heartbeat') answerHeartbeat(state, message);
  else sendRejection(state, message, state.commitIndex);
}

function assertContiguous(entries: readonly Entry[], prevLogIndex: LogIndex): void {
  let expected = prevLogIndex;
  for (const entry of entries) {
    expected += 1;
    assertThat(entry.index === expected, `received an append with a hole at ${expected}`);
  }
}

// -------------------------------------------------------------------------------------- snapshots

/** A whole snapshot lies in a new generation: use it, or delete it. One at a time. */
export function onSnapshotReceived(state: CoreState, from: NodeId, meta: SnapshotMeta): void {
  const known = state.trail.termAt(meta.index);
  const isWrong =
    state.role === 'leader' ||
    state.installing !== undefined ||
    !isMember(meta.configuration, state.nodeId) ||
    (meta.index <= state.commitIndex && known !== undefined && known !== meta.term);
  if (isWrong) {
    state.outbox.emit({ kind: 'discardSnapshot', meta });
    return;
  }
  if (meta.index <= state.commitIndex || known === meta.term) {
    // Stale, or the log already holds all of it: the entries are as good as the snapshot.
    state.outbox.emit({ kind: 'discardSnapshot', meta });
    state.commitTo(meta.index);
    acknowledgeSnapshot(state, from, state.commitIndex);
    return;
  }
  if (state.role !== 'follower') becomeFollower(state, state.term, undefined);
  state.installing = meta;
  state.outbox.emit({ kind: 'installSnapshot', meta });
}

/** The snapshot is in force: the log starts behind it, with its suffix if that still fits. */
export function onSnapshotInstalled(state: CoreState, meta: SnapshotMeta): void {
  const expected = state.installing;
  assertThat(
    expected?.index === meta.index && expected.term === meta.term,
    `snapshot ${meta.index} was not being installed`,
  );
  state.installing = undefined;
  if (state.trail.termAt(meta.index) === meta.term) {
    state.trail.compactTo(meta.index);
    state.window.dropTo(meta.index);
    state.configurations.compactTo(meta.index);
  } else {
    state.trail.resetTo(meta.index, meta.term);
    state.window.resetTo(meta.index + 1);
    state.configurations.resetTo(meta.index, meta.configuration);
    state.writes.truncateFrom(meta.index + 1);
  }
  state.writes.installed(meta.index);
  state.lastTimeMs = Math.max(state.lastTimeMs, meta.timeMs);
  state.commitTo(meta.index);
  state.appliedIndex = meta.index;
  acknowledgeSnapshot(state, state.leaderId, meta.index);
  heal(state);
}

function acknowledgeSnapshot(state: CoreState, to: NodeId | undefined, matchIndex: LogIndex): void {
  const toBoot: BootId | undefined = to === undefined ? undefined : state.boots.get(to);
  if (to === undefined || toBoot === undefined) return;
  const response = {
    kind: 'appendEntriesResponse' as const,
    ...state.header(to),
    toBoot,
    result: { accepted: true as const, matchIndex },
  };
  if (matchIndex <= state.writes.durableIndex) state.reply(response);
  else state.outbox.release(response);
}

/** The log on disk now begins behind `index`. */
export function onCompacted(state: CoreState, index: LogIndex, term: Term): void {
  if (index <= state.trail.baseIndex) return;
  // The snapshot's record has already moved the log's base; its own event brings everything along.
  if (state.installing !== undefined && index >= state.installing.index) return;
  assertThat(index <= state.commitIndex, `compaction to ${index} beyond the commit`);
  assertThat(state.trail.termAt(index) === term, `compaction to ${index} at the wrong term`);
  state.trail.compactTo(index);
  state.window.dropTo(index);
  state.configurations.compactTo(index);
}

// ---------------------------------------------------------------------------------------- healing

/** Asks for, and waits for, the proof that nothing this node acknowledged is missing (F4). */
export function heal(state: CoreState): void {
  if (!state.recovering) return;
  if (state.writes.recovered) {
    state.recovering = false;
    return;
  }
  const { healIndex } = state;
  if (healIndex === undefined) {
    askForHealIndex(state);
    return;
  }
  if (state.isHealing) return;
  if (state.commitIndex < healIndex || state.writes.durableIndex < healIndex) return;
  state.isHealing = true;
  state.outbox.persistRecovered();
}

function askForHealIndex(state: CoreState): void {
  if (state.leaderId === undefined || state.role !== 'follower') return;
  const asked = state.healRequest;
  const { electionTimeoutMs } = state.config;
  if (asked !== undefined && state.nowMs - asked.sentAtMs < electionTimeoutMs) return;
  const requestId = state.nextRequestId();
  state.healRequest = { requestId, sentAtMs: state.nowMs };
  state.send({ kind: 'readIndexRequest', ...state.header(state.leaderId), requestId });
}

/** Returns whether the response was the answer to `heal`'s question. */
export function onHealResponse(state: CoreState, message: ReadIndexResponse): boolean {
  if (state.healRequest?.requestId !== message.requestId) return false;
  state.healRequest = undefined;
  if (!state.recovering || message.index === undefined) return true;
  state.healIndex = message.index;
  heal(state);
  return true;
}
