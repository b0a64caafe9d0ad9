import { describe, expect, it } from 'vitest';
import { formatDirectory, LogError } from '../../../../src/engine/log/index.ts';
import type { SnapshotMeta } from '../../../../src/raft/index.ts';
import type { MemoryFiles } from '../../../helpers/memory-files.ts';
import {
  append,
  batch,
  CONFIG,
  DIRECTORY,
  entries,
  entry,
  formatted,
  hard,
  IDENTITY,
  open,
  readAll,
  settle,
  summary,
} from './fixture.ts';

const CONFIGURATION = {
  voters: [1, 2, 3],
  outgoing: [],
  learners: [],
  learnersNext: [],
  members: IDENTITY.voters,
};

function meta(index: number, term: number): SnapshotMeta {
  return { index, term, timeMs: 1_000 + index, configuration: CONFIGURATION };
}

async function codeOf(action: Promise<unknown>): Promise<string | undefined> {
  try {
    await action;
  } catch (error) {
    return error instanceof LogError ? error.code : String(error);
  }
  return undefined;
}

async function reopened(files: MemoryFiles): ReturnType<typeof open> {
  files.crash();
  return open(files);
}

describe('a formatted directory', () => {
  it('opens empty, with the voters it was formatted with', async () => {
    const { opened, identity, marks } = await open(await formatted());
    expect(identity).toEqual(IDENTITY);
    expect(opened.recovered.base.configuration).toEqual(CONFIGURATION);
    expect(opened.recovered).toMatchObject({ nodeId: 1, lastIndex: 0, recovering: false });
    expect(opened.recovered.hardState).toEqual({ term: 0, vote: undefined });
    expect(marks).toEqual({ flushMark: undefined, installed: undefined, generation: 0 });
  });

  it('is never formatted again', async () => {
    const files = await formatted();
    const again = formatDirectory(files, DIRECTORY, IDENTITY, { segmentBytes: 8192 });
    expect(await codeOf(again)).toBe('ALREADY_FORMATTED');
  });

  it('is formatted wholly or not at all, whichever operation fails', async () => {
    for (let nth = 1; ; nth += 1) {
      const files = await formatted();
      for (const path of files.paths()) files.lose(path);
      const before = files.operations;
      files.failWhen((operation) => operation.number === before + nth, 'EIO');
      const failed = await codeOf(
        formatDirectory(files, DIRECTORY, IDENTITY, { segmentBytes: 8192 }),
      );
      if (failed === undefined) break;
      files.crash();
      if ((await codeOf(open(files))) === 'NOT_FORMATTED') {
        await formatDirectory(files, DIRECTORY, IDENTITY, { segmentBytes: 8192 });
      }
      expect((await open(files)).opened.recovered.lastIndex).toBe(0);
    }
  });

  it('is not made by opening: an empty directory is refused', async () => {
    const files = await formatted();
    for (const path of files.paths()) files.lose(path);
    expect(await codeOf(open(files))).toBe('NOT_FORMATTED');
  });

  it('without its votes or its identity is refused', async () => {
    for (const name of ['slots', 'identity']) {
      const files = await formatted();
      files.lose(`${DIRECTORY}/${name}`);
      expect(await codeOf(open(files))).toBe('IDENTITY_LOST');
    }
  });

  it('with a segment of another node is refused', async () => {
    const files = await formatted();
    const other = await formatted();
    const stranger = { ...IDENTITY, birthId: 'birth-of-a-wiped-node' };
    for (const path of other.paths()) other.lose(path);
    await formatDirectory(other, DIRECTORY, stranger, { segmentBytes: 8192 });
    const path = `${DIRECTORY}/segment-000000000001.log`;
    files.corrupt(path, (bytes) => bytes.set(other.content(path)));
    expect(await codeOf(open(files))).toBe('IDENTITY_MISMATCH');
  });

  it('counts its openings durably', async () => {
    const files = await formatted();
    expect((await open(files)).opened.bootId).toBe(1);
    expect((await reopened(files)).opened.bootId).toBe(2);
    expect((await reopened(files)).opened.recovered.bootId).toBe(3);
  });
});

