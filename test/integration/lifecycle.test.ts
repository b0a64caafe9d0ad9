// Nodes that stop, start and are asked how they are.

import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import {
  failureText,
  freshGid,
  JSON_TYPE,
  NO_CALLS,
  type Reply,
  SUCCESS_TEXT,
  saga,
} from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { ERROR, FAILURE, gate } from './lib/participant.ts';

const RETRYABLE = new Set([503, 504]);

describe('health, metrics and the node itself', () => {
  const on = threeNodes();

  it('livez, readyz and startupz answer on every node', async () => {
    for (const { id } of on.cluster.nodes) {
      const get = (path: string) => on.client.send('GET', path, undefined, id);
      expect(await get('/livez')).toMatchObject({ status: 200, text: 'ok' });
      expect(await get('/readyz')).toMatchObject({ status: 200, text: 'ok' });
      const verbose = await get('/readyz?verbose');
      expect(verbose.status).toBe(200);
      expect(verbose.text).toMatch(/^\[\+\]not_draining ok\n(\[\+\]\w+ ok\n)+$/);
      const started = await get('/startupz');
      expect([started.status, started.json['phase']]).toEqual([200, 'running']);
    }
  });

  it('/v1/node says who leads, in one term, everywhere the same', async () => {
    const views: Readonly<Record<string, unknown>>[] = [];
    for (const { id } of on.cluster.nodes) {
      const reply = await on.client.send('GET', '/v1/node', undefined, id);
      expect([reply.status, reply.type]).toEqual([200, JSON_TYPE]);
      expect(reply.json).toMatchObject({ nodeId: id, phase: 'running', voters: [1, 2, 3] });
      for (const key of ['term', 'commitIndex', 'appliedIndex', 'lastIndex', 'firstIndex']) {
        expect(Number.isInteger(reply.json[key]), key).toBe(true);
      }
      views.push(reply.json);
    }
    expect(views.filter(({ role }) => role === 'leader')).toHaveLength(1);
    expect(new Set(views.map(({ leaderId, term }) => JSON.stringify([leaderId, term]))).size).toBe(
      1,
    );
  });

  it("defect 12.27: metrics have dtm's six names, and labels without anything of a client", async () => {
    const gid = freshGid('secretgid');
    const step = { action: on.participant.url(`${gid}/a`), compensate: '' };
    await on.client.post('submit', saga(gid, [step], { wait_result: true }));
    await on.client.post('submit', '{');
    for (const { id } of on.cluster.nodes) {
      await on.client.get(`query?gid=${gid}`, id);
      await on.client.send('GET', `/api/dtmsvr/${gid}?x=y`, undefined, id);
      const reply = await on.client.send('GET', '/api/metrics', undefined, id);
      expect(reply.status).toBe(200);
      expect(reply.type).toMatch(/^text\/plain; version=/);
      for (const name of [
        'dtm_server_info',
        'dtm_server_process_total',
        'dtm_server_response_duration',
        'dtm_transaction_process_total',
        'dtm_transaction_handled_duration',
        'dtm_branch_process_total',
        'assent_raft_commit_duration_seconds',
        'process_cpu_seconds_total',
      ]) {
        expect(reply.text, name).toContain(`# TYPE ${name} `);
      }
      expect(reply.text).toMatch(
        /dtm_server_process_total\{type="http",api="query",status="ok"\} \d/,
      );
      expect(reply.text).not.toContain('secretgid');
      expect(reply.text).not.toContain(step.action);
    }
    const leader = await on.cluster.leader();
    const { text } = await on.client.send('GET', '/api/metrics', undefined, leader.id);
    expect(text).toMatch(/dtm_branch_process_total\{.*branchtype="action".*status="ok".*\} \d/);
  });
});

