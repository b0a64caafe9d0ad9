// Hand-made messages, for scenarios in which a node hears something that no one here would say.

import type {
  AppendEntries,
  AppendEntriesResponse,
  Entry,
  Heartbeat,
  HeartbeatResponse,
  PreVote,
  PreVoteResponse,
  RequestVote,
  RequestVoteResponse,
} from '../../../src/raft/core/index.ts';
import { EPOCH } from './harness.ts';

interface Route {
  readonly from: number;
  readonly to: number;
  readonly term: number;
  readonly fromBoot?: number;
}

function head(route: Route): { from: number; to: number; term: number; fromBoot: number } {
  return { from: route.from, to: route.to, term: route.term, fromBoot: route.fromBoot ?? 1 };
}

export function preVote(
  route: Route,
  last: readonly [index: number, term: number],
  round = 1,
): PreVote {
  return { kind: 'preVote', ...head(route), round, lastLogIndex: last[0], lastLogTerm: last[1] };
}

export function preVoteResponse(route: Route, granted: boolean, round: number): PreVoteResponse {
  return { kind: 'preVoteResponse', ...head(route), granted, round };
}

export function requestVote(
  route: Route,
  last: readonly [index: number, term: number],
  transfer = false,
): RequestVote {
  return {
    kind: 'requestVote',
    ...head(route),
    lastLogIndex: last[0],
    lastLogTerm: last[1],
    transfer,
  };
}

export function voteResponse(route: Route, granted: boolean): RequestVoteResponse {
  return { kind: 'requestVoteResponse', ...head(route), granted };
}

export function append(
  route: Route,
  prev: readonly [index: number, term: number],
  entries: readonly Entry[],
  commit: readonly [index: number, term: number] = [0, 0],
): AppendEntries {
  return {
    kind: 'appendEntries',
    ...head(route),
    prevLogIndex: prev[0],
    prevLogTerm: prev[1],
    entries,
    commitIndex: commit[0],
    commitTerm: commit[1],
  };
}

export function ack(route: Route, matchIndex: number, toBoot = 1): AppendEntriesResponse {
  return {
    kind: 'appendEntriesResponse',
    ...head(route),
    toBoot,
    result: { accepted: true, matchIndex },
  };
}

export function rejection(
  route: Route,
  rejectedIndex: number,
  hint: readonly [index: number, term: number],
  toBoot = 1,
): AppendEntriesResponse {
  return {
    kind: 'appendEntriesResponse',
    ...head(route),
    toBoot,
    result: { accepted: false, rejectedIndex, hintIndex: hint[0], hintTerm: hint[1] },
  };
}

export function heartbeat(
  route: Route,
  round = 1,
  commit: readonly [index: number, term: number] = [0, 0],
): Heartbeat {
  return {
    kind: 'heartbeat',
    ...head(route),
    round,
    commitIndex: commit[0],
    commitTerm: commit[1],
  };
}

export function heartbeatResponse(route: Route, round: number): HeartbeatResponse {
  return { kind: 'heartbeatResponse', ...head(route), round, wallMs: EPOCH };
}
