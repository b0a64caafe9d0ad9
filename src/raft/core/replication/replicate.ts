// Sending the log to one peer.
//
// Owns: which entries the next AppendEntries carries, and when a peer needs a fetch or a snapshot
// instead. Does not own: answers (leader.ts), the state machine of a peer (progress.ts).
//
// Invariants
//   R1. Entries of an append are contiguous and follow prevLogIndex.
//   R2. Appends in flight ≤ inflightAppendsMax, their bytes ≤ inflightBytesMax; one append is always
//       allowed, and one entry in it, however large.
//   R3. Nothing is buffered per peer: what to send is re-read from the log.
//
// Sources: paper §5.3; thesis §10.2.1.

import { assertThat } from '../assert.ts';
import type { LeaderState } from '../leader-state.ts';
import { entryBytes } from '../log/entry-size.ts';
import type { CoreState } from '../state.ts';
import type { Entry, LogIndex, SnapshotMeta } from '../types.ts';
import type { Progress } from './progress.ts';

export function replicateToAll(state: CoreState, leader: LeaderState): void {
  for (const peer of leader.peers) replicateTo(state, peer);
}

/** Sends what the peer lacks, as far as its bounds allow. */
export function replicateTo(state: CoreState, peer: Progress): void {
  if (peer.state === 'probe') {
    if (!peer.paused) sendProbe(state, peer);
    return;
  }
  if (peer.state === 'snapshot') return;
  while (peer.fetchId === undefined && peer.nextIndex <= state.lastIndex) {
    const { inflightAppendsMax, inflightBytesMax } = state.config;
    const { count, bytes } = peer.inflights;
    if (count >= inflightAppendsMax) return;
    if (state.trail.termAt(peer.nextIndex - 1) === undefined) {
      needSnapshot(state, peer);
      return;
    }
    if (peer.nextIndex < state.window.firstIndex) {
      fetchFor(state, peer);
      return;
    }
    const to = packTo(state, peer.nextIndex, roomFor(state, peer));
    // One entry may exceed the bound of an append, but not what else is in flight.
    if (count > 0 && state.window.sizeAt(peer.nextIndex) > inflightBytesMax - bytes) return;
    sendEntries(state, peer, state.window.slice(peer.nextIndex, to) ?? []);
  }
}

/**
 * An append without entries behind nextIndex − 1: tells the commit index, and draws a refusal when
 * what was in flight is lost.
 */
export function sendEmptyAppend(state: CoreState, peer: Progress): void {
  if (peer.state === 'snapshot') return;
  if (state.trail.termAt(peer.nextIndex - 1) === undefined) needSnapshot(state, peer);
  else sendEntries(state, peer, []);
}

/** Tells the commit index at once to peers whose clients wait for it. */
export function pushCommit(state: CoreState, leader: LeaderState): void {
  for (const peer of leader.peers) {
    if (peer.interestFrom === 0 || state.commitIndex < peer.interestFrom) continue;
    const reachable = Math.min(state.commitIndex, peer.nextIndex - 1);
    if (peer.state === 'replicate' && peer.commitSent < reachable) sendEmptyAppend(state, peer);
    const isServed = state.commitIndex >= peer.interestTo;
    peer.interestFrom = isServed ? 0 : state.commitIndex + 1;
    if (isServed) peer.interestTo = 0;
  }
}

/** A heartbeat response: the peer is there, so whatever waited for an answer may try again. */
export function resume(state: CoreState, peer: Progress): void {
  if (peer.state === 'snapshot') return;
  if (peer.state === 'probe') {
    peer.paused = false;
    replicateTo(state, peer);
    return;
  }
  replicateTo(state, peer);
  // Everything in flight may be lost without a report; an empty append draws the refusal.
  if (peer.matchIndex < state.lastIndex) sendEmptyAppend(state, peer);
}

/** Payloads that a peer needed have been read from the disk. Late ones are dropped. */
export function onFetched(
  state: CoreState,
  leader: LeaderState,
  fetchId: number,
  entries: readonly Entry[],
): void {
  const peer = leader.peers.find((candidate) => candidate.fetchId === fetchId);
  if (peer === undefined) return;
  peer.fetchId = undefined;
  const first = entries[0];
  if (first === undefined) {
    needSnapshot(state, peer);
    return;
  }
  if (first.index === peer.nextIndex && state.trail.termAt(first.index - 1) !== undefined) {
    const fitting = fittingOf(state, peer, entries);
    // What is in flight has to be acknowledged first; then the range is read again.
    if (fitting.length === 0) return;
    sendEntries(state, peer, fitting);
  }
  replicateTo(state, peer);
}

