// Merging of persist effects that queued while the log was busy into one write.
//
// Owns: what a sequence of effects amounts to. Does not own: the queue (persister.ts).
//
// Invariant: writing the merged batch leaves the log as writing the effects one by one would have,
// so a completion may attest all of them (docs/architecture.md §Consensus; bugs A3, C21). Where a
// later effect truncates below entries of an earlier one, these were never durable and are dropped;
// a truncation that reaches only such entries leaves no trace in the log.

import type { Entry, HardState, LogIndex, PersistEffect } from '../core/index.ts';
import type { LogBatch } from './ports.ts';

/** @throws when the effects leave a gap between entries: a broken invariant of the core. */
export function mergePersists(effects: readonly PersistEffect[]): LogBatch {
  let hardState: HardState | undefined;
  let truncateFrom: LogIndex | undefined;
  let entries: Entry[] = [];
  let recovered = false;
  for (const effect of effects) {
    hardState = effect.hardState ?? hardState;
    recovered ||= effect.recovered;
    if (effect.truncateFrom !== undefined) {
      const at = effect.truncateFrom;
      const base = entries[0]?.index ?? truncateFrom;
      entries = entries.filter((entry) => entry.index < at);
      // Above `base` everything is in this batch only; at `base` nothing durable is touched.
      if (base === undefined || at < base) truncateFrom = at;
    }
    for (const entry of effect.entries) {
      const expected = (entries.at(-1)?.index ?? entry.index - 1) + 1;
      const first = entries.length === 0 && truncateFrom !== undefined ? truncateFrom : expected;
      if (entry.index !== first) {
        throw new Error(`entry ${entry.index} was to be persisted where ${first} belongs`);
      }
      entries.push(entry);
    }
  }
  return { hardState, truncateFrom, entries, recovered };
}
