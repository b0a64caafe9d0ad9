// Goal: whatever participants answer and whoever leads, a saga ends, and ends right.
// Method: random shapes, answers, commits and takeovers through the real `next` and the real machine.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SagaDriver, type Shape } from './saga-driver.ts';

const beforeEnd = fc.array(fc.constantFrom('unknown' as const, 'ongoing' as const), {
  maxLength: 2,
});
const action = fc
  .tuple(beforeEnd, fc.constantFrom('success', 'success', 'success', 'success', 'failure' as const))
  .map(([first, last]) => [...first, last]);
const compensation = fc
  .array(fc.constantFrom('unknown' as const, 'ongoing' as const, 'failure' as const), {
    maxLength: 2,
  })
  .map((first) => [...first, 'success' as const]);

/** Orders point backwards, so that they fit both modes and hold no cycle. */
const shape: fc.Arbitrary<Shape> = fc.integer({ min: 1, max: 5 }).chain((steps) =>
  fc.record({
    steps: fc.constant(steps),
    concurrent: fc.boolean(),
    orders: fc
      .array(fc.tuple(fc.nat(steps - 1), fc.nat(steps - 1)), { maxLength: 4 })
      .map((pairs) => {
        const orders: Record<string, number[]> = {};
        for (const [a, b] of pairs) {
          if (a > b && orders[a]?.includes(b) !== true) orders[a] = [...(orders[a] ?? []), b];
        }
        return orders;
      }),
    actions: fc.array(action, { minLength: steps, maxLength: steps }),
    compensations: fc.array(compensation, { minLength: steps, maxLength: steps }),
    timeoutToFailS: fc.constantFrom(0, 0, 1, 20),
    retryLimit: fc.constantFrom(0, 0, 1, 3),
    commitEachResult: fc.boolean(),
  }),
);
const seed = fc.integer();

// The machine that runs this may be busy: the bound is on hanging, not on speed.
describe('a saga', { timeout: 30_000 }, () => {
  test('always ends, succeeds only whole, and compensates everything that ran, in order', () => {
    fc.assert(
      fc.property(shape, seed, (given, number) => new SagaDriver(given, number).run()),
      { numRuns: 500 },
    );
  });

  test('P3: with the same history two replicas have the same bytes', () => {
    fc.assert(
      fc.property(shape, seed, (given, number) => {
        const [one, other] = [new SagaDriver(given, number), new SagaDriver(given, number)];
        one.run();
        other.run();
        expect(one.replica.state.dump()).toBe(other.replica.state.dump());
      }),
      { numRuns: 50 },
    );
  });

  const fails = [['success'], ['unknown', 'failure'], ['success']] as const;
  const works = [['success'], ['success'], ['unknown', 'success']] as const;
  test.each([
    ['compensateOnlyRecorded', fails, /was not compensated|called before that of/],
    ['decideSucceedEarly', works, /succeed without action/],
  ] as const)('the bug switch %s is found', (bug, actions, message) => {
    let found = '';
    for (let number = 1; number <= 200 && found === ''; number += 1) {
      const given: Shape = {
        steps: 3,
        concurrent: false,
        orders: {},
        actions,
        compensations: [['success'], ['success'], ['success']],
        timeoutToFailS: bug === 'compensateOnlyRecorded' ? 5 : 0,
        retryLimit: 0,
        commitEachResult: false,
      };
      const driver = new SagaDriver(given, number, new Set([bug]));
      try {
        driver.run();
      } catch (error) {
        found = error instanceof Error ? error.message : String(error);
      }
    }
    expect(found).toMatch(message);
  });
});
