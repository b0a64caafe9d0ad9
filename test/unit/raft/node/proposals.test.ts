import { describe, expect, it } from 'vitest';
import type { Lane, ProposeResult } from '../../../../src/raft/index.ts';
import { NO_OBSERVER } from '../../../../src/raft/node/observer.ts';
import { Proposals } from '../../../../src/raft/node/proposals.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';

function setUp() {
  const clock = new ManualClock();
  const world = { busy: false, open: true, roomBytes: 1 << 20, overloaded: false, leads: true };
  const entries: string[][] = [];
  const proposals: Proposals = new Proposals({
    clock,
    observer: NO_OBSERVER,
    busy: () => world.busy,
    wake: () => proposals.flush(),
    append: (commands): ProposeResult => {
      if (!world.leads) return { accepted: false, reason: 'notLeader', leaderId: 2, term: 5 };
      if (world.overloaded) {
        return { accepted: false, reason: 'overloaded', leaderId: 1, term: 5 };
      }
      entries.push(commands.map((command) => new TextDecoder().decode(command)));
      return { accepted: true, term: 5, index: entries.length };
    },
    refusal: (reason) => ({ accepted: false, reason, leaderId: 1, term: 5 }),
    admissionOpen: () => world.open,
    admissionRoomBytes: () => world.roomBytes,
    limits: { entryBytesMax: 8, entryCommandsMax: 3, commandBytesMax: 100, queueBytesMax: 20 },
  });
  const results: string[] = [];
  const propose = (name: string, lane: Lane = 'admission') => {
    proposals.propose(new TextEncoder().encode(name), lane, (result) => {
      results.push(`${name} ${result.accepted ? `@${result.index}` : result.reason}`);
    });
  };
  return { clock, entries, proposals, propose, results, world };
}

describe('proposals', () => {
  it('share an entry when they arrive in one turn', async () => {
    const { clock, entries, propose, results } = setUp();
    propose('a');
    propose('b');
    expect(results).toEqual([]);
    await clock.advance(0);
    expect(entries).toEqual([['a', 'b']]);
    expect(results).toEqual(['a @1', 'b @1']);
  });

  it('gather while a write is in flight', async () => {
    const { clock, entries, proposals, propose, world } = setUp();
    world.busy = true;
    propose('a');
    await clock.advance(5);
    propose('b');
    await clock.advance(5);
    expect(entries).toEqual([]);
    world.busy = false;
    proposals.flush();
    expect(entries).toEqual([['a', 'b']]);
  });

  it('are cut into entries by bytes and count, and one command is always allowed', async () => {
    const { clock, entries, propose } = setUp();
    for (const name of ['aaaa', 'bbbb', 'c', 'd', 'e']) propose(name);
    await clock.advance(0);
    propose('0123456789');
    await clock.advance(0);
    expect(entries).toEqual([['aaaa', 'bbbb'], ['c', 'd', 'e'], ['0123456789']]);
  });

  it('put progress before admission', async () => {
    const { clock, entries, propose } = setUp();
    propose('a');
    propose('p', 'progress');
    await clock.advance(0);
    expect(entries).toEqual([['p', 'a']]);
  });

  it('are refused for load in the admission lane only; each lane has its own bound', async () => {
    const { clock, propose, results, world } = setUp();
    world.busy = true;
    propose('0123456789');
    propose('0123456789');
    propose('x');
    propose('p', 'progress');
    expect(results).toEqual([]);
    await clock.advance(0);
    expect(results).toEqual(['x overloaded']);
  });

  it('of the admission lane are refused when commits lag or the disk is short', async () => {
    const { clock, entries, propose, results, world } = setUp();
    world.roomBytes = 2;
    propose('aa');
    propose('b');
    propose('p', 'progress');
    await clock.advance(0);
    expect(results).toEqual(['b overloaded', 'p @1', 'aa @1']);
    world.open = false;
    propose('c');
    propose('q', 'progress');
    await clock.advance(0);
    expect(results.slice(3)).toEqual(['c admissionClosed', 'q @2']);
    expect(entries).toEqual([['p', 'aa'], ['q']]);
  });

  it('of the progress lane wait, in order, while the core has no room', async () => {
    const { clock, entries, proposals, propose, results, world } = setUp();
    world.overloaded = true;
    propose('p', 'progress');
    propose('q', 'progress');
    await clock.advance(0);
    expect(results).toEqual([]);
    world.overloaded = false;
    proposals.schedule();
    await clock.advance(0);
    expect(entries).toEqual([['p', 'q']]);
  });

  it('are told who leads when this node does not', async () => {
    const { clock, propose, results, world } = setUp();
    world.leads = false;
    propose('a');
    propose('p', 'progress');
    await clock.advance(0);
    expect(results).toEqual(['p notLeader', 'a notLeader']);
  });

  it('are all answered when the node stops, and refused afterwards', async () => {
    const { clock, proposals, propose, results, world } = setUp();
    world.busy = true;
    propose('a');
    propose('p', 'progress');
    proposals.stop();
    propose('z');
    await clock.advance(0);
    expect(results).toEqual(['p notLeader', 'a notLeader', 'z notLeader']);
  });

  it('of impossible size are a programming error', () => {
    const { propose } = setUp();
    expect(() => propose('x'.repeat(101))).toThrow(
      expect.objectContaining({ code: 'commandTooLarge' }),
    );
  });
});
