// Seeds that once failed, kept for ever. A change of what a seed draws changes what it runs, so each
// also names what it found; the defects themselves have unit tests.

import type { Level } from './run-result.ts';

export interface Regression {
  readonly seed: number;
  readonly level: Level;
  /** What the seed found, in one sentence. */
  readonly found: string;
}

export const REGRESSIONS: readonly Regression[] = [
  ...[29, 46, 168, 222, 234].map((seed) => ({
    seed,
    level: 'raft' as const,
    found: 'a compaction that ends during an install left the core behind the base of its log',
  })),
  {
    seed: 209,
    level: 'replica',
    found:
      'a new cluster began its log time at 0, and retention forgot its first transactions at once',
  },
  {
    seed: 212,
    level: 'replica',
    found: 'the state was flushed past the durable end of the log, behind a queued truncation',
  },
  {
    seed: 218,
    level: 'replica',
    found: 'the applier read entries from the disk that a queued truncation had made void',
  },
  ...[18, 37].map((seed) => ({
    seed,
    level: 'replica' as const,
    found: 'a callback was written that progress had postponed while it queued for its target',
  })),
  {
    seed: 409,
    level: 'replica',
    found: 'the comparison of states waited for a replica that had begun to rebuild its own',
  },
];
