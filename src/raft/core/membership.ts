// Who belongs to the cluster, by log index.
//
// Owns: the configurations of the log and of the base below it. A configuration is in force from
// the moment it is appended and until it is truncated (thesis §4.1), so the history is kept as far
// back as a truncation can reach. Does not own: counting (quorum.ts), proposing changes.
//
// Invariants: indexes increase; the first item belongs to the base and is never truncated.

import { assertThat, defined } from './assert.ts';
import type { Configuration, LogIndex, NodeId } from './types.ts';

/** Whether `id` has a vote, in either half of a joint configuration. */
export function isVoter(configuration: Configuration, id: NodeId): boolean {
  return configuration.voters.includes(id) || configuration.outgoing.includes(id);
}

export function isMember(configuration: Configuration, id: NodeId): boolean {
  return memberIds(configuration).includes(id);
}

/** Whether `id` alone is a quorum. */
export function isSoleVoter(configuration: Configuration, id: NodeId): boolean {
  const voters = voterIds(configuration);
  return voters.length === 1 && voters[0] === id;
}

/** Everyone with a vote, ascending. */
export function voterIds(configuration: Configuration): readonly NodeId[] {
  return ascending([...configuration.voters, ...configuration.outgoing]);
}

/** Everyone who receives the log, ascending. */
export function memberIds(configuration: Configuration): readonly NodeId[] {
  const { voters, outgoing, learners, learnersNext } = configuration;
  return ascending([...voters, ...outgoing, ...learners, ...learnersNext]);
}

function ascending(ids: readonly NodeId[]): readonly NodeId[] {
  return [...new Set(ids)].sort((left, right) => left - right);
}

interface Item {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

export class ConfigurationHistory {
  #items: Item[];
  #current: Configuration;

  constructor(base: Item, later: readonly Item[]) {
    this.#items = [base];
    this.#current = base.configuration;
    for (const item of later) this.append(item.index, item.configuration);
  }

  /** The configuration in force: the last one in the log, committed or not. */
  get current(): Configuration {
    return this.#current;
  }

  get currentIndex(): LogIndex {
    return this.#last().index;
  }

  append(index: LogIndex, configuration: Configuration): void {
    assertThat(index > this.#last().index, `configuration ${index} is older than the current one`);
    this.#items.push({ index, configuration });
    this.#current = configuration;
  }

  /** Undoes configurations at or above `index`. Returns whether another one is now in force. */
  truncateFrom(index: LogIndex): boolean {
    const before = this.#items.length;
    while (this.#items.length > 1 && this.#last().index >= index) this.#items.pop();
    this.#current = this.#last().configuration;
    return this.#items.length !== before;
  }

  /** Forgets what only a truncation at or below the committed `index` could bring back. */
  compactTo(index: LogIndex): void {
    let keepFrom = 0;
    for (const [position, item] of this.#items.entries()) {
      if (item.index <= index) keepFrom = position;
    }
    if (keepFrom > 0) this.#items = this.#items.slice(keepFrom);
  }

  /** Starts again from a snapshot. */
  resetTo(index: LogIndex, configuration: Configuration): void {
    this.#items = [{ index, configuration }];
    this.#current = configuration;
  }

  #last(): Item {
    return defined(this.#items.at(-1), 'the configuration of the base');
  }
}
