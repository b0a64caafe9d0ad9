import { describe, expect, it } from 'vitest';
import type { Entry, LogIndex } from '../../../../src/raft/index.ts';
import { Applier } from '../../../../src/raft/node/applier.ts';
import { NO_OBSERVER } from '../../../../src/raft/node/observer.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';
import { configurationOf, MemoryLog, MemoryMachine } from '../../../helpers/raft-memory.ts';

function entry(index: LogIndex): Entry {
  return { kind: 'noop', index, term: 1, timeMs: 0 };
}

function setUp(
  options: {
    readonly window?: (from: LogIndex, to: LogIndex) => readonly Entry[] | undefined;
    readonly entriesMax?: number;
    readonly bytesMax?: number;
    readonly durableIndex?: LogIndex;
  } = {},
) {
  const clock = new ManualClock();
  const log = new MemoryLog(clock, configurationOf([1]));
  log.open(1);
  const machine = new MemoryMachine(clock, configurationOf([1]));
  const trace: string[] = [];
  const applier = new Applier(
    {
      log,
      machine,
      clock,
      fatal: (error) => trace.push(`fatal ${error.message}`),
      observer: NO_OBSERVER,
      durableIndex: () => options.durableIndex ?? Number.POSITIVE_INFINITY,
      window: options.window ?? ((from, to) => range(from, to)),
      applied: (index) => trace.push(`applied ${index}`),
      bytesMax: options.bytesMax ?? 1 << 20,
      entriesMax: options.entriesMax ?? 100,
      sliceMsMax: 5,
    },
    0,
  );
  return { applier, clock, log, machine, trace };
}

function range(from: LogIndex, to: LogIndex): Entry[] {
  return Array.from({ length: to - from }, (_, i) => entry(from + i));
}

describe('the applier', () => {
  it('applies committed entries once and in order, in bounded batches', async () => {
    const { applier, clock, machine } = setUp({ entriesMax: 3 });
    applier.commit(4);
    applier.commit(7);
    await clock.advance(10);
    const applied = machine.batches.flat().map(({ index }) => index);
    expect(applied).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(Math.max(...machine.batches.map((batch) => batch.length))).toBe(3);
    expect(applier.appliedIndex).toBe(7);
  });

  it('applies one entry at least, whatever its size', async () => {
    const { applier, clock, machine } = setUp({ bytesMax: 1 });
    applier.commit(3);
    await clock.advance(10);
    expect(machine.batches.map((batch) => batch.length)).toEqual([1, 1, 1]);
  });

  it('takes what is not durable here from the window, not what the disk still holds there', async () => {
    // Entries 4 and 5 on disk are void: the truncation that says so is still queued.
    const { applier, clock, log, machine } = setUp({
      durableIndex: 3,
      window: (from, to) =>
        from < 3 ? undefined : range(from, to).map((e) => ({ ...e, term: 2 })),
    });
    log.append(
      { hardState: undefined, truncateFrom: undefined, entries: range(1, 6), recovered: false },
      () => undefined,
    );
    await clock.advance(2);
    applier.commit(5);
    await clock.advance(10);
    const terms = machine.batches.flat().map(({ index, term }) => [index, term]);
    expect(terms).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [4, 2],
      [5, 2],
    ]);
  });

  it('reads from the log what the core no longer holds', async () => {
    const { applier, clock, log, machine } = setUp({ window: () => undefined });
    log.append(
      { hardState: undefined, truncateFrom: undefined, entries: range(1, 6), recovered: false },
      () => undefined,
    );
    await clock.advance(2);
    applier.commit(5);
    await clock.advance(10);
    expect(machine.position.index).toBe(5);
  });

  it('stops the node when a committed entry is nowhere, rather than skip it (G4)', async () => {
    const { applier, clock, trace } = setUp({ window: () => undefined });
    applier.commit(2);
    await clock.advance(10);
    expect(trace).toEqual(['fatal committed entry 1 is in neither window nor log']);
  });

  it('stops the node when entries do not follow what is applied', async () => {
    const { applier, clock, trace } = setUp({ window: (from) => [entry(from + 1)] });
    applier.commit(3);
    await clock.advance(10);
    expect(trace[0]).toMatch(/fatal entry 2 was to be applied after 0/);
  });

  it('installs a snapshot only between two applies (F6)', async () => {
    const { applier, clock, machine, trace } = setUp();
    machine.applyMs = 5;
    applier.commit(2);
    applier.install(
      10,
      async () => {
        trace.push(`install over ${machine.position.index}`);
        machine.position = { index: 10, term: 1, timeMs: 0 };
      },
      () => trace.push('installed'),
    );
    applier.commit(12);
    await clock.advance(50);
    expect(trace).toEqual(['applied 2', 'install over 2', 'installed', 'applied 12']);
    expect(applier.appliedIndex).toBe(12);
  });

  it('gives the event loop back after a slice of work', async () => {
    const { applier, clock, machine, trace } = setUp({ entriesMax: 1 });
    machine.applyMs = 3;
    applier.commit(3);
    clock.after(6, () => trace.push('heartbeat'));
    await clock.advance(20);
    expect(trace).toEqual(['applied 1', 'heartbeat', 'applied 2', 'applied 3']);
  });

  it('ends with the apply under way when it stops', async () => {
    const { applier, clock, machine } = setUp({ entriesMax: 1 });
    machine.applyMs = 5;
    applier.commit(3);
    let idle = false;
    applier.stop(() => {
      idle = true;
    });
    expect(idle).toBe(false);
    await clock.advance(50);
    expect(idle).toBe(true);
    expect(machine.position.index).toBe(1);
  });
});
