// Generators of consensus values for property tests.

import fc from 'fast-check';
import type { Configuration, Entry } from '../../src/raft/index.ts';

export function anyUint(): fc.Arbitrary<number> {
  return fc.maxSafeNat();
}

export function anyConfiguration(): fc.Arbitrary<Configuration> {
  const ids = fc.array(anyUint(), { maxLength: 5 });
  return fc.record({
    voters: ids,
    outgoing: ids,
    learners: ids,
    learnersNext: ids,
    members: fc.array(fc.record({ nodeId: anyUint(), birthId: fc.string({ unit: 'grapheme' }) }), {
      maxLength: 7,
    }),
  });
}

export function anyEntry(): fc.Arbitrary<Entry> {
  const position = { index: anyUint(), term: anyUint(), timeMs: anyUint() };
  return fc.oneof(
    fc.record({
      ...position,
      kind: fc.constant('commands' as const),
      commands: fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 6 }),
    }),
    fc.record({ ...position, kind: fc.constant('noop' as const) }),
    fc.record({
      ...position,
      kind: fc.constant('configuration' as const),
      configuration: anyConfiguration(),
    }),
  );
}
