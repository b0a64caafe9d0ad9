// Which part of the log, and which HardState, is on this node's disk.
//
// Owns: the writes under way and what each of them will have made durable. Does not own: the disk.
//
// Invariants
//   W1. Writes complete in the order of their ids; completing one completes those before it.
//   W2. durableIndex never covers an entry that a later truncation replaced: a truncation lowers
//       what the writes under way can attest (the ABA race of asynchronous storage).
//   W3. durableHardState never runs ahead of the write that carried it.
//
// Sources: paper Fig. 2 ("updated on stable storage before responding to RPCs"); thesis §10.2.1.

import { assertThat } from '../assert.ts';
import type { HardState, LogIndex } from '../types.ts';

interface Write {
  readonly writeId: number;
  readonly hardState: HardState | undefined;
  readonly recovered: boolean;
  /** The last index that this write attests; lowered by truncations. */
  attestsTo: LogIndex;
}

export class Writes {
  #durableIndex: LogIndex;
  #durableHardState: HardState;
  #outstanding: Write[] = [];
  #lastWriteId = 0;
  #recovered = false;

  constructor(durableIndex: LogIndex, hardState: HardState) {
    this.#durableIndex = durableIndex;
    this.#durableHardState = hardState;
  }

  get durableIndex(): LogIndex {
    return this.#durableIndex;
  }

  get durableHardState(): HardState {
    return this.#durableHardState;
  }

  /** The end of `recovering` is on the disk. */
  get recovered(): boolean {
    return this.#recovered;
  }

  get outstandingCount(): number {
    return this.#outstanding.length;
  }

  /** Registers a write of everything up to `lastIndex`. Returns its id, counted from 1. */
  begin(lastIndex: LogIndex, hardState: HardState | undefined, recovered = false): number {
    this.#lastWriteId += 1;
    const writeId = this.#lastWriteId;
    this.#outstanding.push({ writeId, hardState, recovered, attestsTo: lastIndex });
    return writeId;
  }

  /** `writeId` and everything before it is durable. Ids that completed already are harmless. */
  complete(writeId: number): void {
    assertThat(writeId <= this.#lastWriteId, `write ${writeId} was never asked for`);
    let done = 0;
    for (const write of this.#outstanding) {
      if (write.writeId > writeId) break;
      done += 1;
      this.#durableIndex = Math.max(this.#durableIndex, write.attestsTo);
      this.#durableHardState = write.hardState ?? this.#durableHardState;
      this.#recovered ||= write.recovered;
    }
    if (done > 0) this.#outstanding.splice(0, done);
  }

  /** Entries at and above `index` were replaced: no write so far attests them any more (W2). */
  truncateFrom(index: LogIndex): void {
    this.#durableIndex = Math.min(this.#durableIndex, index - 1);
    for (const write of this.#outstanding) write.attestsTo = Math.min(write.attestsTo, index - 1);
  }

  /** A snapshot that covers everything up to `index` is durable and in force. */
  installed(index: LogIndex): void {
    this.#durableIndex = Math.max(this.#durableIndex, index);
  }
}
