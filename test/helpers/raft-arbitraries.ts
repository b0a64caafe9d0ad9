// Generators of consensus values for property tests.

import fc from 'fast-check';
import type { Configuration, Entry, Message } from '../../src/raft/index.ts';

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

function contiguous(prevLogIndex: number, entries: readonly Entry[]): Entry[] {
  return entries.map((entry, position) => ({ ...entry, index: prevLogIndex + 1 + position }));
}

export function anyMessage(): fc.Arbitrary<Message> {
  const envelope = { from: anyUint(), to: anyUint(), term: anyUint(), fromBoot: anyUint() };
  const index = fc.nat();
  const kind = <K extends Message['kind']>(name: K): { kind: fc.Arbitrary<K> } => ({
    kind: fc.constant(name),
  });
  const last = { lastLogIndex: anyUint(), lastLogTerm: anyUint() };
  const commit = { commitIndex: anyUint(), commitTerm: anyUint() };
  return fc.oneof(
    fc.record({ ...envelope, ...kind('preVote'), round: anyUint(), ...last }),
    fc.record({
      ...envelope,
      ...kind('preVoteResponse'),
      granted: fc.boolean(),
      round: anyUint(),
    }),
    fc.record({ ...envelope, ...kind('requestVote'), ...last, transfer: fc.boolean() }),
    fc.record(
      {
        ...envelope,
        ...kind('requestVoteResponse'),
        granted: fc.boolean(),
        wallMs: anyUint(),
      },
      { requiredKeys: ['from', 'to', 'term', 'fromBoot', 'kind', 'granted'] },
    ),
    fc
      .record({
        ...envelope,
        ...kind('appendEntries'),
        prevLogIndex: index,
        prevLogTerm: anyUint(),
        entries: fc.array(anyEntry(), { maxLength: 4 }),
        ...commit,
      })
      .map((append) => ({
        ...append,
        entries: contiguous(append.prevLogIndex, append.entries),
      })),
    fc.record({
      ...envelope,
      ...kind('appendEntriesResponse'),
      toBoot: anyUint(),
      result: fc.oneof(
        fc.record({ accepted: fc.constant(true as const), matchIndex: anyUint() }),
        fc.record({
          accepted: fc.constant(false as const),
          rejectedIndex: anyUint(),
          hintIndex: anyUint(),
          hintTerm: anyUint(),
        }),
      ),
    }),
    fc.record({ ...envelope, ...kind('heartbeat'), round: anyUint(), ...commit }),
    fc.record({
      ...envelope,
      ...kind('heartbeatResponse'),
      round: anyUint(),
      wallMs: anyUint(),
    }),
    fc.record({ ...envelope, ...kind('timeoutNow') }),
    fc.record({ ...envelope, ...kind('readIndexRequest'), requestId: anyUint() }),
    fc.record({
      ...envelope,
      ...kind('readIndexResponse'),
      requestId: anyUint(),
      index: fc.option(anyUint(), { nil: undefined }),
    }),
  );
}
