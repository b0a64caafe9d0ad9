import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Trail } from '../../../../src/raft/core/log/trail.ts';

/** The same log as a plain array: `terms[i]` belongs to index `base + 1 + i`. */
class Model {
  base = 0;
  baseTerm = 0;
  terms: number[] = [];

  get last(): number {
    return this.base + this.terms.length;
  }

  termAt(index: number): number | undefined {
    return index === this.base ? this.baseTerm : this.terms[index - this.base - 1];
  }
}

type Operation =
  | { readonly kind: 'append'; readonly rise: number; readonly count: number }
  | { readonly kind: 'truncate' | 'compact'; readonly share: number };

const operations = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('append' as const),
      rise: fc.integer({ min: 0, max: 2 }),
      count: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({
      kind: fc.constantFrom('truncate' as const, 'compact' as const),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  ),
  { maxLength: 40 },
);

function run(trail: Trail, model: Model, operation: Operation): void {
  const at = (share: number): number => model.base + Math.round(share * model.terms.length);
  switch (operation.kind) {
    case 'append': {
      const term = (model.terms.at(-1) ?? model.baseTerm) + operation.rise;
      for (let i = 0; i < operation.count; i += 1) {
        trail.append(model.last + 1, term);
        model.terms.push(term);
      }
      return;
    }
    case 'truncate': {
      const from = at(operation.share) + 1;
      trail.truncateFrom(from);
      model.terms.length = Math.min(model.terms.length, from - model.base - 1);
      return;
    }
    case 'compact': {
      const to = at(operation.share);
      trail.compactTo(to);
      model.baseTerm = model.termAt(to)!;
      model.terms = model.terms.slice(to - model.base);
      model.base = to;
    }
  }
}

test('the runs answer like the entries they stand for', () => {
  fc.assert(
    fc.property(operations, fc.integer({ min: 0, max: 12 }), (steps, term) => {
      const trail = new Trail({ index: 0, term: 0 });
      const model = new Model();
      for (const step of steps) run(trail, model, step);
      expect([trail.baseIndex, trail.baseTerm, trail.lastIndex]).toEqual([
        model.base,
        model.baseTerm,
        model.last,
      ]);
      for (let index = model.base - 1; index <= model.last + 1; index += 1) {
        expect(trail.termAt(index)).toBe(index < 0 ? undefined : model.termAt(index));
        let agree: number | undefined;
        for (let i = model.base; i <= Math.min(index, model.last); i += 1) {
          if (model.termAt(i)! <= term) agree = i;
        }
        expect(trail.lastWithTermAtMost(index, term)).toBe(agree);
      }
      const again = Trail.recovered(
        { index: trail.baseIndex, term: trail.baseTerm },
        trail.runs,
        trail.lastIndex,
      );
      expect(again.runs).toEqual(trail.runs);
    }),
  );
});

describe('a trail refuses', () => {
  const trail = (): Trail => {
    const made = new Trail({ index: 5, term: 2 });
    made.append(6, 3);
    return made;
  };

  test('an entry that leaves a hole', () => {
    expect(() => trail().append(8, 3)).toThrow(/does not follow/);
  });

  test('a term that decreases', () => {
    expect(() => trail().append(7, 2)).toThrow(/follows one of term 3/);
  });

  test('a truncation into the snapshot', () => {
    expect(() => trail().truncateFrom(5)).toThrow(/reaches into the snapshot/);
  });

  test('term runs with a hole or beyond the end', () => {
    const base = { index: 5, term: 2 };
    expect(() => Trail.recovered(base, [{ first: 7, term: 3 }], 8)).toThrow(/hole/);
    expect(() => Trail.recovered(base, [], 8)).toThrow(/end before/);
  });
});