describe('an append', () => {
  it('is there after a power cut once it is done', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await append(log, { hardState: hard(1, 2), entries: entries(1, 3) });
    await append(log, { entries: entries(4, 4) });
    const { opened, log: again } = await reopened(files);
    expect(opened.recovered).toMatchObject({
      lastIndex: 4,
      lastTimeMs: 1_004,
      hardState: hard(1, 2),
      termRuns: [{ first: 1, term: 1 }],
      recovering: false,
    });
    expect(summary(opened.recovered.tail)).toEqual(summary(entries(1, 4)));
    expect(summary(await readAll(again))).toEqual(summary(entries(1, 4)));
  });

  it('is one write and one flush', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await settle();
    const kinds: string[] = [];
    files.onOperation = ({ kind }) => kinds.push(kind);
    await append(log, { entries: entries(1, 20) });
    expect(kinds).toEqual(['write', 'datasync']);
  });

  it('is not done before its flush, nor inside the call', async () => {
    const files = await formatted();
    const { log } = await open(files);
    const order: string[] = [];
    files.onOperation = ({ kind }) => order.push(kind);
    await new Promise<void>((resolve) => {
      log.append(batch({ entries: entries(1, 1) }), () => {
        order.push('done');
        resolve();
      });
      order.push('returned');
    });
    expect(order[0]).toBe('returned');
    expect(order.indexOf('done')).toBeGreaterThan(order.indexOf('datasync'));
  });

  it('puts term and vote into the slots before it is done', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await append(log, { hardState: hard(3, 2) });
    // Even a log whose stream is gone remembers what it voted.
    const path = `${DIRECTORY}/segment-000000000001.log`;
    files.corrupt(path, (bytes) => bytes.fill(0xee, 512, 8192));
    const { opened } = await reopened(files);
    expect(opened.recovered.hardState).toEqual(hard(3, 2));
    expect(opened.recovering).toBeDefined();
  });

  it('larger than a segment gets a segment of its own size', async () => {
    const files = await formatted();
    const { log } = await open(files);
    const big = entry(2, 1, 'x'.repeat(50_000));
    await append(log, { entries: [entry(1), big] });
    await append(log, { entries: [entry(3)] });
    const { log: again } = await reopened(files);
    expect(summary(await readAll(again))).toEqual(summary([entry(1), big, entry(3)]));
  });

  it('spills over many segments, and payloads of zeroes are no torn sectors', async () => {
    const files = await formatted();
    const { log } = await open(files);
    const zeroes = '\0'.repeat(3_000);
    for (let index = 1; index <= 40; index += 1) {
      await append(log, { entries: [entry(index, 1, zeroes)] });
    }
    expect(log.stats().segments).toBeGreaterThan(10);
    const { log: again, opened } = await reopened(files);
    expect(opened.recovering).toBeUndefined();
    expect(summary(await readAll(again))).toEqual(summary(entries(1, 40, 1, zeroes)));
  });

  it('truncates by a record, and nothing is overwritten', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await append(log, { hardState: hard(1), entries: entries(1, 5) });
    const path = `${DIRECTORY}/segment-000000000001.log`;
    const before = files.content(path).slice();
    await append(log, { hardState: hard(2), truncateFrom: 3, entries: entries(3, 4, 2) });
    const after = files.content(path);
    const written = before.findLastIndex((byte) => byte !== 0) + 1;
    expect(after.slice(0, written)).toEqual(before.slice(0, written));
    const { opened, log: again } = await reopened(files);
    expect(summary(await readAll(again))).toEqual(summary([...entries(1, 2), ...entries(3, 4, 2)]));
    expect(opened.recovered.termRuns).toEqual([
      { first: 1, term: 1 },
      { first: 3, term: 2 },
    ]);
    expect(summary(opened.recovered.tail)).toEqual(summary(await readAll(again)));
  });

  it('of a configuration is undone with its truncation', async () => {
    const files = await formatted();
    const { log } = await open(files);
    const changed = { ...CONFIGURATION, learners: [4] };
    const position = { index: 2, term: 1, timeMs: 1_002 };
    await append(log, {
      entries: [entry(1), { ...position, kind: 'configuration', configuration: changed }, entry(3)],
    });
    const first = await reopened(files);
    expect(first.opened.recovered.configurations).toEqual([{ index: 2, configuration: changed }]);
    await append(first.log, { truncateFrom: 2 });
    const second = await reopened(files);
    expect(second.opened.recovered).toMatchObject({
      configurations: [],
      lastIndex: 1,
      lastTimeMs: 1_001,
    });
  });

  it('that does not follow ends the process and is never done', async () => {
    const cases = [
      { entries: entries(3, 3) },
      { truncateFrom: 9 },
      { hardState: hard(1, 3) },
      { hardState: hard(0) },
      { entries: [entry(2, 0)] },
    ];
    for (const wrong of cases) {
      const { log, fatal } = await open(await formatted());
      await append(log, { hardState: hard(1, 2), entries: entries(1, 1) });
      let done = false;
      log.append(batch(wrong), () => {
        done = true;
      });
      await settle();
      expect({ done, fatal: fatal.length }).toEqual({ done: false, fatal: 1 });
    }
  });
});

