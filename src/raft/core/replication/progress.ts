// What a leader knows of one peer.
//
// Owns: matchIndex, nextIndex and the sending state of (peer, boot id). Does not own: messages.
//
//   probe      the common prefix is being looked for; one append, then silence until an answer or
//              the next heartbeat response
//   replicate  nextIndex runs ahead of the acknowledgements, within the in-flight bounds
//   snapshot   the peer needs entries that are compacted; no appends
//
// Invariants
//   G1. 0 ≤ matchIndex < nextIndex.
//   G2. matchIndex only grows, except that a newer boot of the peer resets it to 0: its disk may
//       have lost what an earlier boot acknowledged.
//   G3. In `snapshot` and while paused, no append with entries leaves.
//
// Sources: paper §5.3; thesis §10.2.1 (pipelining).

import type { BootId, LogIndex, MonotonicMs, NodeId } from '../types.ts';
import { Inflights } from './inflights.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export class Progress {
  readonly nodeId: NodeId;
  readonly inflights = new Inflights();
  bootId: BootId | undefined;
  matchIndex: LogIndex = 0;
  nextIndex: LogIndex;
  state: ProgressState = 'probe';
  /** Probe: an append is out, or sending was reported to fail. Cleared by a heartbeat response. */
  paused = false;
  /** The fetch that must answer before more can be sent. */
  fetchId: number | undefined;
  /** A `sendSnapshot` effect has not been answered yet, whatever the state is now. */
  streaming = false;
  /** Last time anything of this term arrived; the start of the leadership before that. */
  lastContactMs: MonotonicMs;
  hasAnswered = false;
  /** The newest heartbeat round of this leadership that was answered; 0 for none. */
  ackedRound = 0;
  /** Clients of the peer wait for indexes within `[interestFrom, interestTo]`; 0 for none. */
  interestFrom: LogIndex = 0;
  interestTo: LogIndex = 0;
  /** The largest commit index that an append to this peer could have made known to it. */
  commitSent: LogIndex = 0;

  constructor(
    nodeId: NodeId,
    bootId: BootId | undefined,
    at: { readonly lastIndex: LogIndex; readonly nowMs: MonotonicMs },
  ) {
    this.nodeId = nodeId;
    this.bootId = bootId;
    this.nextIndex = at.lastIndex + 1;
    this.lastContactMs = at.nowMs;
  }

  /** A newer boot of the peer: nothing that was known holds (G2). */
  rebooted(bootId: BootId, lastIndex: LogIndex): void {
    this.bootId = bootId;
    this.matchIndex = 0;
    this.ackedRound = 0;
    this.commitSent = 0;
    this.interestFrom = 0;
    this.interestTo = 0;
    this.becomeProbe(lastIndex + 1);
  }

  /** The peer holds everything up to `index`. Returns whether that is news. */
  acknowledge(index: LogIndex): boolean {
    const news = index > this.matchIndex;
    if (news) this.matchIndex = index;
    if (this.nextIndex <= this.matchIndex) this.nextIndex = this.matchIndex + 1;
    this.inflights.freeTo(this.matchIndex);
    return news;
  }

  /**
   * The peer refused the append behind `rejectedIndex` and may agree up to `agreeIndex`.
   * Returns false for a refusal that later answers have overtaken.
   */
  reject(rejectedIndex: LogIndex, agreeIndex: LogIndex): boolean {
    if (this.state === 'snapshot') return false;
    if (this.state === 'replicate') {
      if (rejectedIndex <= this.matchIndex) return false;
      this.becomeProbe(this.matchIndex + 1);
      return true;
    }
    if (rejectedIndex !== this.nextIndex - 1) return false;
    this.becomeProbe(Math.max(Math.min(rejectedIndex, agreeIndex + 1), this.matchIndex + 1));
    return true;
  }

  becomeProbe(nextIndex: LogIndex): void {
    this.#enter('probe');
    this.nextIndex = nextIndex;
  }

  becomeReplicate(): void {
    this.#enter('replicate');
    this.nextIndex = this.matchIndex + 1;
  }

  becomeSnapshot(): void {
    this.#enter('snapshot');
  }

  #enter(state: ProgressState): void {
    this.state = state;
    this.paused = false;
    this.fetchId = undefined;
    this.inflights.reset();
  }
}
