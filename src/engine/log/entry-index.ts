// Where each live entry lies in the segment files.
//
// Owns: for every entry of the log its segment, offset, length and time, 16 bytes an entry in typed
// arrays. Does not own: the files, terms (log-state.ts).
//
// Invariants: indexes are contiguous from `firstIndex` to `lastIndex`; within a segment offsets grow.

import type { LogIndex, LogTimeMs } from '../../raft/index.ts';
import { LogError } from './errors.ts';

export interface EntryLocation {
  readonly segment: number;
  /** Of the record header. */
  readonly offset: number;
  readonly payloadBytes: number;
  readonly timeMs: LogTimeMs;
}

const RUN_CAPACITY_MIN = 64;
/** Records start on multiples of this; dividing lets an offset of up to 32 GiB fit in 32 bits. */
const OFFSET_UNIT_BYTES = 8;

class Run {
  readonly segment: number;
  /** Index of the entry at position `skipped`. */
  first: LogIndex;
  /** Positions at the head that were dropped. */
  skipped = 0;
  count = 0;
  #offsets = new Uint32Array(RUN_CAPACITY_MIN);
  #lengths = new Uint32Array(RUN_CAPACITY_MIN);
  #times = new Float64Array(RUN_CAPACITY_MIN);

  constructor(segment: number, first: LogIndex) {
    this.segment = segment;
    this.first = first;
  }

  push(offset: number, payloadBytes: number, timeMs: number): void {
    const at = this.skipped + this.count;
    if (at === this.#offsets.length) this.#grow();
    this.#offsets[at] = offset / OFFSET_UNIT_BYTES;
    this.#lengths[at] = payloadBytes;
    this.#times[at] = timeMs;
    this.count += 1;
  }

  at(index: LogIndex): EntryLocation {
    const at = this.skipped + index - this.first;
    return {
      segment: this.segment,
      offset: (this.#offsets[at] ?? 0) * OFFSET_UNIT_BYTES,
      payloadBytes: this.#lengths[at] ?? 0,
      timeMs: this.#times[at] ?? 0,
    };
  }

  #grow(): void {
    const capacity = this.#offsets.length * 2;
    const [offsets, lengths, times] = [this.#offsets, this.#lengths, this.#times];
    this.#offsets = new Uint32Array(capacity);
    this.#lengths = new Uint32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#offsets.set(offsets);
    this.#lengths.set(lengths);
    this.#times.set(times);
  }
}

export class EntryIndex {
  #runs: Run[] = [];

  push(index: LogIndex, location: EntryLocation): void {
    let run = this.#runs.at(-1);
    if (run !== undefined && run.first + run.count !== index) {
      throw new LogError('LOG_INVARIANT', `entry ${index} does not follow in the index`);
    }
    if (run?.segment !== location.segment) {
      run = new Run(location.segment, index);
      this.#runs.push(run);
    }
    run.push(location.offset, location.payloadBytes, location.timeMs);
  }

  /** Undefined when the log does not hold the entry. O(segments). */
  find(index: LogIndex): EntryLocation | undefined {
    for (let at = this.#runs.length - 1; at >= 0; at -= 1) {
      const run = this.#runs[at];
      if (run === undefined || index >= run.first + run.count) return undefined;
      if (index >= run.first) return run.at(index);
    }
    return undefined;
  }

  truncateFrom(index: LogIndex): void {
    for (let run = this.#runs.at(-1); run !== undefined; run = this.#runs.at(-1)) {
      run.count = Math.min(run.count, Math.max(0, index - run.first));
      if (run.count > 0) return;
      this.#runs.pop();
    }
  }

  /** Forgets entries at and below `index`. */
  dropThrough(index: LogIndex): void {
    for (let run = this.#runs[0]; run !== undefined; run = this.#runs[0]) {
      const drop = Math.min(run.count, Math.max(0, index + 1 - run.first));
      run.first += drop;
      run.skipped += drop;
      run.count -= drop;
      if (run.count > 0) return;
      this.#runs.shift();
    }
  }
}