describe('reading', () => {
  it('gives at least one entry and otherwise keeps to the bound', async () => {
    const { log } = await open(await formatted());
    await append(log, { entries: entries(1, 30, 1, 'y'.repeat(100)) });
    expect(await log.read(1, 31, 0)).toHaveLength(1);
    expect(await log.read(1, 31, 300)).toHaveLength(3);
    expect(await log.read(28, 31, 100_000)).toHaveLength(3);
    expect(await log.read(31, 40, 100_000)).toHaveLength(0);
  });

  it('of a damaged record ends the process and names the place', async () => {
    const files = await formatted();
    const { log, fatal } = await open(files);
    await append(log, { entries: entries(1, 3, 1, 'z'.repeat(100)) });
    const path = `${DIRECTORY}/segment-000000000001.log`;
    const at = files.content(path).lastIndexOf('z'.charCodeAt(0)) - 200;
    files.flipBit(path, at, 3);
    let answered = false;
    void log.read(1, 4, 10_000).then(() => {
      answered = true;
    });
    await settle();
    expect(answered).toBe(false);
    expect(fatal[0]?.error.message).toMatch(/entry 2 .* segment-000000000001.log at offset \d+/);
  });
});

describe('compaction', () => {
  async function filled(files: MemoryFiles): ReturnType<typeof open> {
    const fixture = await open(files);
    for (let index = 1; index <= 60; index += 1) {
      await append(fixture.log, { entries: [entry(index, 1, 'x'.repeat(400))] });
    }
    return fixture;
  }

  it('drops whole segments behind a flush mark and keeps what is above', async () => {
    const files = await formatted();
    const { log } = await filled(files);
    const mark = { appliedIndex: 50, ledger: 7, digest: 0xfedc_ba98_7654_3210n };
    await append(log, { hardState: hard(1, 3) });
    await log.flushMark(mark);
    const base = await log.compact(40);
    expect(base.index).toBeGreaterThan(20);
    expect(base.index).toBeLessThanOrEqual(40);
    expect(await log.read(base.index, 61, 100)).toEqual([]);
    const { opened, log: again, marks } = await reopened(files);
    expect(opened.recovered.base).toEqual(meta(base.index, 1));
    expect(opened.recovered.hardState).toEqual(hard(1, 3));
    expect(marks.flushMark).toEqual(mark);
    expect(summary(await readAll(again))).toEqual(
      summary(entries(base.index + 1, 60, 1, 'x'.repeat(400))),
    );
    await settle();
    expect(files.paths().filter((path) => path.includes('segment-'))).toHaveLength(
      again.stats().segments + 2,
    );
  });

  it('above the flush mark is a broken invariant', async () => {
    const { log, fatal } = await filled(await formatted());
    await log.flushMark({ appliedIndex: 30, ledger: 1, digest: 1n });
    void log.compact(31);
    await settle();
    expect(fatal[0]?.error.message).toContain('compaction to 31');
  });

  it('does not begin at a base that a truncation has made void', async () => {
    const files = await formatted();
    const { log } = await filled(files);
    await append(log, { truncateFrom: 5, entries: entries(5, 60, 2, 'w'.repeat(20)) });
    await log.flushMark({ appliedIndex: 60, ledger: 1, digest: 1n });
    const base = await log.compact(60);
    expect(base.index).toBeLessThan(5);
    const { opened, log: again } = await reopened(files);
    expect(opened.recovering).toBeUndefined();
    expect((await readAll(again)).at(-1)).toMatchObject({ index: 60, term: 2 });
  });

  it('of a flush beyond the durable log is a broken invariant', async () => {
    const { log, fatal } = await open(await formatted());
    void log.flushMark({ appliedIndex: 1, ledger: 1, digest: 1n });
    await settle();
    expect(fatal).toHaveLength(1);
  });
});

