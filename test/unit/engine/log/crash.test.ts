// What the disk does to the last batch, and what opening makes of it.
//
// Goal: whatever part of an unacknowledged write reached the disk, the reopened log is the
// acknowledged prefix, or that and the whole last batch. Method: build a log, leave one batch
// unsynced, and make every crash image that a disk could leave.

import { describe, expect, it } from 'vitest';
import type { Entry, LogBatch } from '../../../../src/raft/index.ts';
import { KEEP_UNSYNCED, type MemoryFiles } from '../../../helpers/memory-files.ts';
import {
  append,
  batch,
  CONFIG,
  DIRECTORY,
  entries,
  entry,
  formatted,
  hard,
  open,
  readAll,
  settle,
  summary,
} from './fixture.ts';

const SEGMENT = `${DIRECTORY}/segment-000000000001.log`;
const ACKED = entries(1, 4);

interface Image {
  /** The disk with the last batch written and not synced. */
  readonly files: MemoryFiles;
  /** The bytes of the segment before and after the last write. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly from: number;
  readonly to: number;
}

/** A log of `ACKED`, and `last` written but not flushed. */
async function unflushed(last: Partial<LogBatch>): Promise<Image> {
  const files = await formatted();
  const { log } = await open(files);
  await append(log, { hardState: hard(1, 2), entries: ACKED.slice(0, 2) });
  await append(log, { entries: ACKED.slice(2) });
  await settle();
  const before = files.content(SEGMENT).slice();
  files.failWhen((operation) => operation.kind === 'datasync', 'EIO');
  log.append(batch(last), () => {
    throw new Error('done without a flush');
  });
  await settle();
  const after = files.content(SEGMENT).slice();
  let from = 0;
  while (before[from] === after[from]) from += 1;
  let to = after.length;
  while (before[to - 1] === after[to - 1]) to -= 1;
  return { files, before, after, from, to };
}

async function reopen(files: MemoryFiles): Promise<{
  readonly found: string[];
  readonly recovering: boolean;
  readonly fixture: Awaited<ReturnType<typeof open>>;
}> {
  const fixture = await open(files);
  const found = summary(await readAll(fixture.log));
  return { found, recovering: fixture.opened.recovering !== undefined, fixture };
}

const LAST: Entry[] = [entry(5), entry(6, 1, 'long '.repeat(360))];

describe('a batch that was written and not flushed', () => {
  it('cut at every byte leaves the acknowledged log, or that and the batch', async () => {
    const image = await unflushed({ entries: LAST });
    const acked = summary(ACKED);
    const all = summary([...ACKED, ...LAST]);
    const kinds = { acked: 0, all: 0, recovering: 0 };
    for (let cut = image.from; cut <= image.to; cut += 1) {
      const files = image.files.clone();
      files.crash();
      files.corrupt(SEGMENT, (bytes) => {
        bytes.set(image.before);
        bytes.set(image.after.subarray(image.from, cut), image.from);
      });
      const { found, recovering } = await reopen(files);
      expect([acked, all]).toContainEqual(found);
      kinds[found.length === all.length ? 'all' : 'acked'] += 1;
      if (recovering) kinds.recovering += 1;
      expect(recovering && found.length === all.length).toBe(false);
    }
    expect(kinds.all).toBeGreaterThan(0);
    expect(kinds.acked).toBeGreaterThan(1_000);
    // A cut inside the first or the last sector is no torn write of whole sectors: nobody can tell it
    // from damage, so the node does not vote before it is healed.
    expect(kinds.recovering).toBeLessThanOrEqual(2 * 512);
  }, 30_000);

  it('with any subset of its sectors on the disk is erased, and the node may vote', async () => {
    const image = await unflushed({ entries: LAST });
    const sectors = image.files.dirtySectors(SEGMENT);
    expect(sectors.length).toBeGreaterThanOrEqual(4);
    for (let subset = 0; subset < 1 << sectors.length; subset += 1) {
      const files = image.files.clone();
      const kept = new Set(sectors.filter((_, position) => (subset & (1 << position)) !== 0));
      files.crash({ keepSector: (_, sector) => kept.has(sector), keepNames: () => true });
      const { found, recovering, fixture } = await reopen(files);
      expect(recovering).toBe(false);
      const whole = kept.size === sectors.length;
      expect(found).toEqual(summary(whole ? [...ACKED, ...LAST] : ACKED));
      // What was erased is gone for good: another batch in its place, another crash.
      const next = entry(found.length + 1, 1, 'after');
      await append(fixture.log, { entries: [next] });
      files.crash();
      const again = await reopen(files);
      expect(again.recovering).toBe(false);
      expect(again.found).toEqual([...found, ...summary([next])]);
    }
  });

  it('of payloads of zeroes is told from a torn one by the number of its empty sectors', async () => {
    const last = [entry(5, 1, '\0'.repeat(2_000)), entry(6)];
    const image = await unflushed({ entries: last });
    const sectors = image.files.dirtySectors(SEGMENT);
    for (let subset = 0; subset < 1 << sectors.length; subset += 1) {
      const files = image.files.clone();
      const kept = new Set(sectors.filter((_, position) => (subset & (1 << position)) !== 0));
      files.crash({ keepSector: (_, sector) => kept.has(sector), keepNames: () => true });
      const { found, recovering } = await reopen(files);
      expect(recovering).toBe(false);
      expect([summary(ACKED), summary([...ACKED, ...last])]).toContainEqual(found);
    }
  });

  it('that truncates leaves the old suffix or the new one, never a mixture', async () => {
    const last = {
      hardState: hard(2),
      truncateFrom: 3,
      entries: entries(3, 9, 2, 'n'.repeat(150)),
    };
    const image = await unflushed(last);
    const sectors = image.files.dirtySectors(SEGMENT);
    for (let subset = 0; subset < 1 << sectors.length; subset += 1) {
      const files = image.files.clone();
      const kept = new Set(sectors.filter((_, position) => (subset & (1 << position)) !== 0));
      const slots = subset % 2 === 0;
      files.crash({
        keepSector: (path, sector) => (path === SEGMENT ? kept.has(sector) : slots),
        keepNames: () => true,
      });
      const { found, recovering, fixture } = await reopen(files);
      expect(recovering).toBe(false);
      const changed = [...ACKED.slice(0, 2), ...last.entries];
      expect([summary(ACKED), summary(changed)]).toContainEqual(found);
      if (found.length === changed.length) {
        expect(fixture.opened.recovered.hardState).toEqual(hard(2));
      }
      expect(fixture.opened.recovered.hardState.term).toBeGreaterThanOrEqual(1);
    }
  });

  it('is on stable storage before an opening that saw it reports it', async () => {
    const image = await unflushed({ entries: LAST });
    const files = image.files.clone();
    // The process was killed; the page cache lived on. Then the power went.
    files.crash(KEEP_UNSYNCED);
    const seen: string[] = [];
    files.onOperation = ({ kind, path }) => seen.push(`${kind} ${path}`);
    const { found } = await reopen(files);
    expect(found).toEqual(summary([...ACKED, ...LAST]));
    expect(seen).toContain(`write ${SEGMENT}`);
    expect(seen.indexOf(`datasync ${SEGMENT}`)).toBeLessThan(
      seen.indexOf(`datasync ${DIRECTORY}/slots`),
    );
  });
});

interface Acked {
  entries: Entry[];
  term: number;
  vote: number | undefined;
}

/** Steps that touch everything the log can do; `acked` follows what was reported as durable. */
async function workload(log: Awaited<ReturnType<typeof open>>['log'], acked: Acked): Promise<void> {
  const filler = 'f'.repeat(700);
  const write = async (parts: Partial<LogBatch>): Promise<void> => {
    await append(log, parts);
    const kept = acked.entries.filter((one) => one.index < (parts.truncateFrom ?? Infinity));
    acked.entries = [...kept, ...(parts.entries ?? [])];
    acked.term = parts.hardState?.term ?? acked.term;
    acked.vote = parts.hardState === undefined ? acked.vote : parts.hardState.vote;
  };
  await write({ hardState: hard(1, 1), entries: entries(1, 3) });
  for (let index = 4; index <= 20; index += 1) {
    await write({ entries: [entry(index, 1, filler)] });
  }
  await write({ hardState: hard(2, 3), truncateFrom: 19, entries: entries(19, 22, 2) });
  await log.flushMark({ appliedIndex: 12, ledger: 1, digest: 5n });
  const base = await log.compact(12);
  acked.entries = acked.entries.filter((one) => one.index > base.index);
  for (let index = 23; index <= 30; index += 1) {
    await write({ entries: [entry(index, 2, filler)] });
  }
}

describe('a disk that fails', () => {
  it('at the n-th operation, for every n, loses nothing that was reported', async () => {
    let failures = 0;
    for (const lose of [true, false]) {
      for (let nth = 1; ; nth += 1) {
        const files = await formatted();
        const before = files.operations;
        const disk = { failed: false };
        files.failWhen(
          (operation) => {
            // Sticky: a disk that failed once does not come back.
            disk.failed ||= operation.number >= before + nth;
            return disk.failed;
          },
          nth % 2 === 0 ? 'EIO' : 'ENOSPC',
        );
        const acked: Acked = { entries: [], term: 0, vote: undefined };
        const work = { finished: false };
        const opening = open(files).then(
          (fixture) => fixture,
          () => undefined,
        );
        const fixture = await opening;
        if (fixture !== undefined) {
          const running = workload(fixture.log, acked).then(() => {
            work.finished = true;
          });
          await Promise.race([
            running,
            settleUntil(() => work.finished || fixture.fatal.length > 0),
          ]);
          expect(work.finished || fixture.fatal.length === 1).toBe(true);
        }
        files.crash(lose ? undefined : KEEP_UNSYNCED);
        const after = await open(files);
        const found = await readAll(after.log);
        expect(after.opened.recovering).toBeUndefined();
        const from = after.opened.recovered.base.index;
        const wanted = acked.entries.filter((one) => one.index > from);
        const kept = summary(found).slice(0, wanted.length);
        const untouched = kept.join() === summary(wanted).join();
        // An unacknowledged truncation may have become durable; nothing else may differ.
        const truncated = found.some((one) => one.term > acked.term);
        expect(untouched || truncated, `operation ${nth}`).toBe(true);
        expect(after.opened.recovered.hardState.term).toBeGreaterThanOrEqual(acked.term);
        if (after.opened.recovered.hardState.term === acked.term && acked.vote !== undefined) {
          expect(after.opened.recovered.hardState.vote).toBe(acked.vote);
        }
        failures += 1;
        if (!disk.failed) break;
      }
    }
    expect(failures).toBeGreaterThan(100);
  });

  it('once, at creating the next segment, ends nothing', async () => {
    const files = await formatted();
    const { log, fatal } = await open(files, CONFIG);
    await settle();
    let once = true;
    files.failWhen((operation) => {
      const fails = once && operation.kind === 'create';
      if (fails) once = false;
      return fails;
    }, 'EIO');
    for (let index = 1; index <= 40; index += 1) {
      await append(log, { entries: [entry(index, 1, 'x'.repeat(700))] });
    }
    expect(fatal).toEqual([]);
    files.crash();
    expect((await reopen(files)).found).toHaveLength(40);
  });
});

async function settleUntil(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000 && !condition(); turn += 1) await settle();
}
