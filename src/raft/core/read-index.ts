// Linearizable reads (ReadIndex, thesis §6.4).
//
// Owns: reads that wait for a round of the leader, and reads that a follower has forwarded.
// Does not own: sending rounds (heartbeat.ts).
//
// Invariants
//   D1. A read is answered by a round that was sent after it arrived, and that a quorum
//       acknowledged (rounds are numbered inside the core and never reused).
//   D2. Its index is at least the commit index at its arrival, on a leader that has committed an
//       entry of its own term.
//   D3. Every read ends once: ready or failed; leadership lost means failed.
//   D4. Reads waiting are bounded by `pendingReadsMax`.

import type { LeaderState } from './leader-state.ts';
import type { CoreState } from './state.ts';
import type {
  LogIndex,
  MonotonicMs,
  NodeId,
  ReadIndexRequest,
  ReadIndexResponse,
} from './types.ts';

interface RemoteRead {
  readonly from: NodeId;
  readonly requestId: number;
}

interface ReadBatch {
  readonly round: number;
  readonly index: LogIndex;
  readonly local: readonly number[];
  readonly remote: readonly RemoteRead[];
}

/** Reads of a leadership: gathered while a round is on its way, then confirmed together. */
export class PendingReads {
  local: number[] = [];
  remote: RemoteRead[] = [];
  batches: ReadBatch[] = [];
  count = 0;
}

/** Reads of a follower: one request to the leader at a time, the rest gathered for the next. */
export class ForwardedReads {
  gathered: number[] = [];
  request:
    | {
        readonly requestId: number;
        readonly readIds: readonly number[];
        readonly sentAtMs: MonotonicMs;
        /** The reads fail when this passes. */
        readonly deadlineMs: MonotonicMs;
      }
    | undefined;

  get count(): number {
    return this.gathered.length + (this.request?.readIds.length ?? 0);
  }
}

// ------------------------------------------------------------------------------------ leader

/** Takes in a read of this node or of a peer. Returns whether a round should be sent for it. */
export function addRead(
  state: CoreState,
  leader: LeaderState,
  read: number | RemoteRead,
): 'startRound' | 'wait' {
  const { reads } = leader;
  if (state.has('readWithoutQuorum')) {
    answerRead(state, read, state.commitIndex);
    return 'wait';
  }
  if (state.transfer !== undefined || reads.count >= state.config.pendingReadsMax) {
    answerRead(state, read, undefined);
    return 'wait';
  }
  reads.count += 1;
  if (typeof read === 'number') reads.local.push(read);
  else reads.remote.push(read);
  return wantsRound(state, leader) ? 'startRound' : 'wait';
}

/** Reads wait, nothing defers them, and no round is on its way for others (D2). */
export function wantsRound(state: CoreState, leader: LeaderState): boolean {
  const { reads } = leader;
  if (reads.local.length + reads.remote.length === 0 || reads.batches.length > 0) return false;
  return state.commitIndex >= leader.ownTermIndex;
}

/** The round that is being sent serves everything that waits now (D1). */
export function attachReads(state: CoreState, leader: LeaderState): void {
  const { reads } = leader;
  if (reads.local.length + reads.remote.length === 0) return;
  if (state.commitIndex < leader.ownTermIndex) return;
  reads.batches.push({
    round: state.round,
    index: state.commitIndex,
    local: reads.local,
    remote: reads.remote,
  });
  reads.local = [];
  reads.remote = [];
}

/** Answers every read whose round is confirmed. */
export function confirmReads(state: CoreState, leader: LeaderState): void {
  const { reads } = leader;
  while (reads.batches.length > 0) {
    const batch = reads.batches[0];
    if (batch === undefined || batch.round > leader.confirmedRound) return;
    reads.batches.shift();
    reads.count -= batch.local.length + batch.remote.length;
    if (batch.local.length > 0) {
      state.outbox.emit({ kind: 'readReady', readIds: batch.local, index: batch.index });
    }
    for (const read of batch.remote) respond(state, read, batch.index);
  }
}

