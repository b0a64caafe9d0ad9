// The gate's seeds of cores of consensus alone.

import { test } from 'vitest';
import { blocks, expectToPass } from './expect-to-pass.ts';
import { seedRange } from './run-level.ts';

test.each(blocks(1, 500))('seeds %i to %i keep every promise', async (first, last) => {
  await expectToPass('raft', seedRange(first, last - first + 1));
});
