// When to look at what: the heap, the window over the due index, and the queue of gids.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SCHEDULER_CONFIG } from '../../../../src/engine/scheduler/config.ts';
import { DueHeap } from '../../../../src/engine/scheduler/due-heap.ts';
import { DueWindow } from '../../../../src/engine/scheduler/due-window.ts';
import { GidQueue } from '../../../../src/engine/scheduler/gid-queue.ts';
import { ManualClock } from '../../../helpers/scheduler-clock.ts';

const gidArbitrary = fc.integer({ min: 0, max: 12 }).map((number) => `g${number}`);

describe('the heap', () => {
  it('behaves as a sorted map does', () => {
    const operation = fc.record({
      kind: fc.constantFrom('set', 'set', 'set', 'delete', 'first', 'keep'),
      gid: gidArbitrary,
      atMs: fc.integer({ min: 0, max: 100 }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const heap = new DueHeap();
        const model = new Map<string, number>();
        for (const { kind, gid, atMs } of operations) {
          if (kind === 'set') {
            heap.set({ gid, atMs, dueMs: undefined });
            model.set(gid, atMs);
          } else if (kind === 'delete') {
            expect(heap.delete(gid)).toBe(model.delete(gid));
          } else if (kind === 'keep') {
            const dropped = heap.keepEarliest(5);
            expect(dropped).toHaveLength(Math.max(0, model.size - 5));
            for (const entry of dropped) {
              model.delete(entry.gid);
            }
          }
          expect(heap.size).toBe(model.size);
          expect(heap.get(gid)?.atMs).toBe(model.get(gid));
          const earliest = model.size === 0 ? undefined : Math.min(...model.values());
          expect(heap.first()?.atMs).toBe(earliest);
        }
      }),
    );
  });
});

describe('the queue of gids', () => {
  it('gives each member once, in the order of arrival', () => {
    const operation = fc.record({
      kind: fc.constantFrom('add', 'add', 'delete', 'take'),
      gid: gidArbitrary,
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
        const queue = new GidQueue();
        const model: string[] = [];
        for (const { kind, gid } of operations) {
          if (kind === 'add') {
            queue.add(gid);
            if (!model.includes(gid)) {
              model.push(gid);
            }
          } else if (kind === 'delete') {
            queue.delete(gid);
            if (model.includes(gid)) {
              model.splice(model.indexOf(gid), 1);
            }
          } else {
            const taken = queue.take();
            expect(taken === undefined).toBe(model.length === 0);
            expect(taken === undefined || model.includes(taken)).toBe(true);
            model.splice(model.indexOf(taken ?? ''), taken === undefined ? 0 : 1);
          }
          expect(queue.size).toBe(model.length);
        }
      }),
    );
  });

  it('forgets what is behind it', () => {
    const queue = new GidQueue();
    for (let i = 0; i < 100_000; i += 1) {
      queue.add(`g${i}`);
      if (i % 2 === 1) {
        queue.take();
      }
    }
    expect(queue.take()).toBe('g50000');
  });
});

/** An index of due times beside the window, and what the window reported. */
function harness(dueEntriesMax: number) {
  const clock = new ManualClock(1_000_000);
  const index = new Map<string, number>();
  const looked: { readonly gid: string; readonly atMs: number }[] = [];
  const window = new DueWindow(
    {
      clock,
      nowMs: () => clock.nowMs,
      readDue: async (range, after, limit) => {
        const keyOf = (gid: string, dueMs: number): string =>
          `${String(dueMs).padStart(12, '0')}/${gid}`;
        const rows = [...index]
          .filter(([, dueMs]) => dueMs >= range.fromMs && dueMs < range.toMs)
          .map(([gid, dueMs]) => ({ gid, dueMs, key: keyOf(gid, dueMs) }))
          .filter(({ key }) => after === undefined || key > after)
          .sort((a, b) => (a.key < b.key ? -1 : 1))
          .slice(0, limit);
        await Promise.resolve();
        return { items: rows, next: rows.length < limit ? undefined : rows.at(-1)?.key };
      },
      isKnown: () => false,
      onDue: (gid) => {
        looked.push({ gid, atMs: clock.nowMs });
        index.delete(gid);
      },
      onDueEnd: () => undefined,
      onError: (error) => {
        throw error;
      },
    },
    { ...DEFAULT_SCHEDULER_CONFIG, dueEntriesMax, pageSize: 3 },
  );
  const rest = (gid: string, atMs: number, dueMs: number): void => {
    index.set(gid, dueMs);
    window.rest(gid, atMs, dueMs);
  };
  return { clock, index, looked, window, rest };
}

describe('the due window', () => {
  it('looks at everything that rests, never early, whatever the bound drops', async () => {
    const resting = fc.record({
      pauseMs: fc.integer({ min: 0, max: 20_000 }),
      delayMs: fc.integer({ min: 0, max: 300_000 }),
      /** The committed due time may be earlier than the time to look. */
      earlierMs: fc.constantFrom(0, 0, 0, 15_000),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(resting, { minLength: 1, maxLength: 40 }),
        fc.constantFrom(4, 10, 1000),
        async (plan, dueEntriesMax) => {
          const { clock, looked, window, rest } = harness(dueEntriesMax);
          window.open(clock.nowMs + 60_000);
          const wantedMs = new Map<string, number>();
          for (const [i, { pauseMs, delayMs, earlierMs }] of plan.entries()) {
            await clock.advance(pauseMs);
            const dueMs = clock.nowMs + delayMs;
            wantedMs.set(`g${i}`, dueMs);
            rest(`g${i}`, dueMs, dueMs - earlierMs);
            expect(window.size).toBeLessThanOrEqual(dueEntriesMax);
          }
          await clock.advance(1_000_000);
          expect(new Set(looked.map(({ gid }) => gid)).size).toBe(plan.length);
          const exact = dueEntriesMax === 1000;
          for (const { gid, atMs } of looked) {
            const lateMs = atMs - (wantedMs.get(gid) ?? 0);
            // Committed earlier than wanted: an early look is allowed, and costs one read.
            expect(lateMs).toBeGreaterThanOrEqual(-15_000);
            expect(lateMs).toBeLessThan(exact ? 1100 : 200_000);
          }
          window.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps only what the index will not bring in time', () => {
    const { clock, window, rest } = harness(100);
    window.open(clock.nowMs + 60_000);
    rest('far', clock.nowMs + 90_000, clock.nowMs + 90_000);
    expect(window.size).toBe(0);
    rest('near', clock.nowMs + 10_000, clock.nowMs + 10_000);
    rest('later than due', clock.nowMs + 90_000, clock.nowMs + 10_000);
    rest('earlier than due', clock.nowMs + 70_000, clock.nowMs + 90_000);
    expect(window.size).toBe(3);
    expect(window.lookAtMs('later than due')).toBe(clock.nowMs + 90_000);
    window.close();
    expect(clock.timerCount).toBe(0);
  });
});
