// Rot: bits that flip, sectors and files that go missing, after they were acknowledged.
//
// Goal: it is found at open and named; the node never reports fewer entries, or an older vote, than it
// acknowledged without saying that it is recovering, and it goes on saying so until healed.

import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { LogError } from '../../../../src/engine/log/index.ts';
import type { SnapshotMeta } from '../../../../src/raft/index.ts';
import type { MemoryFiles } from '../../../helpers/memory-files.ts';
import {
  append,
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

const segmentPath = (sequence: number): string =>
  `${DIRECTORY}/segment-${String(sequence).padStart(12, '0')}.log`;

const SMALL = { ...CONFIG, segmentBytes: 2_048 };

/** Three segments in use, a vote in term 2, eight entries, closed by a mark. */
async function smallLog(): Promise<MemoryFiles> {
  const files = await formatted(SMALL);
  const { log, clock } = await open(files, SMALL);
  await append(log, { hardState: hard(1, 1), entries: entries(1, 2) });
  await append(log, { entries: entries(3, 4, 1, 'a'.repeat(200)) });
  await append(log, { entries: entries(5, 6, 1, 'b'.repeat(150)) });
  await append(log, { hardState: hard(2, 3), entries: entries(7, 7, 2) });
  await append(log, { entries: entries(8, 8, 2, 'c'.repeat(600)) });
  await settle();
  clock.advance(100);
  await settle();
  files.crash();
  return files;
}

function blankRegion(bytes: Uint8Array, offset: number): boolean {
  const sector = offset - (offset % 512);
  return bytes.subarray(sector, sector + 512).every((byte) => byte === 0);
}

describe('one flipped bit', () => {
  it('in any byte of any segment is found and named, or lies where nothing was written', async () => {
    const original = await smallLog();
    const reference = await open(original.clone(), SMALL);
    const all = summary(await readAll(reference.log));
    expect(all).toHaveLength(8);
    expect(reference.log.stats().segments).toBeGreaterThanOrEqual(2);
    const counts = { found: 0, harmless: 0 };
    for (const path of original.paths().filter((name) => name.includes('segment-'))) {
      const size = original.content(path).length;
      for (let offset = 0; offset < size; offset += 1) {
        const wasWritten = original.content(path)[offset] !== 0;
        // Blank regions are alike everywhere: a sample of their bytes will do.
        if (!wasWritten && blankRegion(original.content(path), offset) && offset % 29 !== 0)
          continue;
        const files = original.clone();
        files.flipBit(path, offset, (offset * 5) % 8);
        const fixture = await open(files, SMALL);
        const { recovering, recovered } = fixture.opened;
        expect(recovered.hardState).toEqual(hard(2, 3));
        const found = summary(await readAll(fixture.log));
        expect(all.slice(0, found.length)).toEqual(found);
        if (recovering === undefined) {
          expect(found).toEqual(all);
          expect(wasWritten, `${path} at ${offset}`).toBe(false);
          counts.harmless += 1;
        } else {
          expect(path).toContain(recovering.file);
          expect(recovering.offset).toBeLessThanOrEqual(offset);
          expect(recovering.lostFromIndex).toBeLessThanOrEqual(found.length + 1);
          counts.found += 1;
        }
        expect(fixture.fatal).toEqual([]);
      }
    }
    expect(counts.found).toBeGreaterThan(4_000);
    expect(counts.harmless).toBeGreaterThan(100);
  }, 60_000);

  it('in any byte of identity or slots changes nothing that the node knows', async () => {
    const original = await smallLog();
    for (const name of ['identity', 'slots']) {
      const path = `${DIRECTORY}/${name}`;
      for (let offset = 0; offset < original.content(path).length; offset += 1) {
        // Between the copies and the slots nothing is written; a sample shows that nothing is read.
        if (original.content(path)[offset] === 0 && offset % 61 !== 0) continue;
        const files = original.clone();
        files.flipBit(path, offset, offset % 8);
        const fixture = await open(files, SMALL);
        expect(fixture.identity).toEqual(IDENTITY);
        expect(fixture.opened.recovered.hardState).toEqual(hard(2, 3));
        expect(fixture.opened.recovering).toBeUndefined();
        // Repaired by that opening: the next one says nothing.
        files.crash();
        expect((await open(files, SMALL)).said.filter((one) => one.level === 'warn')).toEqual([]);
      }
    }
  }, 30_000);
});

async function codeOf(action: Promise<unknown>): Promise<string | undefined> {
  return action.then(
    () => undefined,
    (error: unknown) => (error instanceof LogError ? error.code : String(error)),
  );
}

/** Inverts one byte of entry 3 of `smallLog`. */
function damageEntry3(files: MemoryFiles): void {
  const at = Buffer.from(files.content(segmentPath(1))).indexOf('aaaa');
  files.flipBit(segmentPath(1), at, 0);
}

describe('damage', () => {
  it('cuts the log there, is kept over restarts and new entries, and ends when healed', async () => {
    const files = await smallLog();
    damageEntry3(files);
    const first = await open(files, SMALL);
    const info = first.opened.recovering;
    expect(info).toMatchObject({ reason: 'damaged', file: 'segment-000000000001.log' });
    expect(info?.lostFromIndex).toBe(3);
    expect(first.opened.recovered).toMatchObject({ lastIndex: 2, recovering: true });
    files.crash();
    const second = await open(files, SMALL);
    expect(second.opened.recovering).toEqual(info);
    await append(second.log, { hardState: hard(5), entries: entries(3, 30, 5) });
    files.crash();
    const third = await open(files, SMALL);
    expect(third.opened.recovering).toEqual(info);
    await append(third.log, { entries: entries(31, 31, 5), recovered: true });
    files.crash();
    const fourth = await open(files, SMALL);
    expect(fourth.opened.recovering).toBeUndefined();
    expect(summary(await readAll(fourth.log))).toEqual(
      summary([...entries(1, 2), ...entries(3, 31, 5)]),
    );
  });

  it('is kept in every segment header, also when the segment that named it is compacted', async () => {
    const files = await smallLog();
    damageEntry3(files);
    const { log, opened } = await open(files, SMALL);
    for (let index = 3; index <= 40; index += 1) {
      await append(log, { entries: [entry(index, 5, 'x'.repeat(500))] });
    }
    await log.flushMark({ appliedIndex: 40, ledger: 1, digest: 1n });
    expect((await log.compact(35)).index).toBeGreaterThan(20);
    files.crash();
    expect((await open(files, SMALL)).opened.recovering).toEqual(opened.recovering);
  });

  it('found again in what was written since is recovering from the lower index', async () => {
    const files = await smallLog();
    damageEntry3(files);
    const { log } = await open(files, SMALL);
    await append(log, { entries: entries(3, 9, 5) });
    await append(log, { entries: entries(10, 11, 5) });
    files.crash();
    const healed = files.paths().findLast((path) => files.content(path).includes(0x5a)) ?? '';
    files.corrupt(healed, (bytes) => bytes.fill(0x77, 1_100, 1_200));
    const { opened } = await open(files, SMALL);
    expect(opened.recovering?.lostFromIndex).toBe(3);
    expect(opened.recovered.lastIndex).toBeGreaterThanOrEqual(2);
    expect(opened.recovered.hardState).toEqual(hard(2, 3));
  });

  it('survives a crash at every operation of healing', async () => {
    for (let nth = 1; ; nth += 1) {
      const files = await smallLog();
      damageEntry3(files);
      const before = files.operations;
      const disk = { failed: false };
      files.failWhen((operation) => {
        disk.failed ||= operation.number >= before + nth;
        return disk.failed;
      }, 'EIO');
      await codeOf(open(files, SMALL));
      files.crash({ keepSector: (_, sector) => (sector * nth) % 3 === 0, keepNames: () => true });
      const { opened } = await open(files, SMALL);
      expect(opened.recovering?.lostFromIndex).toBe(3);
      expect(opened.recovered).toMatchObject({ lastIndex: 2, hardState: hard(2, 3) });
      if (!disk.failed) break;
    }
  });

  it('of the last batch, complete, is ambiguous', async () => {
    const files = await formatted();
    const { log } = await open(files);
    await append(log, { entries: entries(1, 2) });
    await append(log, { entries: [entry(3, 1, 'q'.repeat(100))] });
    files.crash();
    const at = files.content(segmentPath(1)).lastIndexOf('q'.charCodeAt(0));
    files.flipBit(segmentPath(1), at, 1);
    const { opened } = await open(files);
    expect(opened.recovering).toMatchObject({ reason: 'ambiguous', lostFromIndex: 3 });
    expect(opened.recovered.lastIndex).toBe(2);
  });

  it('that hides a truncation says how far back it may reach', async () => {
    const files = await formatted();
    const { log, clock } = await open(files);
    await append(log, { hardState: hard(1), entries: entries(1, 9) });
    await append(log, { hardState: hard(2), truncateFrom: 4, entries: entries(4, 5, 2) });
    await settle();
    clock.advance(100);
    await settle();
    files.crash();
    const at = files.content(segmentPath(1)).lastIndexOf('.'.charCodeAt(0));
    files.flipBit(segmentPath(1), at, 1);
    const { opened } = await open(files);
    expect(opened.recovering).toMatchObject({ reason: 'damaged', lostFromIndex: 4 });
    expect(opened.recovered.hardState).toEqual(hard(2));
  });

  it('of a whole segment that is missing is found', async () => {
    const original = await smallLog();
    const used = (await open(original.clone(), SMALL)).log.stats().segments;
    for (let sequence = 1; sequence <= used; sequence += 1) {
      const files = original.clone();
      files.lose(segmentPath(sequence));
      const { opened, log } = await open(files, SMALL);
      expect(opened.recovering).toMatchObject({ reason: 'damaged' });
      expect(opened.recovering?.file).toBe(segmentPath(sequence).slice(DIRECTORY.length + 1));
      expect(opened.recovered.hardState).toEqual(hard(2, 3));
      const found = await readAll(log);
      await append(log, { entries: [entry(found.length + 1, 7)] });
      files.crash();
      const again = await open(files, SMALL);
      expect(again.opened.recovering).toEqual(opened.recovering);
      expect(again.opened.recovered.lastIndex).toBe(found.length + 1);
    }
  });

  it('keeps damaged files aside, and not without bound', async () => {
    const config = { ...SMALL, damagedFilesMax: 2 };
    const files = await smallLog();
    const asideAfter: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const { log } = await open(files, config);
      asideAfter.push(files.paths().filter((path) => path.endsWith('.damaged')).length);
      const next = log.opened().recovered.lastIndex + 1;
      for (let index = next; index < next + 6; index += 1) {
        await append(log, { entries: [entry(index, 9, 'k'.repeat(900))] });
      }
      await settle();
      files.crash();
      const target = files.paths().filter((path) => path.endsWith('.log'))[round] ?? '';
      if (files.content(target).some((byte) => byte !== 0)) files.flipBit(target, 40, 2);
    }
    // All of what the first damage cut off; it may be the last copy.
    const [, first = 0, ...later] = asideAfter;
    expect(first).toBeGreaterThan(2);
    for (const kept of later) expect(kept).toBe(first);
    const { log } = await open(files, config);
    await append(log, { recovered: true });
    await log.close();
    await open(files, config);
    expect(files.paths().filter((path) => path.endsWith('.damaged'))).toHaveLength(2);
  });

  it('does not lose which snapshot is in effect, nor how far the state was proven', async () => {
    const files = await formatted();
    const { log, clock } = await open(files);
    const configuration = {
      voters: [1, 2, 3],
      outgoing: [],
      learners: [],
      learnersNext: [],
      members: IDENTITY.voters,
    };
    const meta: SnapshotMeta = { index: 50, term: 3, timeMs: 7, configuration };
    await append(log, { entries: entries(1, 5, 1, 'v'.repeat(200)) });
    await log.installed(meta, 4);
    await append(log, { entries: entries(51, 60, 3) });
    await log.flushMark({ appliedIndex: 55, ledger: 9, digest: 8n });
    clock.advance(100);
    await settle();
    files.crash();
    const at = Buffer.from(files.content(segmentPath(1))).indexOf('vvvv');
    files.flipBit(segmentPath(1), at, 0);
    const { opened, marks } = await open(files);
    expect(opened.recovering).toMatchObject({ reason: 'damaged', lostFromIndex: 51 });
    expect(opened.recovered).toMatchObject({ base: meta, lastIndex: 50 });
    expect(marks).toEqual({
      generation: 4,
      installed: { meta, generation: 4 },
      flushMark: { appliedIndex: 55, ledger: 9, digest: 8n },
    });
    files.crash();
    expect((await open(files)).opened.recovered).toMatchObject({ base: meta, lastIndex: 50 });
  });
});