describe('an installed snapshot', () => {
  it('keeps the suffix when its last entry is in the log', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await append(log, { entries: entries(1, 8) });
    await log.installed(meta(5, 1), 2);
    expect(log.opened().recovered).toMatchObject({ base: meta(5, 1), lastIndex: 8 });
    const { opened, marks, log: again } = await reopened(files);
    expect(opened.recovered).toMatchObject({ base: meta(5, 1), lastIndex: 8 });
    expect(marks).toMatchObject({ generation: 2, installed: { meta: meta(5, 1), generation: 2 } });
    expect(summary(await readAll(again))).toEqual(summary(entries(6, 8)));
    expect(summary(opened.recovered.tail)).toEqual(summary(entries(6, 8)));
  });

  it('drops the whole log when its last entry is not in it', async () => {
    for (const snapshot of [meta(5, 4), meta(20, 4)]) {
      const files = await formatted();
      const { log } = await open(files);
      await append(log, { entries: entries(1, 8) });
      await log.installed(snapshot, 3);
      const next = snapshot.index + 1;
      await append(log, { entries: entries(next, next + 1, 4) });
      const { opened, marks, log: again } = await reopened(files);
      expect(opened.recovered).toMatchObject({ base: snapshot, lastIndex: next + 1 });
      expect(marks.generation).toBe(3);
      expect(summary(await readAll(again))).toEqual(summary(entries(next, next + 1, 4)));
      expect(summary(opened.recovered.tail)).toEqual(summary(entries(next, next + 1, 4)));
    }
  });
});

describe('the tail', () => {
  it('is closed by a synced mark after 50 ms of idleness, once', async () => {
    const files = await formatted();
    const { log, clock } = await open(files);
    await append(log, { entries: entries(1, 1) });
    await settle();
    const kinds: string[] = [];
    files.onOperation = ({ kind }) => kinds.push(kind);
    clock.advance(49);
    await settle();
    expect(kinds).toEqual([]);
    clock.advance(60);
    await settle();
    expect(kinds).toEqual(['write', 'datasync']);
    clock.advance(1_000);
    await settle();
    expect(kinds).toEqual(['write', 'datasync']);
  });
});

describe('space', () => {
  it('below the floor closes admission, and work goes on', async () => {
    const config = { ...CONFIG, freeBytesMin: 100_000 };
    const files = await formatted();
    const { log, clock } = await open(files, config);
    await settle();
    expect(log.admissionOpen()).toBe(true);
    files.capacityBytes = 100_000;
    clock.advance(1_000);
    await settle();
    expect(log.admissionOpen()).toBe(false);
    await append(log, { entries: entries(1, 1) });
    files.capacityBytes = Number.POSITIVE_INFINITY;
    clock.advance(1_000);
    await settle();
    expect(log.admissionOpen()).toBe(true);
  });

  it('without a segment ahead closes admission; it opens again when one can be made', async () => {
    const files = await formatted();
    const { log, clock, fatal } = await open(files);
    await settle();
    files.failWhen((operation) => operation.kind === 'create', 'ENOSPC');
    let index = 0;
    while (log.stats().segmentsAhead > 0) {
      index += 1;
      await append(log, { entries: [entry(index, 1, 'x'.repeat(3_000))] });
    }
    expect(log.admissionOpen()).toBe(false);
    expect(fatal).toEqual([]);
    files.failWhen(() => false, 'EIO');
    clock.advance(1_000);
    await settle();
    expect(log.admissionOpen()).toBe(true);
  });

  it('that is gone altogether ends the process with exit code 75', async () => {
    const files = await formatted();
    const { log, fatal } = await open(files);
    await settle();
    files.failWhen((operation) => operation.kind === 'create', 'ENOSPC');
    for (let index = 1; fatal.length === 0 && index < 100; index += 1) {
      log.append(batch({ entries: [entry(index, 1, 'x'.repeat(3_000))] }), () => undefined);
      await settle();
    }
    expect(fatal[0]?.context).toMatchObject({ exitCode: 75, code: 'ENOSPC' });
    expect(log.admissionOpen()).toBe(false);
  });

  it('is held back in a ballast, given free at open on a full disk', async () => {
    const config = { ...CONFIG, freeBytesMin: 10_000, ballastBytes: 20_000 };
    const files = await formatted();
    const { clock } = await open(files, config);
    await settle();
    clock.advance(1_000);
    await settle();
    expect(files.content(`${DIRECTORY}/ballast`)).toHaveLength(20_000);
    files.crash();
    files.capacityBytes = 30_000;
    const { opened } = await open(files, config);
    expect(opened.bootId).toBe(2);
    expect(files.paths()).not.toContain(`${DIRECTORY}/ballast`);
  });
});

describe('closing', () => {
  it('ends what was asked for, marks the tail, and refuses afterwards', async () => {
    const files = await formatted();
    const { log } = await open(files);
    let done = false;
    log.append(batch({ entries: entries(1, 2) }), () => {
      done = true;
    });
    await log.close();
    expect(done).toBe(true);
    expect(await codeOf(log.read(1, 2, 10))).toBe('LOG_CLOSED');
    expect(await codeOf(log.compact(1))).toBe('LOG_CLOSED');
    expect((await reopened(files)).opened.recovered.lastIndex).toBe(2);
  });
});
