import { describe, expect, it } from 'vitest';
import { raftStatus, statusSource, testApi } from './fakes.ts';

describe('health', () => {
  it('is started, live and ready when the node runs', async () => {
    const { get } = testApi();
    expect(await get('/startupz')).toMatchObject({
      status: 200,
      text: '{"phase":"running","done":1}',
    });
    expect(await get('/livez')).toMatchObject({ status: 200, text: 'ok' });
    expect(await get('/readyz')).toMatchObject({ status: 200, text: 'ok' });
    expect((await get('/readyz?verbose')).text).toContain('[+]known_leader ok\n');
  });

  it('shows how far the start is', async () => {
    const status = statusSource({ startup: () => ({ phase: 'auditingLog', done: 0.42 }) });
    const { get } = testApi({ status, open: false });
    expect(await get('/startupz')).toMatchObject({
      status: 503,
      text: '{"phase":"auditingLog","done":0.42}',
    });
    expect((await get('/readyz')).text).toContain('[-]started failed\n');
    expect((await get('/livez')).status).toBe(200);
  });

  it('a lost leader is forgiven for 3 s, then the node is not ready, but alive', async () => {
    let leaderMissingMs = 2_999;
    const { get } = testApi({ status: statusSource({ leaderMissingMs: () => leaderMissingMs }) });
    expect((await get('/readyz')).status).toBe(200);
    leaderMissingMs = 3_001;
    expect(await get('/readyz')).toMatchObject({ status: 503 });
    expect((await get('/readyz')).text).toContain('[-]known_leader failed\n');
    expect((await get('/livez')).status).toBe(200);
  });

  it('a node that lags far behind is not ready; one without space is', async () => {
    const lagging = statusSource({
      raft: () => raftStatus({ commitIndex: 20_000, appliedIndex: 5 }),
    });
    expect((await testApi({ status: lagging }).get('/readyz')).status).toBe(503);
    const log = statusSource().log();
    const full = statusSource({
      log: () => (log === undefined ? log : { ...log, admissionOpen: false }),
    });
    expect((await testApi({ status: full }).get('/readyz')).status).toBe(200);
  });

  it('/v1/node says what the cluster scripts read', async () => {
    const { json } = await testApi().get('/v1/node');
    expect(json).toMatchObject({
      nodeId: 1,
      phase: 'running',
      role: 'leader',
      term: 3,
      leaderId: 1,
      commitIndex: 10,
      appliedIndex: 10,
      lastIndex: 12,
      voters: [1, 2],
    });
  });
});
