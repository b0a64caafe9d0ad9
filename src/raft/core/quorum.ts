// The only place that counts nodes: votes, commits, reads, check-quorum and clocks all ask here.
//
// Pure and total. A joint configuration needs a majority of `voters` and one of `outgoing`
// (thesis §4.3); an empty half agrees with everything. Plain sorts of at most nine values: an
// optimised structure that lost its order once committed without a quorum elsewhere.

import type { Configuration, NodeId } from './types.ts';

export type Tally = 'won' | 'lost' | 'undecided';

/** How many of `count` form a majority. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** Whether the nodes for which `has` holds are a quorum. */
export function hasQuorum(configuration: Configuration, has: (id: NodeId) => boolean): boolean {
  return halfHas(configuration.voters, has) && halfHas(configuration.outgoing, has);
}

/** The state of a ballot in which every node answers at most once. */
export function tally(
  configuration: Configuration,
  granted: ReadonlySet<NodeId>,
  refused: ReadonlySet<NodeId>,
): Tally {
  if (hasQuorum(configuration, (id) => granted.has(id))) return 'won';
  return hasQuorum(configuration, (id) => !refused.has(id)) ? 'undecided' : 'lost';
}

/**
 * The largest value that a quorum has reached: the commit index over match indexes, the confirmed
 * round over acknowledged rounds, the moment of quorum contact over moments of contact.
 * Infinity when there are no voters.
 */
export function quorumValue(
  configuration: Configuration,
  reachedBy: (id: NodeId) => number,
): number {
  const incoming = halfValue(configuration.voters, reachedBy);
  if (configuration.outgoing.length === 0) return incoming;
  return Math.min(incoming, halfValue(configuration.outgoing, reachedBy));
}

function halfHas(ids: readonly NodeId[], has: (id: NodeId) => boolean): boolean {
  if (ids.length === 0) return true;
  let count = 0;
  for (const id of ids) if (has(id)) count += 1;
  return count >= majorityOf(ids.length);
}

function halfValue(ids: readonly NodeId[], reachedBy: (id: NodeId) => number): number {
  const values: number[] = [];
  for (const id of ids) values.push(reachedBy(id));
  values.sort((left, right) => right - left);
  return values[majorityOf(ids.length) - 1] ?? Number.POSITIVE_INFINITY;
}
