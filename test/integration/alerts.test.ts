// The alert web hook on real nodes: dtm's payload, once, across a leader kill; and a web hook that
// never answers, which delays nothing. Source: the dtm protocol reference §9.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalCluster, until } from '../../bench/lib/local-cluster.ts';
import { Client, freshGid, NO_CALLS, SUCCESS_TEXT, saga } from './lib/client.ts';
import { ERROR, Participant } from './lib/participant.ts';

interface Stage {
  cluster: LocalCluster;
  client: Client;
  participant: Participant;
}

function stage(nodes: number, configOf: (participant: Participant) => readonly string[]): Stage {
  const on = {} as Stage;
  beforeAll(async () => {
    on.participant = await Participant.start();
    const extraConfig = configOf(on.participant).join('\n');
    on.cluster = await LocalCluster.create({ nodes, extraConfig });
    await on.cluster.startAll();
    on.client = new Client(on.cluster);
  }, 60_000);
  afterAll(async () => {
    await on.cluster.destroy();
    await on.participant.stop();
  }, 60_000);
  return on;
}

/** An alert as it arrived. */
interface Told {
  readonly branch: string;
  readonly error: string;
  readonly gid: string;
  readonly retry_count: number;
  readonly status: string;
}

function toldOf(participant: Participant, gid: string): readonly Told[] {
  return participant
    .callsOf('hook')
    .map(({ body }) => JSON.parse(body) as Told)
    .filter((told) => told.gid === gid);
}

async function metric(on: Stage, line: string): Promise<number> {
  const { url } = await on.cluster.leader();
  const text = await (await fetch(`${url}/api/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((one) => one.startsWith(line))
      ?.slice(line.length) ?? 0,
  );
}

describe('a web hook that answers', () => {
  const on = stage(3, (participant) => [
    `AlertWebHook: ${participant.url('hook')}`,
    'AlertRetryLimit: 2',
  ]);

  /** The n-th error of a call, on record: the interval has doubled n times from one second. */
  const errorsOnRecord = (gid: string, errors: number) =>
    until(`${errors} errors of ${gid}`, 40_000, async () => {
      const { next_cron_interval } = await on.client.transaction(gid);
      return Number(next_cron_interval) >= 2 ** errors ? true : undefined;
    });

  it("is told of a branch that keeps failing, once, with dtm's payload", async () => {
    const gid = freshGid('alert');
    const action = on.participant.on(`${gid}-act`, ERROR);
    const body = saga(gid, [{ action, compensate: '' }], { retry_interval: 1 });
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    await until('the alert', 20_000, async () =>
      Promise.resolve(toldOf(on.participant, gid).length > 0 ? true : undefined),
    );
    const call = on.participant.callsOf('hook').find((one) => one.body.includes(gid));
    expect([call?.method, call?.headers['content-type']]).toEqual(['POST', 'application/json']);
    expect(call?.body).toBe(
      JSON.stringify({
        branch: action,
        error:
          'your http/grpc result should be specified as in:\nhttps://dtm.pub/summary/arch.html#http\nunkown result will be retried: out of order',
        gid,
        retry_count: 2,
        status: 'submitted',
      }),
    );
    expect(await metric(on, 'assent_alerts_total{result="sent"} ')).toBeGreaterThan(0);

    // The next error puts the delivery on record: from then on no leader tells of it again.
    await errorsOnRecord(gid, 3);
    const leader = await on.cluster.leader();
    on.cluster.signal(leader.id, 'SIGKILL');
    await on.participant.called(`${gid}-act`, 4, 40_000);
    await on.cluster.start(leader.id);
    await until('the node serves again', 30_000, async () =>
      (await fetch(`${leader.url}/readyz`)).status === 200 ? true : undefined,
    );
    await errorsOnRecord(gid, 4);
    expect(toldOf(on.participant, gid)).toHaveLength(1);
    await on.client.post('forceStop', { gid });
  });

  it('12.8: is told of the callback of a workflow', async () => {
    const gid = freshGid('alert-workflow');
    const resume = on.participant.on(`${gid}-resume`, ERROR);
    const body = {
      gid,
      trans_type: 'workflow',
      query_prepared: resume,
      custom_data: '{"name":"buy","data":"e30="}',
      retry_interval: 1,
    };
    expect((await on.client.post('prepareWorkflow', body)).status).toBe(200);
    const [told] = await until('the alert', 20_000, async () => {
      const all = toldOf(on.participant, gid);
      return Promise.resolve(all.length > 0 ? all : undefined);
    });
    expect(told).toMatchObject({ branch: resume, gid, retry_count: 2, status: 'prepared' });
    await on.client.post('forceStop', { gid });
  });
});

describe('a web hook that never answers', () => {
  const on = stage(1, (participant) => [
    `AlertWebHook: ${participant.on('hook', { hang: true })}`,
    'AlertRetryLimit: 1',
    'alerts: { timeoutMs: 300, attemptsMax: 2, retryDelayMs: 100, inflightMax: 1, queueMax: 2 }',
  ]);

  it('delays neither retries nor other work, and is counted', async () => {
    const failing = Array.from({ length: 8 }, () => freshGid('dead'));
    const startedMs = performance.now();
    for (const gid of failing) {
      const action = on.participant.on(gid, ERROR, {});
      const body = saga(gid, [{ action, compensate: '' }], { retry_interval: 1 });
      expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    }
    await on.participant.called('hook');
    for (let i = 0; i < 20; i += 1) {
      const body = saga(freshGid('work'), [NO_CALLS], { wait_result: true });
      expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    }
    for (const gid of failing) await on.client.ended(gid, 'succeed');
    // One interval of two seconds with its jitter, not eight times the limit of the web hook.
    for (const gid of failing) {
      const [first, second] = on.participant.callsOf(gid);
      expect((second?.atMs ?? Number.NaN) - (first?.atMs ?? 0)).toBeLessThan(4_000);
    }
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    await until('the end of the attempts', 20_000, async () =>
      (await metric(on, 'assent_alerts_total{result="failed"} ')) > 0 ? true : undefined,
    );
    expect(await metric(on, 'assent_alerts_total{result="dropped"} ')).toBeGreaterThan(0);
    expect(await metric(on, 'assent_alerts_total{result="sent"} ')).toBe(0);
  });
});
