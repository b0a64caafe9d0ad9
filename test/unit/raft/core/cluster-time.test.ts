import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClusterClock } from '../../../../src/raft/core/cluster-time.ts';
import type { Configuration, Instant } from '../../../../src/raft/core/types.ts';

const EPOCH = 1_800_000_000_000;
const THREE: Configuration = {
  voters: [1, 2, 3],
  outgoing: [],
  learners: [],
  learnersNext: [],
  members: [],
};
const ALONE: Configuration = { ...THREE, voters: [1] };

const at = (monotonicMs: number, wallOffsetMs = 0): Instant => ({
  monotonicMs,
  wallMs: EPOCH + monotonicMs + wallOffsetMs,
});

/** Wall clocks of nodes 2 and 3, relative to the true one, read without delay. */
function hear(clock: ClusterClock, now: Instant, offsets: readonly (number | undefined)[]): void {
  for (const [position, offsetMs] of offsets.entries()) {
    if (offsetMs === undefined) continue;
    clock.sample(position + 2, EPOCH + now.monotonicMs + offsetMs, now.monotonicMs, now);
  }
}

describe('at takeover', () => {
  test('time goes on from the log at the monotonic pace until a quorum of clocks is known', () => {
    const clock = new ClusterClock(EPOCH - 60_000, at(0));
    clock.evaluate(THREE, 1, at(0));
    expect(clock.read(at(250))).toBe(EPOCH - 60_000 + 250);
    expect(clock.tookOver).toBe(false);
  });

  test('time jumps forward to the agreed wall time once, when a quorum agrees', () => {
    const clock = new ClusterClock(EPOCH - 60_000, at(0));
    hear(clock, at(10), [100, undefined]);
    clock.evaluate(THREE, 1, at(10));
    expect(clock.read(at(10))).toBe(EPOCH + 10);
  });

  test('time never goes back to the wall clocks: the last log time wins', () => {
    const clock = new ClusterClock(EPOCH + 5_000, at(0));
    hear(clock, at(10), [0, 0]);
    clock.evaluate(THREE, 1, at(10));
    expect(clock.read(at(10))).toBe(EPOCH + 5_010);
    expect(clock.read(at(1_010))).toBe(EPOCH + 5_910);
  });

  test('one bad clock and one good one decide nothing', () => {
    const clock = new ClusterClock(EPOCH - 1_000, at(0));
    hear(clock, at(10), [3_600_000, undefined]);
    clock.evaluate(THREE, 1, at(10));
    expect(clock.read(at(10))).toBe(EPOCH - 990);
    expect(clock.suspect).toBe(false);
  });

  test('a cluster of one voter follows its own wall clock', () => {
    const clock = new ClusterClock(EPOCH - 60_000, at(0));
    clock.evaluate(ALONE, 1, at(0));
    expect(clock.read(at(0))).toBe(EPOCH);
  });
});

describe('while leading', () => {
  const led = (): ClusterClock => {
    const clock = new ClusterClock(EPOCH - 60_000, at(0));
    hear(clock, at(0), [0, 0]);
    clock.evaluate(THREE, 1, at(0));
    return clock;
  };

  test('a leader whose clock jumps keeps its pace and says so', () => {
    const clock = led();
    const now = at(100, 3_600_000);
    hear(clock, now, [0, 0]);
    clock.evaluate(THREE, 1, now);
    expect(clock.suspect).toBe(true);
    expect(clock.read(at(200, 3_600_000))).toBe(EPOCH + 200);
    expect([clock.agrees(1, now, THREE, 1), clock.agrees(2, now, THREE, 1)]).toEqual([false, true]);
    expect(clock.offsetOf(2, now)).toBe(-3_600_000);
  });

  test('a peer whose clock jumps moves nothing', () => {
    const clock = led();
    hear(clock, at(100), [-3_600_000, 0]);
    clock.evaluate(THREE, 1, at(100));
    expect(clock.suspect).toBe(false);
    expect(clock.read(at(1_100))).toBe(EPOCH + 1_100);
  });

  test('drift of all clocks is followed at a tenth of the pace, and not overshot', () => {
    const clock = led();
    const now = at(1_000, 300);
    hear(clock, now, [300, 300]);
    clock.evaluate(THREE, 1, now);
    expect(clock.read(at(2_000, 300))).toBe(EPOCH + 2_100);
    expect(clock.read(at(60_000, 300))).toBe(EPOCH + 60_300);
  });

  test('answers that took too long, and old ones, are no evidence', () => {
    const clock = led();
    clock.sample(2, EPOCH + 9_000_000, 0, at(900));
    expect(clock.offsetOf(2, at(900))).toBe(0);
    expect(clock.offsetOf(2, at(60_000))).toBeUndefined();
  });
});

test('readings are integers and never decrease, whatever the clocks do', () => {
  const wild = fc.integer({ min: -5_000_000, max: 5_000_000 });
  const step = fc.record({
    elapsedMs: fc.double({ min: 0, max: 20_000, noNaN: true }),
    own: wild,
    peers: fc.tuple(wild, wild),
    isQuiet: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), wild, (steps, start) => {
      const clock = new ClusterClock(EPOCH + start, at(0));
      let monotonicMs = 0;
      let last = EPOCH + start;
      for (const { elapsedMs, own, peers, isQuiet } of steps) {
        monotonicMs += elapsedMs;
        const now = at(monotonicMs, own);
        const before = clock.read(now);
        if (!isQuiet) hear(clock, now, peers);
        clock.evaluate(THREE, 1, now);
        const reading = clock.read(now);
        expect(Number.isSafeInteger(reading)).toBe(true);
        expect(before).toBeGreaterThanOrEqual(last);
        expect(reading).toBeGreaterThanOrEqual(before);
        last = reading;
      }
    }),
  );
});