/** The first of `entries` that may be sent now; all of it when nothing is in flight. */
function fittingOf(state: CoreState, peer: Progress, entries: readonly Entry[]): readonly Entry[] {
  const room = roomFor(state, peer);
  let bytes = 0;
  let count = 0;
  for (const entry of entries) {
    assertThat(
      state.trail.termAt(entry.index) === entry.term,
      `entry ${entry.index} on disk has term ${entry.term}`,
    );
    bytes += entryBytes(entry);
    if (bytes > room && (count > 0 || peer.inflights.count > 0)) break;
    count += 1;
  }
  return entries.slice(0, count);
}

/** Bytes that the next append to `peer` may have, unless it is a single entry. */
function roomFor(state: CoreState, peer: Progress): number {
  const { appendBytesMax, inflightBytesMax } = state.config;
  if (peer.inflights.count === 0) return appendBytesMax;
  return Math.min(appendBytesMax, inflightBytesMax - peer.inflights.bytes);
}

/** A snapshot stream ended. The peer's own acknowledgement, not this, moves its matchIndex. */
export function onSnapshotSent(
  state: CoreState,
  peer: Progress,
  meta: SnapshotMeta | undefined,
  ok: boolean,
): void {
  peer.streaming = false;
  if (peer.state !== 'snapshot') return;
  const next = ok && meta !== undefined ? meta.index + 1 : 0;
  peer.becomeProbe(Math.max(Math.min(next, state.lastIndex + 1), peer.matchIndex + 1));
  // It installs, or it failed: either way wait for its acknowledgement or the next heartbeat.
  peer.paused = true;
}

function sendProbe(state: CoreState, peer: Progress): void {
  if (state.trail.termAt(peer.nextIndex - 1) === undefined) {
    needSnapshot(state, peer);
    return;
  }
  const to = packTo(state, peer.nextIndex, state.config.appendBytesMax);
  sendEntries(state, peer, state.window.slice(peer.nextIndex, to) ?? []);
}

/** The end of the entries from `from` on that fit into `bytes`; at least one if it is cached. */
function packTo(state: CoreState, from: LogIndex, bytes: number): LogIndex {
  const { window } = state;
  if (from < window.firstIndex || from >= window.nextIndex) return from;
  let total = window.sizeAt(from);
  let to = from + 1;
  while (to < window.nextIndex) {
    total += window.sizeAt(to);
    if (total > bytes) break;
    to += 1;
  }
  return to;
}

function sendEntries(state: CoreState, peer: Progress, entries: readonly Entry[]): void {
  const prevLogIndex = peer.nextIndex - 1;
  const prevLogTerm = state.trail.termAt(prevLogIndex);
  const commitTerm = state.trail.termAt(state.commitIndex);
  assertThat(prevLogTerm !== undefined && commitTerm !== undefined, 'appends start inside the log');
  let bytes = 0;
  let expected = prevLogIndex;
  for (const entry of entries) {
    expected += 1;
    assertThat(entry.index === expected, `append leaves a hole at ${expected}`);
    bytes += state.window.sizeAt(entry.index) || entryBytes(entry);
  }
  state.send({
    kind: 'appendEntries',
    ...state.header(peer.nodeId),
    prevLogIndex,
    prevLogTerm,
    entries,
    commitIndex: state.commitIndex,
    commitTerm,
  });
  peer.commitSent = Math.max(peer.commitSent, Math.min(state.commitIndex, expected));
  if (peer.state === 'probe') {
    peer.paused = true;
  } else if (entries.length > 0) {
    peer.nextIndex = expected + 1;
    peer.inflights.add(expected, bytes);
  }
}

function fetchFor(state: CoreState, peer: Progress): void {
  state.lastFetchId += 1;
  peer.fetchId = state.lastFetchId;
  state.outbox.emit({
    kind: 'fetch',
    fetchId: state.lastFetchId,
    from: peer.nextIndex,
    to: Math.min(state.window.firstIndex, state.lastIndex + 1),
    bytesMax: roomFor(state, peer),
  });
}

function needSnapshot(state: CoreState, peer: Progress): void {
  peer.becomeSnapshot();
  if (peer.streaming) return;
  peer.streaming = true;
  state.outbox.emit({ kind: 'sendSnapshot', to: peer.nodeId });
}
