// The second half of the gate's seeds of whole replicas: a process of its own.

import { test } from 'vitest';
import { blocks, expectToPass } from './expect-to-pass.ts';
import { seedRange } from './run-level.ts';

test.each(blocks(251, 250))('seeds %i to %i keep every promise', async (first, last) => {
  await expectToPass('replica', seedRange(first, last - first + 1));
});
