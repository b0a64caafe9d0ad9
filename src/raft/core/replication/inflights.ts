// Appends sent to one peer and not yet acknowledged.
//
// Owns: their last indexes and sizes, oldest first. Bounded by its user (`inflightAppendsMax` is 2:
// deep pipelines raise the tail latency on a local network and gain nothing).

import { assertThat } from '../assert.ts';
import type { LogIndex } from '../types.ts';

interface Inflight {
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

export class Inflights {
  #items: Inflight[] = [];
  #bytes = 0;

  get count(): number {
    return this.#items.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(lastIndex: LogIndex, bytes: number): void {
    assertThat(lastIndex > (this.#items.at(-1)?.lastIndex ?? 0), 'appends in flight must increase');
    this.#items.push({ lastIndex, bytes });
    this.#bytes += bytes;
  }

  /** Frees every append whose entries are all at or below `index`. */
  freeTo(index: LogIndex): void {
    let freed = 0;
    for (const item of this.#items) {
      if (item.lastIndex > index) break;
      freed += 1;
      this.#bytes -= item.bytes;
    }
    if (freed > 0) this.#items.splice(0, freed);
  }

  reset(): void {
    this.#items = [];
    this.#bytes = 0;
  }
}
