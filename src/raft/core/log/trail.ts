// The term of every entry of the log, without the entries.
//
// Owns: base, last index and term runs of the whole log, so that the core never has to wait for a
// disk to answer "which term has index i?". Memory is proportional to elections, not to entries.
// Does not own: payloads (window.ts), durability (writes.ts).
//
// Invariants: indexes are contiguous from base.index + 1 to lastIndex; terms never decrease; an
// unknown term is `undefined`, never 0 (two missing terms must not compare equal).
//
// Sources: paper §5.3 (consistency check and its accelerated back-off), thesis §10.1.

import { assertThat } from '../assert.ts';
import type { LogIndex, Term, TermRun } from '../types.ts';

export class Trail {
  #baseIndex: LogIndex;
  #baseTerm: Term;
  #lastIndex: LogIndex;
  /** Parallel arrays: run i covers `[#firsts[i], #firsts[i + 1])` with `#terms[i]`. */
  #firsts: LogIndex[] = [];
  #terms: Term[] = [];

  constructor(base: { readonly index: LogIndex; readonly term: Term }) {
    this.#baseIndex = base.index;
    this.#baseTerm = base.term;
    this.#lastIndex = base.index;
  }

  static recovered(
    base: { readonly index: LogIndex; readonly term: Term },
    runs: readonly TermRun[],
    lastIndex: LogIndex,
  ): Trail {
    const trail = new Trail(base);
    for (const [position, run] of runs.entries()) {
      const next = runs[position + 1]?.first ?? lastIndex + 1;
      assertThat(run.first === trail.#lastIndex + 1, `term run at ${run.first} leaves a hole`);
      assertThat(next > run.first, `term run at ${run.first} is empty`);
      trail.append(run.first, run.term);
      trail.#lastIndex = next - 1;
    }
    assertThat(trail.#lastIndex === lastIndex, `term runs end before ${lastIndex}`);
    return trail;
  }

  get baseIndex(): LogIndex {
    return this.#baseIndex;
  }

  get baseTerm(): Term {
    return this.#baseTerm;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get lastTerm(): Term {
    return this.#terms.at(-1) ?? this.#baseTerm;
  }

  get runs(): readonly TermRun[] {
    return this.#firsts.map((first, position) => ({ first, term: this.#terms[position] ?? 0 }));
  }

  /** The term at `index`; undefined below the base and above the last entry. */
  termAt(index: LogIndex): Term | undefined {
    if (index > this.#lastIndex || index < this.#baseIndex) return undefined;
    if (index === this.#baseIndex) return this.#baseTerm;
    return this.#terms[this.#runOf(index)];
  }

  append(index: LogIndex, term: Term): void {
    assertThat(index === this.#lastIndex + 1, `entry ${index} does not follow ${this.#lastIndex}`);
    const lastTerm = this.lastTerm;
    assertThat(term >= lastTerm, `entry ${index} of term ${term} follows one of term ${lastTerm}`);
    if (this.#terms.length === 0 || term !== lastTerm) {
      this.#firsts.push(index);
      this.#terms.push(term);
    }
    this.#lastIndex = index;
  }

  /** Removes entries at and above `index`, which must be above the base. */
  truncateFrom(index: LogIndex): void {
    assertThat(index > this.#baseIndex, `truncation from ${index} reaches into the snapshot`);
    if (index > this.#lastIndex) return;
    while ((this.#firsts.at(-1) ?? 0) >= index) {
      this.#firsts.pop();
      this.#terms.pop();
    }
    this.#lastIndex = index - 1;
  }

  /** Moves the base up to an entry of this log. */
  compactTo(index: LogIndex): void {
    if (index <= this.#baseIndex) return;
    const term = this.termAt(index);
    assertThat(term !== undefined, `compaction to ${index} beyond the log`);
    if (index === this.#lastIndex) {
      this.#firsts = [];
      this.#terms = [];
    } else {
      const run = this.#runOf(index + 1);
      this.#firsts = this.#firsts.slice(run);
      this.#terms = this.#terms.slice(run);
      this.#firsts[0] = Math.max(this.#firsts[0] ?? 0, index + 1);
    }
    this.#baseIndex = index;
    this.#baseTerm = term;
  }

  /** Replaces the log by a base. */
  resetTo(index: LogIndex, term: Term): void {
    this.#baseIndex = index;
    this.#baseTerm = term;
    this.#lastIndex = index;
    this.#firsts = [];
    this.#terms = [];
  }

  /**
   * The largest index at or below `index` whose term is at most `term`: the last place where two
   * logs can still agree. Undefined when it would lie below the base. One step per term run.
   */
  lastWithTermAtMost(index: LogIndex, term: Term): LogIndex | undefined {
    let candidate = Math.min(index, this.#lastIndex);
    if (candidate < this.#baseIndex) return undefined;
    while (candidate > this.#baseIndex) {
      const run = this.#runOf(candidate);
      if ((this.#terms[run] ?? 0) <= term) return candidate;
      candidate = (this.#firsts[run] ?? 0) - 1;
    }
    return this.#baseTerm <= term ? this.#baseIndex : undefined;
  }

  /** Position of the run that holds `index`, which is above the base and not above the last. */
  #runOf(index: LogIndex): number {
    let low = 0;
    let high = this.#firsts.length - 1;
    if ((this.#firsts[high] ?? 0) <= index) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#firsts[middle] ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
