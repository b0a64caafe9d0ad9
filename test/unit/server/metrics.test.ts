import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ParticipantCaller } from '../../../src/engine/index.ts';
import { Metrics } from '../../../src/server/metrics.ts';
import { ObservedCaller } from '../../../src/server/observed-caller.ts';
import { raftStatus, statusSource, testApi } from './fakes.ts';

async function own(metrics: Metrics) {
  const all = await metrics.registry.getMetricsAsJSON();
  return all.filter(({ name }) => /^(dtm|assent)_/.test(name));
}

const ANSWERS_AT_ONCE: ParticipantCaller = {
  call: (_call, _mayWrite, done) => done({ kind: 'success', detail: '', durationMs: 1 }),
  targets: () => [],
  close: () => Promise.resolve(),
};

describe('metrics', () => {
  it('docs/metrics.md lists every metric of the registry, and no other', async () => {
    const { metrics } = testApi();
    metrics.observeGrpc({ requests: () => 0, bytes: () => 0, connections: () => 0 });
    const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
    const listed = [...page.matchAll(/^\| `((?:dtm|assent)_\w+)` \| (\w+) \|/gm)].map(
      ([, name, type]) => `${name} ${type}`,
    );
    const registered = (await own(metrics)).map(({ name, type }) => `${name} ${String(type)}`);
    expect(listed.sort()).toEqual(registered.sort());
  });

  it("exports dtm's six names with dtm's labels", async () => {
    const { metrics, post, get } = testApi();
    metrics.transactionProcessed('saga', true, 20);
    metrics.branchCalled({
      type: 'saga',
      branchId: '01',
      op: 'action',
      protocol: 'grpc',
      outcome: 'success',
      durationMs: 5,
    });
    await post('submit', '{');
    await get('/api/dtmsvr/query?gid=x');
    const text = await metrics.text();
    for (const line of [
      'dtm_server_info{gin_version="",grpc_version=""} 1',
      'dtm_server_process_total{type="http",api="submit",status="fail"} 1',
      'dtm_server_process_total{type="http",api="query",status="ok"} 1',
      'dtm_server_response_duration_count{type="http",api="query"} 1',
      'dtm_transaction_process_total{model="saga",status="ok"} 1',
      'dtm_transaction_handled_duration_count{model="saga"} 1',
      'dtm_branch_process_total{model="saga",branchid="01",branchtype="action",status="ok"} 1',
      'assent_scheduler_branch_calls_total{model="saga",protocol="grpc",outcome="success"} 1',
      'assent_alerts_total{result="sent"} 2',
      'assent_alerts_total{result="failed"} 1',
      'assent_alerts_total{result="dropped"} 0',
      'assent_api_requests_total{api="submit",status="500"} 1',
      'assent_api_rejected_total{code="INVALID_REQUEST"} 1',
    ]) {
      expect(text).toContain(`${line}\n`);
    }
  });

  it('12.27: branch ids are bounded', async () => {
    const metrics = new Metrics('v0');
    for (let i = 0; i < 5_000; i += 1) {
      const branchId = String(i);
      metrics.branchCalled({
        type: 'saga',
        branchId,
        op: 'action',
        protocol: 'http',
        outcome: 'unknown',
        durationMs: 1,
      });
    }
    const { values } = (await own(metrics)).find(
      ({ name }) => name === 'dtm_branch_process_total',
    ) as { values: { value: number }[] };
    expect(values.length).toBe(101);
    expect(values.reduce((sum, { value }) => sum + value, 0)).toBe(5_000);
  });

  it('12.27: every pattern and protocol has its series, and the names of workflows have none', async () => {
    const metrics = new Metrics('v0');
    const caller = new ObservedCaller(ANSWERS_AT_ONCE, metrics);
    const call = { gid: 'g', branchId: '01', payload: new Uint8Array(), headers: {}, timeoutMs: 1 };
    const calls = [
      { type: 'saga', op: 'action', protocol: 'http', url: 'http://a/x' },
      { type: 'tcc', op: 'confirm', protocol: 'grpc', url: 'a:1/b.C/D' },
      { type: 'xa', op: 'commit', protocol: 'grpc', url: 'http://a/x' },
      { type: 'msg', op: 'msg', protocol: 'json-rpc', url: 'http://a/x?method=M' },
      { type: 'workflow', op: 'a name of a client', protocol: 'http', url: 'http://a/x' },
      { type: 'workflow', op: 'another', protocol: 'grpc', url: 'a:1/b.C/D' },
    ] as const;
    for (const one of calls)
      caller.call(
        { ...call, ...one },
        () => true,
        () => undefined,
      );
    const text = await metrics.text();
    for (const line of [
      'model="saga",protocol="http"',
      'model="tcc",protocol="grpc"',
      'model="xa",protocol="http"',
      'model="msg",protocol="json-rpc"',
      'model="workflow",protocol="http"',
      'model="workflow",protocol="grpc"',
    ]) {
      expect(text).toContain(`assent_scheduler_branch_calls_total{${line},outcome="success"} 1\n`);
    }
    expect(text).toContain('model="workflow",branchid="01",branchtype="callback",status="ok"} 2\n');
    expect(text).not.toContain('a name of a client');
  });

  it('shows the node as it is at the scrape', async () => {
    let role: 'leader' | 'follower' = 'leader';
    const metrics = new Metrics('v0');
    metrics.observeNode(statusSource({ raft: () => raftStatus({ role }) }));
    expect(await metrics.text()).toContain('assent_raft_role{role="leader"} 1\n');
    expect(await metrics.text()).toContain('assent_raft_peer_lag_entries{peer="2"} 3\n');
    role = 'follower';
    const text = await metrics.text();
    expect(text).toContain('assent_raft_role{role="follower"} 1\n');
    expect(text).not.toContain('role="leader"');
    expect(text).not.toContain('assent_raft_peer_lag_entries{');
    expect(text).toContain('assent_raft_is_leader 0\n');
  });

  it('a part that is not open exports nothing', async () => {
    const metrics = new Metrics('v0');
    metrics.observeNode(statusSource({ raft: () => undefined, log: () => undefined }));
    expect(await metrics.text()).not.toMatch(/^assent_raft_term /m);
  });

  it('is served on /api/metrics', async () => {
    const { get } = testApi();
    const reply = await get('/api/metrics');
    expect(reply.status).toBe(200);
    expect(reply.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(reply.text).toContain('assent_build_info{version="v0"');
  });
});
