// Goal: whatever clients and participants do and whoever leads, a TCC or an XA transaction ends, all
// one way, with every registered branch.
// Method: random shapes, answers, repeats, commits and takeovers through the real `next` and machine.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Shape, TwoPhaseDriver } from './two-phase-driver.ts';

const answers = fc
  .array(fc.constantFrom('unknown' as const, 'ongoing' as const, 'failure' as const), {
    maxLength: 3,
  })
  .map((first) => [...first, 'success' as const]);

const shape: fc.Arbitrary<Shape> = fc.integer({ min: 0, max: 5 }).chain((branches) =>
  fc.record({
    type: fc.constantFrom('tcc' as const, 'xa' as const),
    branches: fc.constant(branches),
    answers: fc.array(answers, { minLength: branches, maxLength: branches }),
    emptyUrls: fc.array(fc.nat(9), { maxLength: 2 }).map((rows) => new Set(rows)),
    ends: fc.constantFrom('submit' as const, 'submit' as const, 'abort' as const, 'dies' as const),
    repeats: fc.nat(3),
    commitEachResult: fc.boolean(),
  }),
);
const seed = fc.integer();

// The machine that runs this may be busy: the bound is on hanging, not on speed.
describe('5.9.3: a tcc or xa', { timeout: 30_000 }, () => {
  test('always ends, calls every row of one direction in order, and none of the other', () => {
    fc.assert(
      fc.property(shape, seed, (given, number) => new TwoPhaseDriver(given, number).run()),
      { numRuns: 600 },
    );
  });

  test('P3: with the same history two replicas have the same bytes', () => {
    fc.assert(
      fc.property(shape, seed, (given, number) => {
        const [one, other] = [new TwoPhaseDriver(given, number), new TwoPhaseDriver(given, number)];
        one.run();
        other.run();
        expect(one.replica.state.dump()).toBe(other.replica.state.dump());
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ['resubmitReruns', /an accepted branch is missing|without row|no row/],
    ['timeoutAfterSubmit', /called both ways|not confirmed|is told/],
  ] as const)('the bug switch %s is found', (bug, message) => {
    let found = '';
    for (let number = 1; number <= 300 && found === ''; number += 1) {
      const given: Shape = {
        type: 'tcc',
        branches: 3,
        answers: [['unknown', 'unknown', 'success'], ['success'], ['success']],
        emptyUrls: new Set(),
        ends: 'submit',
        repeats: bug === 'resubmitReruns' ? 2 : 0,
        commitEachResult: false,
      };
      try {
        new TwoPhaseDriver(given, number, new Set([bug])).run();
      } catch (error) {
        found = error instanceof Error ? error.message : String(error);
      }
    }
    expect(found).toMatch(message);
  });
});
