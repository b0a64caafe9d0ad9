import { expect, test } from 'vitest';
import {
  ConfigurationHistory,
  isMember,
  isSoleVoter,
  isVoter,
  memberIds,
  voterIds,
} from '../../../../src/raft/core/membership.ts';
import type { Configuration } from '../../../../src/raft/core/types.ts';

const of = (voters: number[], outgoing: number[] = [], learners: number[] = []): Configuration => ({
  voters,
  outgoing,
  learners,
  learnersNext: [],
  members: [],
});

test('both halves of a joint configuration vote; learners only receive', () => {
  const joint = of([3, 1], [1, 2], [9]);
  expect(voterIds(joint)).toEqual([1, 2, 3]);
  expect(memberIds(joint)).toEqual([1, 2, 3, 9]);
  expect([isVoter(joint, 2), isVoter(joint, 9), isMember(joint, 9)]).toEqual([true, false, true]);
  expect([isSoleVoter(of([4]), 4), isSoleVoter(of([4], [5]), 4)]).toEqual([true, false]);
});

test('a configuration is in force from its append until its truncation', () => {
  const history = new ConfigurationHistory({ index: 0, configuration: of([1]) }, []);
  history.append(5, of([1, 2]));
  history.append(9, of([1, 2, 3]));
  expect(history.current.voters).toEqual([1, 2, 3]);
  expect(history.truncateFrom(6)).toBe(true);
  expect([history.current.voters, history.currentIndex]).toEqual([[1, 2], 5]);
  expect(history.truncateFrom(6)).toBe(false);
});

test('compaction keeps the configuration that a truncation can still bring back', () => {
  const history = new ConfigurationHistory({ index: 0, configuration: of([1]) }, [
    { index: 5, configuration: of([1, 2]) },
    { index: 9, configuration: of([1, 2, 3]) },
  ]);
  history.compactTo(7);
  history.truncateFrom(8);
  expect(history.current.voters).toEqual([1, 2]);
  history.truncateFrom(1);
  expect(history.current.voters).toEqual([1, 2]);
});
