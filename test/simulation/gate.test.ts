// The gate around the seeds: runs repeat exactly, deliberate bugs are found, old failures stay fixed.
//
// A deliberate bug is replayed with the seed that is known to find it, which is over at once. When
// the code has changed so much that this seed no longer does, the search goes on through the others.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { DELIBERATE_BUGS } from './deliberate-bugs.ts';
import { expectToPass } from './expect-to-pass.ts';
import { REGRESSIONS } from './regressions.ts';
import { describeFailure } from './report.ts';
import { findBug, requestOf, runLevel, SEARCH_SEEDS, seedRange } from './run-level.ts';
import type { Level } from './run-result.ts';

const LEVELS: readonly Level[] = ['raft', 'replica'];

/** All seeds of a search, from the known one on, around the circle. */
function fromKnown(known: number): number[] {
  return [...seedRange(known, SEARCH_SEEDS - known + 1), ...seedRange(1, known - 1)];
}

describe('deliberate bugs', () => {
  test.each(DELIBERATE_BUGS)('$name is found ($level)', async ({ name, level, knownSeed }) => {
    const bug = await findBug(level, name, fromKnown(knownSeed));
    expect(bug, `no seed of ${SEARCH_SEEDS} finds ${name}`).toBeDefined();
    if (bug?.cleanFailure !== undefined) {
      const report = describeFailure(bug.cleanFailure, { level, nodes: undefined, bug: undefined });
      throw new Error(`the seed fails without the bug too\n${report.join('\n')}`);
    }
  });
});

describe('determinism', () => {
  test.each(LEVELS)(
    'the same seed gives the same trace, twice and in a new process (%s)',
    async (level) => {
      const seed = 7;
      const { hash } = await runLevel(level, requestOf(seed));
      expect((await runLevel(level, requestOf(seed))).hash).toBe(hash);
      const run = fileURLToPath(new URL('run.ts', import.meta.url));
      const words = ['--import', 'tsx', run, '--level', level, '--seed', String(seed), '--hash'];
      const { stdout } = await promisify(execFile)(process.execPath, words);
      expect(stdout.trim()).toBe(`${seed} ${hash}`);
    },
  );
});

describe('regressions', () => {
  test.each(REGRESSIONS)('seed $seed ($level) passes: $found', async ({ seed, level }) => {
    await expectToPass(level, [seed]);
  });
});
