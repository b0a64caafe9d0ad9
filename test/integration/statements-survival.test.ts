// Statements of the dtm reference that only real processes show: what a reply promises when its node
// dies at once, and what a bad request or a bad target does not break.

import { describe, expect, it } from 'vitest';
import { freshGid, SUCCESS_TEXT, saga } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { gate } from './lib/participant.ts';

// dtm's default, with which it loses steps (12.26).
const on = threeNodes('UpdateBranchSync: 0\n');

function step(gid: string, branchId: string): object {
  const what = { op: 'action', status: 'succeed', data: `{"step":"${branchId}"}` };
  return { gid, trans_type: 'workflow', branch_id: branchId, ...what };
}

describe('12.9: a concurrent message', () => {
  it('12.9: to targets that cannot be called, stopped meanwhile, leaves every node well', async () => {
    const gid = freshGid('msg-broken');
    const { opened, open } = gate();
    const slow = on.participant.on(`${gid}-slow`, { after: opened });
    const targets = ['http://127.0.0.1:1/x', 'http://no-such-host.invalid/x', slow];
    const steps = targets.map((action) => ({ action }));
    const body = { ...saga(gid, steps), trans_type: 'msg', concurrent: true, request_timeout: 20 };
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    await on.participant.called(`${gid}-slow`);
    expect((await on.client.post('forceStop', { gid })).text).toBe(SUCCESS_TEXT);
    open();
    for (const { id } of on.cluster.nodes) {
      const other = freshGid('after');
      const good = saga(other, [{ action: on.participant.url(`${other}-a`), compensate: '' }], {
        wait_result: true,
      });
      expect((await on.client.post('submit', good, id)).text).toBe(SUCCESS_TEXT);
    }
    expect(await on.client.transaction(gid)).toMatchObject({ status: 'failed' });
  });
});

describe('12.28: gids', () => {
  it('12.28: that hold quotes and wildcards are data on every route', async () => {
    const other = freshGid('plain');
    const step1 = { action: on.participant.on(`${other}-a`, { status: 500 }), compensate: '' };
    await on.client.post('submit', saga(other, [step1], { retry_interval: 600 }));
    await on.participant.called(`${other}-a`);
    for (const odd of [`${other}' or '1'='1`, `${other}%`, `${other}"*`, `../${other}`]) {
      const named = { gid: odd, trans_type: 'tcc' };
      expect((await on.client.post('prepare', named)).text).toBe(SUCCESS_TEXT);
      expect((await on.client.post('resetNextCronTime', named)).text).toBe(SUCCESS_TEXT);
      expect((await on.client.query(odd)).transaction?.gid).toBe(odd);
      expect((await on.client.post('forceStop', named)).text).toBe(SUCCESS_TEXT);
    }
    expect(on.participant.callsOf(`${other}-a`)).toHaveLength(1);
    expect(await on.client.transaction(other)).toMatchObject({ status: 'submitted' });
    await on.client.post('forceStop', { gid: other });
  });
});

describe('12.26: a recorded step', () => {
  it('5.10.7, 12.26: is there for the next run, though the node that answered died at once', async () => {
    const gid = freshGid('wf-kill');
    const start = { gid, trans_type: 'workflow', custom_data: '{"name":"buy"}' };
    const leader = await on.cluster.leader();
    expect((await on.client.post('prepareWorkflow', start, leader.id)).status).toBe(200);
    for (const id of ['01', '02']) {
      expect((await on.client.post('registerBranch', step(gid, id), leader.id)).text).toBe(
        SUCCESS_TEXT,
      );
    }
    on.cluster.signal(leader.id, 'SIGKILL');
    const next = on.cluster.nodes.find(({ id }) => id !== leader.id)?.id;
    const resumed = await on.client.post('prepareWorkflow', start, next);
    expect(resumed.json['progresses']).toMatchObject([
      { branch_id: '01', status: 'succeed', bin_data: 'eyJzdGVwIjoiMDEifQ==' },
      { branch_id: '02', status: 'succeed', bin_data: 'eyJzdGVwIjoiMDIifQ==' },
    ]);
    // P6: a step that its client repeats, because the answer was lost, is a success.
    expect((await on.client.post('registerBranch', step(gid, '02'), next)).text).toBe(SUCCESS_TEXT);
  });
});
