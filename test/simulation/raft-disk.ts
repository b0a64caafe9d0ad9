// The durable log of a node as consensus sees it: whole batches that are there or not.
//
// Owns: what survives a crash. Bytes, sectors and checksums are the real log's business (it runs on
// `SimFiles` in the whole-replica simulation); here a batch is atomic, as the log's chain of
// checksums makes it, and damage is the loss of a suffix that the opened log knows about.

import type {
  Configuration,
  Entry,
  HardState,
  LogBatch,
  RecoveredState,
  SnapshotMeta,
  TermRun,
} from '../../src/raft/index.ts';
import type { MachineState } from './raft-machine.ts';

export class RaftDisk {
  hardState: HardState = { term: 0, vote: undefined };
  base: SnapshotMeta;
  /** Durable entries after `base`, in order. */
  entries: Entry[] = [];
  /** Set when damage was found and not healed since. */
  recovering = false;
  /** What damage took away: held once, so a quorum that counted it was real. */
  lost: Entry[] = [];
  /** The state machine's last flush. */
  flushed: MachineState;
  bootId = 0;

  constructor(configuration: Configuration, empty: MachineState) {
    this.base = { index: 0, term: 0, timeMs: 0, configuration };
    this.flushed = empty;
  }

  get lastIndex(): number {
    return this.base.index + this.entries.length;
  }

  termAt(index: number): number | undefined {
    if (index === this.base.index) {
      return this.base.term;
    }
    return this.entries[index - this.base.index - 1]?.term;
  }

  /** Whether the entry was ever durable here and not truncated since. */
  holds(index: number, term: number): boolean {
    if (index <= this.base.index) {
      return true;
    }
    return (
      this.termAt(index) === term ||
      this.lost.some((entry) => entry.index === index && entry.term === term)
    );
  }

  write(batch: LogBatch): void {
    if (batch.hardState !== undefined) {
      this.hardState = batch.hardState;
    }
    if (batch.truncateFrom !== undefined) {
      const from = batch.truncateFrom;
      this.entries.length = Math.min(this.entries.length, Math.max(0, from - this.base.index - 1));
      this.lost = this.lost.filter((entry) => entry.index < from);
    }
    for (const entry of batch.entries) {
      if (entry.index !== this.lastIndex + 1) {
        throw new Error(`hole: entry ${entry.index} written after ${this.lastIndex}`);
      }
      this.entries.push(entry);
    }
    if (batch.recovered) {
      this.recovering = false;
      this.lost = [];
    }
  }

  install(meta: SnapshotMeta): void {
    const keeps = this.termAt(meta.index) === meta.term && meta.index >= this.base.index;
    this.entries = keeps ? this.entries.slice(meta.index - this.base.index) : [];
    this.base = meta;
  }

  compact(index: number, configuration: Configuration): void {
    const last = this.entries[index - this.base.index - 1];
    if (last === undefined) {
      return;
    }
    this.entries = this.entries.slice(index - this.base.index);
    this.base = { index, term: last.term, timeMs: last.timeMs, configuration };
  }

  /** Loses everything from `index` on, as a bad sector found at opening does. */
  damage(index: number): void {
    const keep = Math.max(0, index - this.base.index - 1);
    this.lost.push(...this.entries.slice(keep));
    this.entries.length = Math.min(this.entries.length, keep);
    this.recovering = true;
  }

  recovered(nodeId: number, tailEntries: number): RecoveredState {
    const termRuns: TermRun[] = [];
    for (const entry of this.entries) {
      if (termRuns[termRuns.length - 1]?.term !== entry.term) {
        termRuns.push({ first: entry.index, term: entry.term });
      }
    }
    const tail = tailEntries === 0 ? [] : this.entries.slice(-tailEntries);
    return {
      nodeId,
      bootId: this.bootId,
      hardState: this.hardState,
      base: this.base,
      termRuns,
      lastIndex: this.lastIndex,
      lastTimeMs: this.entries[this.entries.length - 1]?.timeMs ?? this.base.timeMs,
      tail,
      configurations: [],
      recovering: this.recovering,
      appliedIndex: this.flushed.appliedIndex,
    };
  }
}
