// Goal: no schedule of deliveries, losses, repeats, slow disks, crashes and timeouts breaks what Raft
// promises. Method: a seed draws one action after the other; the cluster checks after each; then
// everything works again and the nodes must become equal. fast-check prints the seed of a failure.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CoreBug } from '../../../../src/raft/core/index.ts';
import { Cluster, CONFIG, ET, randomOf } from './cluster.ts';

const ACTIONS = 1_000;

function chaos(cluster: Cluster, random: () => number): void {
  const pick = (count: number): number => Math.floor(random() * count);
  for (let action = 0; action < ACTIONS; action += 1) {
    const node = cluster.node(1 + pick(cluster.nodes.length));
    const roll = random();
    if (roll < 0.45) cluster.deliver(random() < 0.7 ? 0 : pick(cluster.messages.length));
    else if (roll < 0.48) cluster.deliver(pick(cluster.messages.length), true);
    else if (roll < 0.51) cluster.messages.splice(pick(cluster.messages.length), 1);
    else if (roll < 0.7) node.persist();
    else if (roll < 0.72) cluster.runTask();
    else if (roll < 0.8) cluster.leader?.propose(1 + pick(400));
    else if (roll < 0.81) node.step({ kind: 'readIndex', readId: action });
    else if (roll < 0.82) node.step({ kind: 'unreachable', peer: 1 + pick(cluster.nodes.length) });
    else if (roll < 0.825) node.step({ kind: 'refused', peer: 1 + pick(cluster.nodes.length) });
    else if (roll < 0.83) node.step({ kind: 'transferLeadership', to: undefined });
    else if (roll < 0.84) {
      if (node.core === undefined) node.start();
      else if (random() < 0.5) node.crash();
    } else {
      cluster.nowMs += random() < 0.05 ? pick(ET) : pick(30);
      cluster.fireTimers();
    }
    // A network forgets: what nobody delivered for long is gone.
    if (cluster.messages.length > 100) cluster.messages.splice(0, 50);
  }
}

function explore(seed: number, nodes: number, bugs: ReadonlySet<CoreBug>): Cluster {
  const cluster = new Cluster({ nodes, seed, bugs });
  chaos(cluster, randomOf(seed));
  cluster.checkLogs();
  return cluster;
}

test('whatever is lost, late, repeated or crashed, the promises of Raft hold and work goes on', () => {
  const seeds = fc.integer({ min: 0, max: 2 ** 31 });
  fc.assert(
    fc.property(seeds, fc.constantFrom(1, 3, 3, 4, 5), (seed, nodes) => {
      const cluster = explore(seed, nodes, new Set());
      for (const node of cluster.nodes) if (node.core === undefined) node.start();
      cluster.run(6 * ET);
      const { leader } = cluster;
      expect(leader?.propose(10)).toBe(true);
      leader?.step({ kind: 'readIndex', readId: ACTIONS });
      cluster.run(ET);
      expect(leader?.ready.get(ACTIONS)).toBeGreaterThan(0);
      const ends = cluster.nodes.map((node) => node.status);
      expect(new Set(ends.map((status) => status.lastIndex)).size).toBe(1);
      expect(new Set(ends.map((status) => status.commitIndex)).size).toBe(1);
      expect(leader?.status.uncommittedBytes).toBe(0);
      cluster.checkLogs();
    }),
    { numRuns: 25 },
  );
});

test('the same seed gives the same effects', () => {
  const effects = (): unknown => explore(4_711, 3, new Set()).nodes.map((node) => node.effects);
  expect(effects()).toEqual(effects());
});

// Shows that the checks above are no theatre; the rarer bugs are left to the simulator.
test.each([
  'commitOldTermByCounting',
  'ackBeforeFsync',
  'countSelfBeforeFsync',
  'truncateAlways',
] as const)('the deliberate bug %s is found', (bug) => {
  const bugs = new Set<CoreBug>([bug]);
  const find = (): void => {
    for (let seed = 1; seed <= 100; seed += 1) explore(seed, 3, bugs);
  };
  expect(find).toThrow();
});

test('the bounds of the test configuration are small enough to be met', () => {
  const cluster = new Cluster({ nodes: 3 });
  const leader = cluster.elect();
  let accepted = 0;
  while (accepted < 1_000 && leader.propose(400)) accepted += 1;
  expect(accepted).toBe(Math.floor(CONFIG.uncommittedBytesMax / (400 + 64)));
});