/** Ends every read of a leadership without an answer (D3). */
export function failReads(state: CoreState, leader: LeaderState): void {
  const { reads } = leader;
  const local = [...reads.batches.flatMap((batch) => batch.local), ...reads.local];
  const remote = [...reads.batches.flatMap((batch) => batch.remote), ...reads.remote];
  reads.local = [];
  reads.remote = [];
  reads.batches = [];
  reads.count = 0;
  if (local.length > 0) state.outbox.emit({ kind: 'readFailed', readIds: local });
  for (const read of remote) respond(state, read, undefined);
}

/** Answers one read at once, or fails it when `index` is undefined. */
function answerRead(
  state: CoreState,
  read: number | RemoteRead,
  index: LogIndex | undefined,
): void {
  if (typeof read !== 'number') respond(state, read, index);
  else if (index === undefined) state.outbox.emit({ kind: 'readFailed', readIds: [read] });
  else state.outbox.emit({ kind: 'readReady', readIds: [read], index });
}

function respond(state: CoreState, read: RemoteRead, index: LogIndex | undefined): void {
  state.reply({
    kind: 'readIndexResponse',
    ...state.header(read.from),
    requestId: read.requestId,
    index,
  });
}

/** A node that does not lead cannot confirm anything; the asker is told at once. */
export function refuseReadRequest(state: CoreState, message: ReadIndexRequest): void {
  respond(state, message, undefined);
}

// ---------------------------------------------------------------------------------- follower

export function forwardRead(state: CoreState, readId: number): void {
  const { forwarded } = state;
  if (state.leaderId === undefined || forwarded.count >= state.config.pendingReadsMax) {
    state.outbox.emit({ kind: 'readFailed', readIds: [readId] });
    return;
  }
  forwarded.gathered.push(readId);
  if (forwarded.request === undefined) sendGathered(state);
}

export function onReadIndexResponse(state: CoreState, message: ReadIndexResponse): void {
  const { forwarded } = state;
  const request = forwarded.request;
  if (request?.requestId !== message.requestId) return;
  forwarded.request = undefined;
  const { readIds } = request;
  if (message.index === undefined) state.outbox.emit({ kind: 'readFailed', readIds });
  else state.outbox.emit({ kind: 'readReady', readIds, index: message.index });
  if (forwarded.gathered.length > 0) sendGathered(state);
}

/** The leader lives: a request that should have been answered by now is asked again. */
export function repeatForwardedReads(state: CoreState): void {
  const { request } = state.forwarded;
  if (request === undefined) return;
  if (state.nowMs - request.sentAtMs < 2 * state.config.heartbeatIntervalMs) return;
  sendRequest(state, request.readIds, request.deadlineMs);
}

/** The request was not answered within an election timeout. */
export function expireForwardedReads(state: CoreState): void {
  const { request } = state.forwarded;
  if (request === undefined || state.nowMs < request.deadlineMs) return;
  state.forwarded.request = undefined;
  state.outbox.emit({ kind: 'readFailed', readIds: request.readIds });
  if (state.forwarded.gathered.length > 0) sendGathered(state);
}

/** The leader is not known any more, or another one is. */
export function failForwardedReads(state: CoreState): void {
  const { forwarded } = state;
  if (forwarded.count === 0) return;
  const readIds = [...(forwarded.request?.readIds ?? []), ...forwarded.gathered];
  forwarded.request = undefined;
  forwarded.gathered = [];
  state.outbox.emit({ kind: 'readFailed', readIds });
}

function sendGathered(state: CoreState): void {
  const readIds = state.forwarded.gathered;
  state.forwarded.gathered = [];
  sendRequest(state, readIds, state.nowMs + state.config.electionTimeoutMs);
}

function sendRequest(state: CoreState, readIds: readonly number[], deadlineMs: MonotonicMs): void {
  if (state.leaderId === undefined) return;
  const requestId = state.nextRequestId();
  state.forwarded.request = { requestId, readIds, sentAtMs: state.nowMs, deadlineMs };
  state.send({ kind: 'readIndexRequest', ...state.header(state.leaderId), requestId });
}
