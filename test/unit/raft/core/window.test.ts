import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Window } from '../../../../src/raft/core/log/window.ts';
import type { Entry } from '../../../../src/raft/core/types.ts';

const entry = (index: number): Entry => ({ kind: 'noop', index, term: 1, timeMs: 0 });

function filled(count: number, bytesMax = 1_000_000): Window {
  const window = new Window(bytesMax, 1);
  for (let index = 1; index <= count; index += 1) window.append(entry(index), 10);
  return window;
}

test('a range is given whole or not at all', () => {
  const window = filled(5);
  expect(window.slice(2, 4)?.map((one) => one.index)).toEqual([2, 3]);
  expect(window.slice(3, 3)).toEqual([]);
  expect(window.slice(0, 3)).toBeUndefined();
  expect(window.slice(4, 7)).toBeUndefined();
});

test('eviction keeps the bound but never drops what is not durable', () => {
  const window = filled(10, 30);
  window.evict(4);
  expect([window.firstIndex, window.bytes]).toEqual([5, 60]);
  window.evict(10);
  expect([window.firstIndex, window.bytes]).toEqual([8, 30]);
});

test('a hole in the payloads is refused', () => {
  expect(() => filled(3).append(entry(5), 10)).toThrow(/hole/);
});

test('a truncation below the cached payloads leaves an empty window there', () => {
  const window = filled(10, 30);
  window.evict(10);
  window.truncateFrom(4);
  expect([window.firstIndex, window.nextIndex, window.bytes]).toEqual([4, 4, 0]);
});

test('any sequence of operations leaves what a plain array would hold', () => {
  const operation = fc.record({
    kind: fc.constantFrom('append', 'append', 'append', 'truncate', 'drop', 'evict'),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    size: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 600 }), (steps) => {
      const window = new Window(400, 1);
      let model: { index: number; size: number }[] = [];
      let next = 1;
      const bytes = (): number => model.reduce((sum, one) => sum + one.size, 0);
      for (const { kind, share, size } of steps) {
        const first = next - model.length;
        const at = first + Math.floor(share * model.length);
        if (kind === 'append') {
          window.append(entry(next), size);
          model.push({ index: next, size });
          next += 1;
        } else if (kind === 'truncate') {
          window.truncateFrom(at);
          model = model.filter((one) => one.index < at);
          next = at;
        } else if (kind === 'drop') {
          window.dropTo(at - 1);
          model = model.filter((one) => one.index >= at);
        } else {
          window.evict(at);
          while (bytes() > 400 && model[0] !== undefined && model[0].index <= at) model.shift();
        }
        expect(window.nextIndex).toBe(next);
        expect(window.bytes).toBe(bytes());
        const cached = window.slice(window.firstIndex, window.nextIndex);
        expect(cached?.map((one) => one.index)).toEqual(model.map((one) => one.index));
      }
    }),
    { numRuns: 30 },
  );
});
