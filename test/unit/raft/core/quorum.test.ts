import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasQuorum, majorityOf, quorumValue, tally } from '../../../../src/raft/core/quorum.ts';
import type { Configuration } from '../../../../src/raft/core/types.ts';

const nodeIds = (minLength: number) =>
  fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength, maxLength: 7 });

const configurations = fc
  .record({ voters: nodeIds(1), outgoing: fc.oneof(fc.constant<number[]>([]), nodeIds(1)) })
  .map(
    ({ voters, outgoing }): Configuration => ({
      voters,
      outgoing,
      learners: [],
      learnersNext: [],
      members: [],
    }),
  );

/** Counts by the definition: more than half of each half of the configuration. */
function isQuorumByDefinition(configuration: Configuration, ids: ReadonlySet<number>): boolean {
  const agrees = (half: readonly number[]): boolean =>
    half.length === 0 || half.filter((id) => ids.has(id)).length * 2 > half.length;
  return agrees(configuration.voters) && agrees(configuration.outgoing);
}

test('a majority is more than half, for even and odd counts', () => {
  expect([1, 2, 3, 4, 5, 6, 7].map(majorityOf)).toEqual([1, 2, 2, 3, 3, 4, 4]);
});

test('a set is a quorum when it is more than half of both halves', () => {
  fc.assert(
    fc.property(configurations, nodeIds(0), (configuration, ids) => {
      const set = new Set(ids);
      expect(hasQuorum(configuration, (id) => set.has(id))).toBe(
        isQuorumByDefinition(configuration, set),
      );
    }),
  );
});

test('the quorum value is the largest one that a quorum has reached', () => {
  const values = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 10, maxLength: 10 });
  fc.assert(
    fc.property(configurations, values, (configuration, reached) => {
      const at = (id: number): number => reached[id]!;
      const largest = Math.max(
        ...[...new Set([0, ...reached])].filter((value) => {
          const holders = new Set(
            [...configuration.voters, ...configuration.outgoing].filter((id) => at(id) >= value),
          );
          return isQuorumByDefinition(configuration, holders);
        }),
      );
      expect(quorumValue(configuration, at)).toBe(largest);
    }),
  );
});

test('a ballot is won by a quorum and lost when the others cannot form one', () => {
  fc.assert(
    fc.property(configurations, nodeIds(0), nodeIds(0), (configuration, yes, no) => {
      const granted = new Set(yes);
      const refused = new Set(no.filter((id) => !granted.has(id)));
      const all = [...configuration.voters, ...configuration.outgoing];
      const possible = new Set(all.filter((id) => !refused.has(id)));
      const expected = isQuorumByDefinition(configuration, granted)
        ? 'won'
        : isQuorumByDefinition(configuration, possible)
          ? 'undecided'
          : 'lost';
      expect(tally(configuration, granted, refused)).toBe(expected);
    }),
  );
});
