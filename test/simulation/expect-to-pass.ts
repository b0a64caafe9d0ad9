// Runs seeds for a test: the first that fails ends it, with the whole report as the message.

import { describeFailure } from './report.ts';
import { requestOf, runLevel, seedRange } from './run-level.ts';
import type { Level } from './run-result.ts';

export const SEEDS_PER_TEST = 10;

export async function expectToPass(level: Level, seeds: Iterable<number>): Promise<void> {
  for (const seed of seeds) {
    const result = await runLevel(level, requestOf(seed));
    if (result.failure !== undefined) {
      const report = describeFailure(result, { level, nodes: undefined, bug: undefined });
      throw new Error(report.join('\n'));
    }
  }
}

/** The seeds of one test file, cut into tests: `[first, last]` of each. */
export function blocks(first: number, count: number): (readonly [number, number])[] {
  return seedRange(0, Math.ceil(count / SEEDS_PER_TEST)).map((block) => [
    first + block * SEEDS_PER_TEST,
    first + Math.min(count, (block + 1) * SEEDS_PER_TEST) - 1,
  ]);
}
