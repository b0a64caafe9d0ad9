// What a step wants done, gathered and put into order.
//
// Owns: the effects since the last drain, and the write that the current step adds up to. One step
// makes at most one `persist` effect, so that a HardState is never written apart from the entries of
// its term. Does not own: what is durable (log/writes.ts).
//
// Order within a step: role, messages that need no durability, the write, then everything else.
//
// Source: paper Fig. 2; docs/architecture.md §Consensus (messages that depend on a write travel
// inside it).

import { assertThat } from './assert.ts';
import type { Writes } from './log/writes.ts';
import type { Entry, HardState, LogIndex, Message, RaftEffect } from './types.ts';

type LateEffect = Exclude<RaftEffect, { readonly kind: 'persist' | 'send' | 'role' }>;

export class Outbox {
  #effects: RaftEffect[] = [];
  #late: LateEffect[] = [];
  #sends: Message[] = [];
  #release: Message[] = [];
  #hardState: HardState | undefined;
  #truncateFrom: LogIndex | undefined;
  #entries: Entry[] = [];
  #recovered = false;

  /** A message that asserts nothing about this node's disk. */
  send(message: Message): void {
    this.#sends.push(message);
  }

  /** A message that may leave only when everything decided so far is durable. */
  release(message: Message): void {
    this.#release.push(message);
  }

  role(effect: Extract<RaftEffect, { readonly kind: 'role' }>): void {
    this.#effects.push(effect);
  }

  emit(effect: LateEffect): void {
    this.#late.push(effect);
  }

  persistHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  persistEntry(entry: Entry): void {
    this.#entries.push(entry);
  }

  persistTruncation(from: LogIndex): void {
    assertThat(this.#entries.length === 0, 'a step truncates before it appends');
    this.#truncateFrom = from;
  }

  persistRecovered(): void {
    this.#recovered = true;
  }

  /**
   * Ends a step: everything so far becomes effects. `lastIndex` is the end of the log, and
   * `intended` what the write makes durable of the HardState, were it written faithfully.
   */
  flush(writes: Writes, lastIndex: LogIndex, intended: HardState): void {
    if (this.#sends.length > 0) {
      this.#effects.push({ kind: 'send', messages: this.#sends });
      this.#sends = [];
    }
    if (this.#writesSomething() || (this.#release.length > 0 && writes.outstandingCount > 0)) {
      this.#effects.push({
        kind: 'persist',
        writeId: writes.begin(
          lastIndex,
          this.#hardState === undefined ? undefined : intended,
          this.#recovered,
        ),
        hardState: this.#hardState,
        truncateFrom: this.#truncateFrom,
        entries: this.#entries,
        recovered: this.#recovered,
        release: this.#release,
      });
      this.#hardState = undefined;
      this.#truncateFrom = undefined;
      this.#entries = [];
      this.#recovered = false;
      this.#release = [];
    } else if (this.#release.length > 0) {
      this.#effects.push({ kind: 'send', messages: this.#release });
      this.#release = [];
    }
    if (this.#late.length > 0) {
      for (const effect of this.#late) this.#effects.push(effect);
      this.#late = [];
    }
  }

  drain(): readonly RaftEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #writesSomething(): boolean {
    return (
      this.#entries.length > 0 ||
      this.#hardState !== undefined ||
      this.#truncateFrom !== undefined ||
      this.#recovered
    );
  }
}
