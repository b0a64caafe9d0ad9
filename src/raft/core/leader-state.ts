// What a node knows only while it leads. Discarded as a whole when leadership ends, so that nothing
// of one leadership can count in another (acks, rounds, reads).
//
// Owns: data and its small accessors. Does not own: what is done with it (leader.ts, heartbeat.ts,
// read-index.ts, replication/replicate.ts).

import type { ClusterClock } from './cluster-time.ts';
import type { PendingReads } from './read-index.ts';
import type { Progress } from './replication/progress.ts';
import type { UncommittedBytes } from './replication/uncommitted.ts';
import type { LogIndex, MonotonicMs, NodeId } from './types.ts';

/** Send times are remembered for this many rounds; a later answer is worth nothing anyway. */
const ROUNDS_REMEMBERED = 64;

/** The send times of the latest heartbeat rounds. */
export class RoundTimes {
  readonly #sentAtMs = new Array<MonotonicMs>(ROUNDS_REMEMBERED).fill(0);
  readonly #rounds = new Array<number>(ROUNDS_REMEMBERED).fill(0);

  record(round: number, sentAtMs: MonotonicMs): void {
    const slot = round % ROUNDS_REMEMBERED;
    this.#rounds[slot] = round;
    this.#sentAtMs[slot] = sentAtMs;
  }

  sentAt(round: number): MonotonicMs | undefined {
    const slot = round % ROUNDS_REMEMBERED;
    return this.#rounds[slot] === round ? this.#sentAtMs[slot] : undefined;
  }
}

export interface LeaderState {
  /** Peers of the configuration in force, ascending by node id. */
  peers: readonly Progress[];
  readonly progress: Map<NodeId, Progress>;
  /** Index of the entry that this leader appended first: reads wait for its commit. */
  readonly ownTermIndex: LogIndex;
  /** Rounds below this one belong to an earlier leadership; answers to them count nothing. */
  readonly firstRound: number;
  /** The newest round that a quorum acknowledged; 0 for none. */
  confirmedRound: number;
  readonly roundTimes: RoundTimes;
  heartbeatDeadlineMs: MonotonicMs;
  checkQuorumDeadlineMs: MonotonicMs;
  /** Send time of the newest confirmed round; undefined for none. */
  leaseStartMs: MonotonicMs | undefined;
  /**
   * A TimeoutNow that may still start an election: no lease until its target has answered a round
   * sent after it, or until it is too old to arrive.
   */
  leaseHold:
    | { readonly peer: NodeId; readonly round: number; readonly untilMs: MonotonicMs }
    | undefined;
  readonly reads: PendingReads;
  readonly uncommitted: UncommittedBytes;
  readonly clock: ClusterClock;
  /** Since when the own wall clock has been at odds with a quorum. */
  suspectSinceMs: MonotonicMs | undefined;
}
