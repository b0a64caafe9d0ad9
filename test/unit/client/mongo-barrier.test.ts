// The barrier on MongoDB against an in-memory stand-in of it (dtm reference §10.3); the same barrier
// runs against a real server in test/databases where there is one.

import { beforeEach, describe, expect, it } from 'vitest';
import { Branch, FailureError, mongoBarrier } from '../../../src/client/index.ts';
import { MemoryMongo, type MemorySession } from './lib/memory-mongo.ts';

function branch(op: string, gid = 'g1'): Branch {
  const transactionType = op === 'msg' ? 'msg' : 'tcc';
  return new Branch({ gid, transactionType, branchId: op === 'msg' ? '00' : '01', op });
}

const SKIPPED = { kind: 'skipped', why: 'repeated' };

describe('the barrier on MongoDB', () => {
  let mongo: MemoryMongo;
  let barrier: ReturnType<typeof mongoBarrier<MemorySession>>;
  beforeEach(() => {
    mongo = new MemoryMongo();
    barrier = mongoBarrier(mongo);
  });
  const add = (amount: number) => async (session: MemorySession) => {
    mongo.add(session, 'a', amount);
    await Promise.resolve();
  };

  it('runs once, and compensates once', async () => {
    expect(await barrier.call(branch('try'), add(-30))).toEqual({ kind: 'done', value: undefined });
    expect(await barrier.call(branch('try'), add(-30))).toEqual(SKIPPED);
    await barrier.call(branch('cancel'), add(30));
    expect(await barrier.call(branch('cancel'), add(30))).toEqual(SKIPPED);
    expect(mongo.balance('a')).toBe(0);
  });

  it.each([
    ['cancel', 'try'],
    ['compensate', 'action'],
    ['rollback', 'action'],
  ])('%s without %s does nothing, and stops the late one', async (undo, action) => {
    expect(await barrier.call(branch(undo), add(30))).toEqual({
      kind: 'skipped',
      why: 'nothing-to-compensate',
    });
    expect(await barrier.call(branch(action), add(-30))).toEqual(SKIPPED);
    expect(mongo.balance('a')).toBe(0);
  });

  it('takes the row back when the business fails', async () => {
    const failing = barrier.call(branch('try'), async (session) => {
      await add(-30)(session);
      throw new FailureError('poor');
    });
    await expect(failing).rejects.toThrow('poor');
    expect(mongo.committed.size).toBe(0);
    expect(mongo.open.size).toBe(0);
  });

  it('lets one of two that come at once run, and the other be repeated', async () => {
    const ends = await Promise.allSettled([
      barrier.call(branch('try'), add(-30)),
      barrier.call(branch('try'), add(-30)),
    ]);
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await barrier.call(branch('try'), add(-30))).toEqual(SKIPPED);
    expect(mongo.balance('a')).toBe(-30);
  });

  it('says that the outcome is unknown when the commit fails', async () => {
    mongo.failure = () => Promise.reject(new Error('primary stepped down'));
    const run = barrier.call(branch('try'), add(-30));
    await expect(run).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN', outcome: 'unknown' });
  });

  it('answers a check-back by what was committed, waiting for what is open', async () => {
    let checked: Promise<void> | undefined;
    let answered = false;
    await barrier.call(branch('msg'), async (session) => {
      await add(-30)(session);
      checked = barrier.queryPrepared(branch('msg')).then(() => {
        answered = true;
      });
      for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
      expect(answered).toBe(false);
    });
    await checked;
    expect(answered).toBe(true);
  });

  it('settles by a check-back that a message may no longer commit', async () => {
    await expect(barrier.queryPrepared(branch('msg'))).rejects.toBeInstanceOf(FailureError);
    // A row that a fail-over could still take back would answer for what then never was.
    const settled = { readConcern: { level: 'majority' }, readPreference: 'primary' };
    expect(mongo.reads).toEqual([settled, settled]);
    const late = barrier.call(branch('msg'), add(-30));
    await expect(late).rejects.toMatchObject({ code: 'DUPLICATE' });
    await expect(barrier.queryPrepared(branch('msg'))).rejects.toBeInstanceOf(FailureError);
    expect(mongo.balance('a')).toBe(0);
  });

  it('makes the unique index of the four ids', async () => {
    await barrier.createIndex();
    expect(mongo.indexes).toEqual([
      {
        keys: { gid: 1, branch_id: 1, op: 1, barrier_id: 1 },
        unique: true,
        name: 'uniq_barrier',
      },
    ]);
  });
});