describe('a log whose state', () => {
  it('is ahead of what can be read starts behind the state, as behind a snapshot', async () => {
    const files = await smallLog();
    damageEntry3(files);
    const { log, opened, marks } = await open(files, SMALL);
    expect(opened.recovered.lastIndex).toBe(2);
    const { configuration } = opened.recovered.base;
    const meta: SnapshotMeta = { index: 6, term: 1, timeMs: 1_006, configuration };
    await log.installed(meta, marks.generation);
    expect(log.opened().recovered).toMatchObject({
      base: meta,
      lastIndex: 6,
      tail: [],
      recovering: true,
    });
    await append(log, { entries: entries(7, 8, 2) });
    files.crash();
    const again = await open(files, SMALL);
    expect(again.opened.recovered).toMatchObject({ base: meta, lastIndex: 8, recovering: true });
  });

  it('is lost starts over, recovering, and remembers its votes and its generation', async () => {
    for (let nth = 1; ; nth += 1) {
      const files = await smallLog();
      const first = await open(files, SMALL);
      const { configuration } = first.opened.recovered.base;
      await first.log.installed({ index: 6, term: 1, timeMs: 1_006, configuration }, 4);
      files.crash();
      const before = files.operations;
      const disk = { failed: false };
      files.failWhen((operation) => {
        disk.failed ||= operation.number >= before + nth;
        return disk.failed;
      }, 'EIO');
      await codeOf(open(files, SMALL, [], true));
      files.crash();
      await open(files, SMALL, [], true);
      files.crash();
      const { opened, log, marks } = await open(files, SMALL);
      expect(opened.recovering).toMatchObject({ file: 'state', lostFromIndex: 1 });
      expect(opened.recovered).toMatchObject({ lastIndex: 0, hardState: hard(2, 3) });
      expect(opened.recovered.base.configuration).toEqual(configuration);
      expect(marks).toEqual({ generation: 4, flushMark: undefined, installed: undefined });
      await append(log, { hardState: hard(3), entries: entries(1, 2, 3) });
      if (!disk.failed) break;
    }
  });
});

