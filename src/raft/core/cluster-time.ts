// Cluster time: what the entries of the log say, on the leader's watch.
//
// Owns: the leader's reading of cluster time and the samples of its peers' wall clocks. Does not
// own: the last time in the log (state.ts), handing leadership over (leader.ts).
//
// The reading advances with the leader's monotonic clock from the last time in the log. It is slewed
// towards the lower median of the voters' wall clocks, by at most a tenth of its pace, only while a
// quorum of them, the leader included, agrees. Once per leadership, when a quorum first agrees, it
// jumps forward to that median: time passed while nobody led. A clock that jumps decides nothing.
//
// Invariants: readings are integers and never decrease; no reading depends on one wall clock alone,
// except in a cluster of one voter, and the first one of a new cluster.

import { voterIds } from './membership.ts';
import { hasQuorum, majorityOf } from './quorum.ts';
import type { Configuration, Instant, LogTimeMs, MonotonicMs, NodeId, WallMs } from './types.ts';

/** Wall clocks within this distance of the median agree. */
export const CLOCK_AGREEMENT_MS = 500;
/** Cluster time runs at 0.9 to 1.1 times the pace of the monotonic clock. */
const SLEW_SHARE = 0.1;
/** A slower round trip says too little: the sample would be wrong by up to half of it. */
const ROUND_TRIP_MS_MAX = 400;
const SAMPLE_AGE_MS_MAX = 5_000;

interface Sample {
  /** Wall clock of the peer minus monotonic clock of this node: immune to jumps of our own wall. */
  readonly offsetMs: number;
  readonly atMs: MonotonicMs;
}

export class ClusterClock {
  #timeMs: LogTimeMs;
  #atMs: MonotonicMs;
  /** Distance to the agreed time that remains to be slewed, positive when we are behind. */
  #errorMs = 0;
  #tookOver = false;
  #suspect = false;
  readonly #samples = new Map<NodeId, Sample>();

  constructor(lastTimeMs: LogTimeMs, now: Instant) {
    // A new cluster has no time yet, and its first entries must not be decades old when a quorum
    // agrees: retention would forget them at once.
    this.#timeMs = lastTimeMs === 0 ? now.wallMs : lastTimeMs;
    this.#atMs = now.monotonicMs;
  }

  /** This node's own wall clock is at odds with a quorum that agrees. */
  get suspect(): boolean {
    return this.#suspect;
  }

  /** A quorum has agreed since this leadership began. */
  get tookOver(): boolean {
    return this.#tookOver;
  }

  /** Cluster time now. */
  read(now: Instant): LogTimeMs {
    return Math.floor(this.#exact(now.monotonicMs));
  }

  /** A peer's wall clock, read somewhere between `sentAtMs` and now. */
  sample(peer: NodeId, wallMs: WallMs, sentAtMs: MonotonicMs, now: Instant): void {
    const roundTripMs = now.monotonicMs - sentAtMs;
    if (roundTripMs < 0 || roundTripMs > ROUND_TRIP_MS_MAX) return;
    const offsetMs = wallMs + roundTripMs / 2 - now.monotonicMs;
    this.#samples.set(peer, { offsetMs, atMs: now.monotonicMs });
  }

  /** How far a peer's wall clock is ahead of ours; undefined when not known. */
  offsetOf(peer: NodeId, now: Instant): number | undefined {
    const wallMs = this.#wallOf(peer, now);
    return wallMs === undefined ? undefined : Math.round(wallMs - now.wallMs);
  }

  /** Whether a peer's clock is known to be near `medianMs` now. */
  agrees(peer: NodeId, now: Instant, configuration: Configuration, self: NodeId): boolean {
    const walls = this.#walls(configuration, self, now);
    const medianMs = lowerMedian(walls);
    const wallMs = walls.get(peer);
    if (medianMs === undefined || wallMs === undefined) return false;
    return Math.abs(wallMs - medianMs) <= CLOCK_AGREEMENT_MS;
  }

  /** Judges the clocks anew. Called once per heartbeat and when a quorum may first be known. */
  evaluate(configuration: Configuration, self: NodeId, now: Instant): void {
    this.#timeMs = this.#exact(now.monotonicMs);
    this.#atMs = now.monotonicMs;
    this.#errorMs = 0;
    this.#suspect = false;
    const walls = this.#walls(configuration, self, now);
    const medianMs = lowerMedian(walls);
    if (medianMs === undefined) return;
    const near = (id: NodeId): boolean =>
      Math.abs((walls.get(id) ?? Number.POSITIVE_INFINITY) - medianMs) <= CLOCK_AGREEMENT_MS;
    if (!hasQuorum(configuration, near)) return;
    if (!this.#tookOver) {
      this.#tookOver = true;
      this.#timeMs = Math.max(this.#timeMs, medianMs);
    }
    this.#suspect = Math.abs(now.wallMs - medianMs) > CLOCK_AGREEMENT_MS;
    if (!this.#suspect) this.#errorMs = medianMs - this.#timeMs;
  }

  #exact(monotonicMs: MonotonicMs): number {
    const elapsedMs = Math.max(0, monotonicMs - this.#atMs);
    const slewMs = Math.min(Math.abs(this.#errorMs), elapsedMs * SLEW_SHARE);
    return this.#timeMs + elapsedMs + Math.sign(this.#errorMs) * slewMs;
  }

  #wallOf(peer: NodeId, now: Instant): WallMs | undefined {
    const sample = this.#samples.get(peer);
    if (sample === undefined || now.monotonicMs - sample.atMs > SAMPLE_AGE_MS_MAX) return undefined;
    return sample.offsetMs + now.monotonicMs;
  }

  #walls(configuration: Configuration, self: NodeId, now: Instant): ReadonlyMap<NodeId, WallMs> {
    const walls = new Map<NodeId, WallMs>();
    for (const id of voterIds(configuration)) {
      const wallMs = id === self ? now.wallMs : this.#wallOf(id, now);
      if (wallMs !== undefined) walls.set(id, wallMs);
    }
    return walls;
  }
}

/** The middle value, the lower one of two: half of the clocks are at or beyond it either way. */
function lowerMedian(walls: ReadonlyMap<NodeId, WallMs>): WallMs | undefined {
  const ascending = [...walls.values()].sort((left, right) => left - right);
  return ascending[ascending.length - majorityOf(ascending.length)];
}
