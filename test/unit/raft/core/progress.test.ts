import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Inflights } from '../../../../src/raft/core/replication/inflights.ts';
import { Progress } from '../../../../src/raft/core/replication/progress.ts';
import { UncommittedBytes } from '../../../../src/raft/core/replication/uncommitted.ts';

const fresh = (): Progress => new Progress(2, 1, { lastIndex: 10, nowMs: 0 });

test('a new peer is probed at the end of the log', () => {
  const peer = fresh();
  expect([peer.state, peer.matchIndex, peer.nextIndex]).toEqual(['probe', 0, 11]);
});

test('acknowledgements in any order never take the match index back', () => {
  const peer = fresh();
  expect(peer.acknowledge(7)).toBe(true);
  expect(peer.acknowledge(4)).toBe(false);
  expect([peer.matchIndex, peer.nextIndex]).toEqual([7, 11]);
});

test('a refusal moves a probe to the last possible agreement, never to the match or below', () => {
  const peer = fresh();
  expect(peer.reject(10, 4)).toBe(true);
  expect(peer.nextIndex).toBe(5);
  peer.acknowledge(3);
  expect(peer.reject(4, 1)).toBe(true);
  expect(peer.nextIndex).toBe(4);
});

test('a refusal that later answers have overtaken is ignored', () => {
  const peer = fresh();
  expect(peer.reject(9, 4)).toBe(false);
  peer.acknowledge(8);
  peer.becomeReplicate();
  expect(peer.reject(8, 2)).toBe(false);
  expect(peer.state).toBe('replicate');
  expect(peer.reject(9, 2)).toBe(true);
  expect([peer.state, peer.nextIndex]).toEqual(['probe', 9]);
});

test('a refusal does not end a pending snapshot', () => {
  const peer = fresh();
  peer.becomeSnapshot();
  expect(peer.reject(10, 4)).toBe(false);
  expect(peer.state).toBe('snapshot');
});

test('a newer boot of the peer voids everything that was known of it', () => {
  const peer = fresh();
  peer.acknowledge(8);
  peer.becomeReplicate();
  peer.inflights.add(9, 100);
  peer.ackedRound = 5;
  peer.rebooted(2, 12);
  expect([peer.matchIndex, peer.nextIndex, peer.ackedRound, peer.bootId]).toEqual([0, 13, 0, 2]);
  expect([peer.state, peer.inflights.count, peer.inflights.bytes]).toEqual(['probe', 0, 0]);
});

test('bytes in flight are freed by acknowledgement, and zeroed by a change of state', () => {
  const inflights = new Inflights();
  inflights.add(3, 100);
  inflights.add(5, 200);
  inflights.freeTo(4);
  expect([inflights.count, inflights.bytes]).toEqual([1, 200]);
  inflights.reset();
  expect([inflights.count, inflights.bytes]).toEqual([0, 0]);
  inflights.add(3, 1);
  expect(() => inflights.add(3, 1)).toThrow(/increase/);
});

test('uncommitted bytes are the sum of what was appended and not committed', () => {
  const steps = fc.array(fc.record({ bytes: fc.nat(100), commit: fc.nat(3) }), {
    maxLength: 3_000,
  });
  fc.assert(
    fc.property(steps, (appends) => {
      const uncommitted = new UncommittedBytes(1);
      const sizes: number[] = [];
      let committed = 0;
      for (const { bytes, commit } of appends) {
        sizes.push(bytes);
        uncommitted.append(sizes.length, bytes);
        committed = Math.min(sizes.length, committed + commit);
        uncommitted.commitTo(committed);
        expect(uncommitted.bytes).toBe(sizes.slice(committed).reduce((sum, one) => sum + one, 0));
      }
      uncommitted.commitTo(sizes.length);
      expect(uncommitted.bytes).toBe(0);
    }),
    { numRuns: 20 },
  );
});