describe('a node whose votes cannot be known', () => {
  it('because both slots are damaged is refused', async () => {
    const files = await smallLog();
    files.corrupt(`${DIRECTORY}/slots`, (bytes) => bytes.fill(0));
    expect(await codeOf(open(files, SMALL))).toBe('IDENTITY_LOST');
  });

  it('because a slot and the log are damaged is refused', async () => {
    const files = await smallLog();
    files.flipBit(`${DIRECTORY}/slots`, 40, 1);
    damageEntry3(files);
    expect(await codeOf(open(files, SMALL))).toBe('IDENTITY_LOST');
  });
});

describe('the deliberate bug', () => {
  it('treatDamageAsTorn forgets what was lost', async () => {
    const files = await smallLog();
    damageEntry3(files);
    const { opened } = await open(files, SMALL, ['treatDamageAsTorn']);
    expect(opened.recovered).toMatchObject({ lastIndex: 2, recovering: false });
  });

  it('doneBeforeSync reports what a power cut takes back', async () => {
    const files = await formatted();
    const { log } = await open(files, CONFIG, ['doneBeforeSync']);
    files.failWhen((operation) => operation.kind === 'datasync', 'EIO');
    await append(log, { entries: entries(1, 1) });
    files.crash();
    expect((await open(files)).opened.recovered.lastIndex).toBe(0);
  });

  it('skipSlots forgets a vote with the part of the stream that held it', async () => {
    const files = await formatted();
    const { log } = await open(files, CONFIG, ['skipSlots']);
    await append(log, { hardState: hard(3, 2) });
    files.crash();
    files.corrupt(segmentPath(1), (bytes) => bytes.fill(0xee, 512, 1_024));
    expect((await open(files)).opened.recovered.hardState.term).toBe(0);
  });

  it('compactWithoutMark compacts what the state may not hold', async () => {
    const { log, fatal } = await open(await formatted(), CONFIG, ['compactWithoutMark']);
    for (let index = 1; index <= 30; index += 1) {
      await append(log, { entries: [entry(index, 1, 'x'.repeat(700))] });
    }
    expect((await log.compact(25)).index).toBeGreaterThan(10);
    expect(fatal).toEqual([]);
  });
});
