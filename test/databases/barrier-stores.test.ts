// The barriers on Redis and MongoDB against real servers (dtm reference §10.2, §10.3).

import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  Branch,
  FailureError,
  type MongoBarrier,
  mongoBarrier,
  type RedisBarrier,
  redisBarrier,
} from '../../src/client/index.ts';
import {
  type MongoServer,
  type RedisServer,
  type Skipped,
  startMongoDb,
  startRedis,
} from './index.ts';

let gids = 0;
function branch(op: string, gid: string): Branch {
  const transactionType = op === 'msg' ? 'msg' : 'saga';
  return new Branch({ gid, transactionType, branchId: op === 'msg' ? '00' : '01', op });
}

describe('the barrier on Redis', () => {
  let server: RedisServer | Skipped;
  let redis: Redis;
  let barrier: RedisBarrier;
  let gid: string;

  beforeAll(async () => {
    server = await startRedis();
    if (server.kind === 'skipped') return;
    redis = new Redis(server.url);
    barrier = redisBarrier(redis, { expirySeconds: 100 });
  });
  afterAll(async () => {
    if (server.kind === 'skipped') return;
    redis.disconnect();
    await server.stop();
  });
  beforeEach(async ({ skip }) => {
    if (server.kind === 'skipped') return skip(`Redis: ${server.reason}`);
    await redis.set('account', 30);
    gids += 1;
    gid = `r${gids}`;
  });
  const balance = async () => Number(await redis.get('account'));

  it('adjusts once, under the keys of the other clients, with an expiry', async () => {
    expect(await barrier.adjust(branch('action', gid), 'account', -10)).toEqual({
      kind: 'done',
      value: 20,
    });
    expect((await barrier.adjust(branch('action', gid), 'account', -10)).kind).toBe('skipped');
    expect(await balance()).toBe(20);
    expect(await redis.get(`${gid}-01-action-01`)).toBe('op');
    expect(await redis.ttl(`${gid}-01-action-01`)).toBeGreaterThan(90);
  });

  it('knows a repeat although the account has been emptied by the first', async () => {
    await barrier.adjust(branch('action', gid), 'account', -30);
    expect((await barrier.adjust(branch('action', gid), 'account', -30)).kind).toBe('skipped');
    expect(await balance()).toBe(0);
  });

  it('fails, and leaves no trace, when the amount does not suffice or there is no account', async () => {
    const poor = barrier.adjust(branch('action', gid), 'account', -31);
    await expect(poor).rejects.toBeInstanceOf(FailureError);
    const nobody = barrier.adjust(branch('action', gid), 'nobody', 1);
    await expect(nobody).rejects.toBeInstanceOf(FailureError);
    expect(await redis.exists(`${gid}-01-action-01`)).toBe(0);
  });

  it('compensates what was done, and nothing else', async () => {
    await barrier.adjust(branch('action', gid), 'account', -10);
    await barrier.adjust(branch('compensate', gid), 'account', 10);
    await barrier.adjust(branch('compensate', gid), 'account', 10);
    expect(await balance()).toBe(30);
    const other = `${gid}x`;
    expect(await barrier.adjust(branch('compensate', other), 'account', 10)).toEqual({
      kind: 'skipped',
      why: 'nothing-to-compensate',
    });
    expect((await barrier.adjust(branch('action', other), 'account', -10)).kind).toBe('skipped');
    expect(await redis.get(`${other}-01-action-01`)).toBe('rollback');
    expect(await balance()).toBe(30);
  });

  it('answers a check-back by what was done, and settles what was not', async () => {
    await barrier.adjust(branch('msg', gid), 'account', -10);
    await barrier.queryPrepared(branch('msg', gid));
    const other = `${gid}x`;
    await expect(barrier.queryPrepared(branch('msg', other))).rejects.toThrow(FailureError);
    const late = barrier.adjust(branch('msg', other), 'account', -10);
    await expect(late).rejects.toMatchObject({ code: 'DUPLICATE' });
  });
});

describe('the barrier on MongoDB', () => {
  let server: MongoServer | Skipped;
  let client: MongoClient;
  let barrier: MongoBarrier<ReturnType<MongoClient['startSession']>>;
  let gid: string;

  beforeAll(async () => {
    server = await startMongoDb();
    if (server.kind === 'skipped') return;
    client = await MongoClient.connect(server.url);
    barrier = mongoBarrier(client);
    await barrier.createIndex();
  });
  afterAll(async () => {
    if (server.kind === 'skipped') return;
    await client.close();
    await server.stop();
  });
  beforeEach(async ({ skip }) => {
    if (server.kind === 'skipped') return skip(`MongoDB: ${server.reason}`);
    gids += 1;
    gid = `m${gids}`;
    await client.db('bank').collection('account').deleteMany({});
    await client.db('bank').collection('account').insertOne({ owner: 'a', balance: 100 });
  });
  const add = (amount: number) => async (session: ReturnType<MongoClient['startSession']>) => {
    const accounts = client.db('bank').collection('account');
    await accounts.updateOne({ owner: 'a' }, { $inc: { balance: amount } }, { session });
  };
  const balance = async () =>
    (await client.db('bank').collection('account').findOne({ owner: 'a' }))?.['balance'] as number;

  it('runs once, compensates once, and stops what comes late', async () => {
    await barrier.call(branch('action', gid), add(-30));
    expect((await barrier.call(branch('action', gid), add(-30))).kind).toBe('skipped');
    await barrier.call(branch('compensate', gid), add(30));
    expect(await balance()).toBe(100);
    expect(await barrier.call(branch('compensate', `${gid}x`), add(30))).toEqual({
      kind: 'skipped',
      why: 'nothing-to-compensate',
    });
    expect((await barrier.call(branch('action', `${gid}x`), add(-30))).kind).toBe('skipped');
    expect(await balance()).toBe(100);
  });

  it('answers check-backs', async () => {
    await barrier.call(branch('msg', gid), add(-30));
    await barrier.queryPrepared(branch('msg', gid));
    await expect(barrier.queryPrepared(branch('msg', `${gid}x`))).rejects.toThrow(FailureError);
  });
});
