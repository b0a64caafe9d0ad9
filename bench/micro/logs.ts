// Appends to the durable log on the real file system: each is one write and one fdatasync.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bench } from 'tinybench';
import { formatDirectory, NodeFiles, openLog } from '../../src/engine/log/index.ts';
import { clock, entryOf, fatal, silent } from './samples.ts';

const SEGMENT_BYTES = 64 * 1024 * 1024;

/** Returns what must be called at the end. */
export async function addLog(bench: Bench): Promise<() => Promise<void>> {
  const files = new NodeFiles();
  const directory = join(await mkdtemp(join(tmpdir(), 'assent-micro-')), 'data');
  const identity = {
    clusterId: 'bench',
    nodeId: 1,
    birthId: 'birth-1',
    voters: [{ nodeId: 1, birthId: 'birth-1' }],
  };
  await formatDirectory(files, directory, identity, { segmentBytes: SEGMENT_BYTES });
  const config = { segmentBytes: SEGMENT_BYTES };
  const { log } = await openLog({ files, directory, config, clock, fatal, logger: silent });
  let index = 0;
  for (const count of [1, 10, 100]) {
    const sample = entryOf(1, 1);
    bench.add(`log: append ${count} entries, durable`, async () => {
      const entries = Array.from({ length: count }, () => {
        index += 1;
        return { ...sample, index };
      });
      await new Promise<void>((done) =>
        log.append(
          { entries, hardState: undefined, truncateFrom: undefined, recovered: false },
          done,
        ),
      );
    });
  }
  return async () => {
    await log.close();
    await rm(join(directory, '..'), { recursive: true });
  };
}
