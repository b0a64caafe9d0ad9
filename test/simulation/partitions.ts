// Which links a partition cuts: symmetric, one way, one node, or a single link.

import type { Prng } from './prng.ts';

export interface Partition {
  readonly kind: string;
  readonly cuts: readonly (readonly [from: number, to: number])[];
}

export function randomPartition(
  random: Prng,
  nodeIds: readonly number[],
  leader: number | undefined,
): Partition {
  const ids = random.shuffle(nodeIds);
  const kind = random.pick(['split', 'isolate', 'isolateLeader', 'oneWay', 'link'] as const);
  const cuts: [number, number][] = [];
  const [first, second] = ids;
  if (first === undefined || second === undefined) {
    return { kind, cuts };
  }
  if (kind === 'split') {
    const size = 1 + random.int(ids.length - 1);
    for (const a of ids.slice(0, size)) {
      for (const b of ids.slice(size)) {
        cuts.push([a, b], [b, a]);
      }
    }
    return { kind, cuts };
  }
  if (kind === 'link') {
    return {
      kind,
      cuts: [
        [first, second],
        [second, first],
      ],
    };
  }
  const away = kind === 'isolateLeader' && leader !== undefined ? leader : first;
  const inward = kind !== 'oneWay' || random.chance(0.5);
  const outward = kind !== 'oneWay' || !inward;
  for (const other of ids) {
    if (other !== away && inward) {
      cuts.push([other, away]);
    }
    if (other !== away && outward) {
      cuts.push([away, other]);
    }
  }
  return { kind, cuts };
}
