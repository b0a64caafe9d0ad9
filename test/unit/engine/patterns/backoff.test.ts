import { describe, expect, test } from 'vitest';
import { nextAttempt, truncateText } from '../../../../src/engine/patterns/index.ts';

describe('back-off', () => {
  const end = { baseIntervalMs: 10_000, capMs: 60_000, random: 0.5, nowMs: 1000 };

  test('defect 12.16: unknown errors double the interval from its base up to the cap', () => {
    const intervals: number[] = [];
    let row = { intervalMs: 0 };
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const next = nextAttempt({ ...end, row, outcome: 'unknown' });
      expect(next.retryAtMs).toBe(1000 + next.intervalMs);
      intervals.push(next.intervalMs);
      row = next;
    }
    expect(intervals).toEqual([20_000, 40_000, 60_000, 60_000, 60_000]);
  });

  test('ongoing keeps the interval, success ends it, failure of a compensation counts as unknown', () => {
    const row = { intervalMs: 40_000 };
    expect(nextAttempt({ ...end, row, outcome: 'ongoing' }).intervalMs).toBe(40_000);
    expect(nextAttempt({ ...end, row, outcome: 'success' })).toEqual({
      retryAtMs: undefined,
      intervalMs: 10_000,
    });
    expect(nextAttempt({ ...end, row, outcome: 'failure' }).intervalMs).toBe(60_000);
  });

  test('jitter stays within a tenth, and a base above the cap is not shortened', () => {
    const row = { intervalMs: 0 };
    const at = (random: number) =>
      nextAttempt({ ...end, row, outcome: 'ongoing', random }).retryAtMs;
    expect(at(0)).toBe(10_000);
    expect(at(0.999_999)).toBe(12_000);
    const long = { ...end, baseIntervalMs: 90_000, row, outcome: 'unknown' } as const;
    expect(nextAttempt(long).intervalMs).toBe(90_000);
  });
});

describe('texts', () => {
  test('are cut at a character, and left alone when they fit', () => {
    expect(truncateText('abc', 3)).toBe('abc');
    expect(truncateText('aé', 2)).toBe('a');
    expect(truncateText('🦊🦊', 7)).toBe('🦊');
  });
});
