import { describe, expect, it } from 'vitest';
import type { RaftNodeError } from '../../../../src/raft/index.ts';
import { Reads } from '../../../../src/raft/node/reads.ts';
import { AppliedWaiters } from '../../../../src/raft/node/waiters.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const asked: number[] = [];
  const waiters = new AppliedWaiters(clock, 3);
  const reads = new Reads({
    clock,
    ask: (readId) => asked.push(readId),
    waitApplied: (index, timeoutMs) => waiters.wait(index, 0, timeoutMs),
    retryMs: 25,
    roundMsMax: 100,
    countMax: 3,
  });
  const results: string[] = [];
  const read = (name: string, timeoutMs = 1000) => {
    reads.read(timeoutMs).then(
      (index) => results.push(`${name} ${index}`),
      (error: unknown) => results.push(`${name} ${(error as RaftNodeError).code}`),
    );
  };
  return { asked, clock, read, reads, results, waiters };
}

describe('linearizable reads', () => {
  it('of one turn share a round, and end when the index is applied here', async () => {
    const { asked, clock, read, reads, results, waiters } = setUp();
    read('a');
    read('b');
    await clock.advance(0);
    expect(asked).toEqual([1]);
    reads.ready([1], 7);
    await clock.advance(1);
    expect(results).toEqual([]);
    waiters.applied(7);
    await clock.advance(1);
    expect(results).toEqual(['a 7', 'b 7']);
  });

  it('never join a round that has already started (E2)', async () => {
    const { asked, clock, read, reads, results, waiters } = setUp();
    read('a');
    await clock.advance(0);
    read('b');
    reads.ready([1], 7);
    waiters.applied(7);
    await clock.advance(1);
    waiters.applied(7);
    await clock.advance(1);
    expect(asked).toEqual([1, 2]);
    expect(results).toEqual(['a 7']);
  });

  it('are asked again when they could not be confirmed, or the question was lost', async () => {
    const { asked, clock, read, reads } = setUp();
    read('a');
    await clock.advance(0);
    reads.failed([1]);
    await clock.advance(30);
    expect(asked).toEqual([1, 2]);
    await clock.advance(110);
    expect(asked).toEqual([1, 2, 3]);
  });

  it('end at their timeout', async () => {
    const { clock, read, results } = setUp();
    read('a', 50);
    await clock.advance(60);
    expect(results).toEqual(['a timeout']);
  });

  it('are bounded in number', async () => {
    const { clock, read, results } = setUp();
    for (const name of ['a', 'b', 'c', 'd']) read(name);
    await clock.advance(0);
    expect(results).toEqual(['d overloaded']);
  });

  it('all end when the node stops', async () => {
    const { clock, read, reads, results, waiters } = setUp();
    read('a');
    await clock.advance(0);
    reads.ready([1], 9);
    read('b');
    reads.stop();
    waiters.stop();
    read('c');
    await clock.advance(0);
    expect(results.sort()).toEqual(['a stopped', 'b stopped', 'c stopped']);
  });
});
