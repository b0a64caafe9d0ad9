import { afterEach, describe, expect, it } from 'vitest';
import { DtmClient } from '../../../src/client/index.ts';
import { deadUrl, refusal, SUCCESS, startServer, stopServers } from './lib/fake-dtm.ts';

afterEach(stopServers);

const QUICK = { attemptTimeoutMs: 200, totalTimeoutMs: 1_000, pauseMs: 5, pauseMsMax: 10 };
const STEP = { action: 'http://a/do', compensate: 'http://a/undo', payload: { amount: 30 } };

function submit(endpoints: readonly string[], more: object = {}, signal?: AbortSignal) {
  const client = new DtmClient({ endpoints, ...QUICK });
  const saga = client.saga({ gid: 'g1', ...more }).add(STEP);
  return saga.submit(signal === undefined ? {} : { signal });
}

describe('failover', () => {
  it('asks the next endpoint, with the same gid, when one refuses connections', async () => {
    const alive = await startServer();
    await submit([await deadUrl(), alive.url]);
    expect(alive.one('submit').body['gid']).toBe('g1');
  });

  it.each([502, 503, 504])('asks the next endpoint after %i', async (status) => {
    const first = await startServer(() => ({ status, body: { message: 'not now' } }));
    const second = await startServer();
    await submit([first.url, second.url]);
    expect(first.one('submit').text).toBe(second.one('submit').text);
  });

  it('asks the next endpoint when an answer never comes, or the connection drops', async () => {
    const silent = await startServer(() => ({ hang: true }));
    const dropping = await startServer(() => ({ drop: true }));
    const third = await startServer();
    await submit([silent.url, dropping.url, third.url]);
    expect(third.routes).toEqual(['submit']);
  });

  it('stays with the endpoint that answered last', async () => {
    const alive = await startServer();
    const refusing = await startServer(() => ({ status: 503, body: { message: '', code: 'X' } }));
    const client = new DtmClient({ endpoints: [refusing.url, alive.url], ...QUICK });
    await client.saga().add(STEP).submit();
    await client.saga().add(STEP).submit();
    expect(refusing.routes).toEqual(['submit']);
    expect(alive.routes).toEqual(['submit', 'submit']);
  });

  it.each([409, 425, 500, 400])('never asks another endpoint after %i', async (status) => {
    const first = await startServer(() => ({ status, body: { message: 'no' } }));
    const second = await startServer();
    await expect(submit([first.url, second.url])).rejects.toThrow('no');
    expect(second.received).toEqual([]);
  });

  it('goes round again until an endpoint is back', async () => {
    let asked = 0;
    const fake = await startServer(() => {
      asked += 1;
      return asked < 4 ? { status: 503, body: { code: 'NO_LEADER', message: 'wait' } } : SUCCESS;
    });
    await submit([fake.url]);
    expect(asked).toBe(4);
  });

  it('says outcome none when every endpoint refused before doing anything', async () => {
    const refusing = await startServer(() => ({ status: 503, body: { code: 'DRAINING' } }));
    await expect(submit([await deadUrl(), refusing.url])).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'none',
    });
  });

  it('says outcome unknown once one attempt may have been carried out', async () => {
    const dropping = await startServer(() => ({ drop: true }));
    await expect(submit([dropping.url, await deadUrl()])).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
    });
  });

  it('takes a refusal after a lost answer for a success when the stored status says so', async () => {
    const losing = await startServer(() => ({ drop: true }));
    const second = await startServer(({ route }) =>
      route === 'query'
        ? { body: { transaction: { status: 'succeed', rollback_reason: 'no FAILURE' } } }
        : refusal("current status 'succeed', cannot sumbmit."),
    );
    await submit([losing.url, second.url]);
    expect(second.routes).toEqual(['submit', 'query']);
  });

  it('says outcome none when the transaction was rolled back after a lost answer', async () => {
    const losing = await startServer(() => ({ drop: true }));
    const second = await startServer(({ route }) =>
      route === 'query'
        ? { body: { transaction: { status: 'failed' } } }
        : refusal("current status 'failed', cannot sumbmit."),
    );
    await expect(submit([losing.url, second.url])).rejects.toMatchObject({
      code: 'REFUSED',
      outcome: 'none',
      message: "current status 'failed', cannot sumbmit.",
    });
  });

  it('gives up at once when the caller does, and says that the outcome is unknown', async () => {
    const controller = new AbortController();
    const silent = await startServer(() => {
      controller.abort(new Error('enough'));
      return { hang: true };
    });
    await expect(submit([silent.url], {}, controller.signal)).rejects.toMatchObject({
      name: 'AbortError',
      code: 'CANCELLED',
      outcome: 'unknown',
    });
  });

  it('sends nothing for a caller who has given up already', async () => {
    const fake = await startServer();
    await expect(submit([fake.url], {}, AbortSignal.abort())).rejects.toMatchObject({
      code: 'CANCELLED',
      outcome: 'none',
    });
    expect(fake.received).toEqual([]);
  });

  it('refuses endpoints that are none', () => {
    expect(() => new DtmClient({ endpoints: [] })).toThrow('at least one');
    expect(() => new DtmClient({ endpoints: ['localhost:36789'] })).toThrow('no HTTP endpoint');
    const protocol = 'grpc';
    expect(() => new DtmClient({ endpoints: ['nonsense'], protocol })).toThrow('no gRPC endpoint');
    expect(() => new DtmClient({ endpoints: ['http://a:1'], protocol })).toThrow('no gRPC');
  });
});
