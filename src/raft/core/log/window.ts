// The newest payloads of the log, bounded in bytes.
//
// Owns: entries `[firstIndex, nextIndex)`, contiguous up to the end of the log. Older payloads are
// read from the disk by the driver when a slow peer needs them. Does not own: terms (trail.ts).
//
// Invariants: cached ⊆ trail; an entry that is not durable is never evicted, because nobody else
// could supply it, so the bound can be exceeded by what is being written.

import { assertThat } from '../assert.ts';
import type { Entry, LogIndex } from '../types.ts';

/** Evicted slots are given back in batches of at least this many. */
const SLACK_MAX = 256;

export class Window {
  readonly #bytesMax: number;
  #slots: (Entry | undefined)[] = [];
  #sizes: number[] = [];
  /** Position of `firstIndex` in the arrays; what lies before it is evicted. */
  #head = 0;
  #firstIndex: LogIndex;
  #bytes = 0;

  constructor(bytesMax: number, firstIndex: LogIndex) {
    this.#bytesMax = bytesMax;
    this.#firstIndex = firstIndex;
  }

  /** Equal to `nextIndex` when nothing is cached. */
  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }

  get nextIndex(): LogIndex {
    return this.#firstIndex + this.#slots.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  append(entry: Entry, bytes: number): void {
    assertThat(entry.index === this.nextIndex, `payload ${entry.index} leaves a hole`);
    this.#slots.push(entry);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  at(index: LogIndex): Entry | undefined {
    if (index < this.#firstIndex) return undefined;
    return this.#slots[this.#head + index - this.#firstIndex];
  }

  /** Size of a cached entry; 0 for others. */
  sizeAt(index: LogIndex): number {
    if (index < this.#firstIndex) return 0;
    return this.#sizes[this.#head + index - this.#firstIndex] ?? 0;
  }

  /** Entries `[from, to)` when all are cached. */
  slice(from: LogIndex, to: LogIndex): readonly Entry[] | undefined {
    if (from < this.#firstIndex || to > this.nextIndex || from > to) return undefined;
    const start = this.#head + from - this.#firstIndex;
    return this.#slots.slice(start, start + to - from) as Entry[];
  }

  truncateFrom(index: LogIndex): void {
    if (index <= this.#firstIndex) {
      this.resetTo(index);
      return;
    }
    while (this.nextIndex > index) {
      this.#slots.pop();
      this.#bytes -= this.#sizes.pop() ?? 0;
    }
  }

  /** Starts empty at `index`. */
  resetTo(index: LogIndex): void {
    this.#slots = [];
    this.#sizes = [];
    this.#head = 0;
    this.#firstIndex = index;
    this.#bytes = 0;
  }

  /** Drops payloads at and below `index`. */
  dropTo(index: LogIndex): void {
    if (index >= this.nextIndex) {
      this.resetTo(index + 1);
      return;
    }
    while (this.#firstIndex <= index) this.#evictFirst();
  }

  /** Drops the oldest durable payloads until the bound holds. */
  evict(durableIndex: LogIndex): void {
    while (this.#bytes > this.#bytesMax && this.#firstIndex <= durableIndex) {
      if (this.#firstIndex === this.nextIndex) return;
      this.#evictFirst();
    }
  }

  #evictFirst(): void {
    this.#bytes -= this.#sizes[this.#head] ?? 0;
    this.#slots[this.#head] = undefined;
    this.#head += 1;
    this.#firstIndex += 1;
    if (this.#head >= SLACK_MAX && this.#head * 2 >= this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }
}
