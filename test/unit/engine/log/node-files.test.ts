import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatDirectory, NodeFiles, openLog } from '../../../../src/engine/log/index.ts';
import { append, entries, hard, IDENTITY, readAll, summary } from './fixture.ts';
import { StepClock } from './step-clock.ts';

let directory = '';
const files = new NodeFiles();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'assent-log-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('the real file system', () => {
  it('reads back what was written at an offset, shorter at the end of the file', async () => {
    const path = join(directory, 'file');
    const handle = await files.open(path, 'create');
    await handle.writeAt(3, new Uint8Array([1, 2, 3]));
    await handle.datasync();
    expect(await handle.size()).toBe(6);
    expect([...(await handle.readAt(2, 10))]).toEqual([0, 1, 2, 3]);
    await handle.close();
    await expect(files.open(path, 'create')).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(files.open(`${path}2`, 'write')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('lists, renames and removes names', async () => {
    const inner = join(directory, 'inner');
    expect(await files.list(inner)).toEqual([]);
    await files.makeDirectory(inner);
    for (const name of ['b', 'a']) await (await files.open(join(inner, name), 'create')).close();
    await files.rename(join(inner, 'b'), join(inner, 'c'));
    await files.remove(join(inner, 'a'));
    await files.syncDirectory(inner);
    expect(await files.list(inner)).toEqual(['c']);
    expect(await files.freeBytes(inner)).toBeGreaterThan(0);
    await files.removeDirectory(inner);
    await files.removeDirectory(inner);
    expect(await files.list(inner)).toEqual([]);
  });

  it('carries a log over two lives', async () => {
    const home = join(directory, 'log');
    await formatDirectory(files, home, IDENTITY, { segmentBytes: 16_384 });
    const options = {
      files,
      directory: home,
      config: { segmentBytes: 16_384, freeBytesMin: 0, ballastBytes: 0 },
      clock: new StepClock(),
      fatal: (error: Error) => {
        throw error;
      },
      logger: {
        debug: () => undefined,
        info: () => undefined,
        warn: () => undefined,
        error: () => undefined,
      },
    };
    const first = await openLog(options);
    await append(first.log, { hardState: hard(1, 2), entries: entries(1, 10) });
    for (let index = 11; index <= 40; index += 1) {
      await append(first.log, { entries: entries(index, index, 1, 'x'.repeat(900)) });
    }
    await first.log.close();
    const second = await openLog(options);
    expect(second.opened.bootId).toBe(2);
    expect(second.opened.recovered.hardState).toEqual(hard(1, 2));
    expect(summary(await readAll(second.log))).toEqual(
      summary([...entries(1, 10), ...entries(11, 40, 1, 'x'.repeat(900))]),
    );
    await second.log.close();
  });
});
