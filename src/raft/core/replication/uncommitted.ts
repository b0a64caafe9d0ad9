// Bytes that this leader appended and that are not committed.
//
// Owns: the sizes, counted once at append and released at commit, so that the sum returns to 0 when
// everything is committed (a counter that leaks refuses all proposals in the end).

import { assertThat } from '../assert.ts';
import type { LogIndex } from '../types.ts';

export class UncommittedBytes {
  #sizes: number[] = [];
  #head = 0;
  #firstIndex: LogIndex;
  #bytes = 0;

  /** `firstIndex` is where the leadership begins; what lies below it is not counted. */
  constructor(firstIndex: LogIndex) {
    this.#firstIndex = firstIndex;
  }

  get bytes(): number {
    return this.#bytes;
  }

  append(index: LogIndex, bytes: number): void {
    assertThat(
      index === this.#firstIndex + this.#sizes.length - this.#head,
      'sizes are contiguous',
    );
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  commitTo(index: LogIndex): void {
    while (this.#firstIndex <= index && this.#head < this.#sizes.length) {
      this.#bytes -= this.#sizes[this.#head] ?? 0;
      this.#head += 1;
      this.#firstIndex += 1;
    }
    if (this.#head === this.#sizes.length || this.#head >= 1_024) {
      this.#sizes = this.#sizes.slice(this.#head);
      this.#head = 0;
    }
  }
}