describe('a graceful stop', () => {
  const on = threeNodes('shutdown: { drainDelayMs: 1000 }');

  it('P6: of the leader during waited sagas costs latency, never an error that is final', async () => {
    const leader = await on.cluster.leader();
    const others = on.cluster.nodes.filter(({ id }) => id !== leader.id).map(({ id }) => id);
    const { child } = leader;
    if (child === undefined) throw new Error('the leader does not run');
    const exited = once(child, 'exit');
    const replies: Reply[] = [];
    let stopped = false;
    let answered = 0;
    const submitOn = async (id: number, gid: string): Promise<boolean> => {
      const action = on.participant.on(`${gid}/a`, { delayMs: 20 });
      const body = saga(gid, [{ action, compensate: '' }], { wait_result: true });
      // A node that has gone refuses the connection: the client takes another one.
      const reply = await on.client.post('submit', body, id).catch(() => undefined);
      if (reply !== undefined) replies.push(reply);
      return reply?.status === 200;
    };
    const client = async (number: number) => {
      for (let turn = number; !stopped; turn += 1) {
        const gid = freshGid('drain');
        let node = on.cluster.nodes[turn % 3]?.id ?? 1;
        while (!(await submitOn(node, gid))) node = others[turn++ % others.length] ?? 1;
        answered += 1;
      }
    };
    const clients = Array.from({ length: 12 }, (_, number) => client(number));
    await until('some answers', 10_000, async () => Promise.resolve(answered > 50 || undefined));
    leader.child = undefined;
    child.kill('SIGTERM');
    const readyz = await until('readyz says so', 2_000, async () => {
      const reply = await on.client.send('GET', '/readyz', undefined, leader.id);
      return reply.status === 503 ? reply : undefined;
    });
    expect(readyz.text).toContain('[-]not_draining failed');
    expect((await on.client.send('GET', '/livez', undefined, leader.id)).status).toBe(200);
    expect(await exited).toEqual([0, null]);
    const before = answered;
    await until('more answers', 10_000, async () =>
      Promise.resolve(answered > before + 50 || undefined),
    );
    stopped = true;
    await Promise.all(clients);
    const wrong = replies.filter(({ status }) => status !== 200 && !RETRYABLE.has(status));
    expect(wrong.map(({ status, text }) => `${status} ${text}`)).toEqual([]);
    expect((await on.cluster.leader()).id).not.toBe(leader.id);
    await on.cluster.start(leader.id);
  });

  it('P7: without a majority requests are refused in bounded time, in no business words', async () => {
    const leader = await on.cluster.leader();
    const [first, second] = on.cluster.nodes.filter(({ id }) => id !== leader.id);
    if (first === undefined || second === undefined) throw new Error('three nodes expected');
    const gid = freshGid();
    await on.client.post('prepare', saga(gid, [NO_CALLS]));
    on.cluster.signal(first.id, 'SIGKILL');
    on.cluster.signal(second.id, 'SIGKILL');
    const body = saga(freshGid(), [NO_CALLS], { wait_result: true });
    for (let round = 0; round < 2; round += 1) {
      const asked = [
        () => on.client.post('submit', body, leader.id),
        () => on.client.post('prepare', saga(freshGid(), [NO_CALLS]), leader.id),
        () => on.client.post('abort', { gid, trans_type: 'saga' }, leader.id),
        () => on.client.post('forceStop', { gid: 'FAILURE ONGOING' }, leader.id),
        () => on.client.get(`query?gid=${gid}`, leader.id),
        () => on.client.get('all', leader.id),
        () => on.client.get('resetCronTime', leader.id),
      ];
      const started = performance.now();
      for (const reply of await Promise.all(asked.map((ask) => ask()))) {
        expect(RETRYABLE.has(reply.status), `${reply.status} ${reply.text}`).toBe(true);
        expect(reply.text).not.toMatch(/FAILURE|ONGOING/);
        expect(reply.type).toBe(JSON_TYPE);
        expect(reply.json['code']).toMatch(/^[A-Z_]+$/);
        if (reply.status === 503) {
          expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
        }
      }
      expect(performance.now() - started).toBeLessThan(8_000);
    }
    await Promise.all([on.cluster.start(first.id), on.cluster.start(second.id)]);
    await until('it serves again', 20_000, async () => {
      const reply = await on.client.post('submit', body, leader.id);
      return reply.status === 200 || undefined;
    });
    await on.client.ended(body.gid, 'succeed');
  });
});

describe('a graceful restart of all nodes', () => {
  const on = threeNodes();

  it('P1, P4: keeps everything: what was finished, what runs, and what was only prepared', async () => {
    const succeeded = freshGid();
    await on.client.post('submit', saga(succeeded, [NO_CALLS], { wait_result: true }));
    const failed = freshGid();
    const failing = on.participant.on(failed, FAILURE);
    const failedBody = saga(failed, [{ action: failing, compensate: '' }], { wait_result: true });
    await on.client.post('submit', failedBody);
    const prepared = freshGid();
    const step = { action: on.participant.url(prepared), compensate: '' };
    await on.client.post('prepare', saga(prepared, [step]));
    const running = freshGid();
    const { opened, open } = gate();
    const broken = on.participant.on(running, ERROR, { after: opened });
    const runningBody = saga(running, [{ action: broken, compensate: '' }], { retry_interval: 2 });
    await on.client.post('submit', runningBody);
    await on.participant.called(running);
    const finished = [succeeded, failed, prepared];
    const before = [];
    for (const gid of finished) before.push((await on.client.get(`query?gid=${gid}`)).text);
    const list = (await on.client.get('all?status=failed')).text;

    const children = on.cluster.nodes.map(({ child }) => child);
    await Promise.all(on.cluster.nodes.map(({ id }) => on.cluster.stop(id)));
    expect(children.map((child) => child?.exitCode)).toEqual([0, 0, 0]);
    await on.cluster.startAll();

    const after = [];
    for (const gid of finished) after.push((await on.client.get(`query?gid=${gid}`)).text);
    expect(after).toEqual(before);
    expect((await on.client.get('all?status=failed')).text).toBe(list);
    open();
    await on.client.ended(running, 'succeed');
    expect((await on.client.transaction(prepared)).status).toBe('prepared');
    expect(on.participant.callsOf(prepared)).toEqual([]);

    expect((await on.client.post('submit', runningBody)).text).toBe(SUCCESS_TEXT);
    expect((await on.client.post('submit', failedBody)).text).toBe(
      failureText(
        `current status 'failed', cannot sumbmit. url:${failing} return failed: {"dtm_result":"FAILURE"} FAILURE`,
      ),
    );
    const submit = { gid: prepared, trans_type: 'saga', wait_result: true };
    expect((await on.client.post('submit', submit)).text).toBe(SUCCESS_TEXT);
    expect(on.participant.callsOf(prepared)).toHaveLength(1);
  });
});
