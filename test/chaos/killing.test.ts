// Real processes, real signals, money at stake (P1–P6).
//
// ASSENT_CHAOS_KILLS (10) and ASSENT_CHAOS_CLIENTS (64) size the first test; the gate runs it whole.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LocalCluster, until } from '../../bench/lib/local-cluster.ts';
import { TransferRun } from './lib/transfers.ts';

const KILLS = Number(process.env['ASSENT_CHAOS_KILLS'] ?? 10);
const CLIENTS = Number(process.env['ASSENT_CHAOS_CLIENTS'] ?? 64);

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function threeNodes(): Promise<LocalCluster> {
  const cluster = await LocalCluster.create({ nodes: 3 });
  closers.push(() => cluster.destroy());
  await cluster.startAll();
  return cluster;
}

async function transfers(cluster: LocalCluster, clients: number): Promise<TransferRun> {
  const run = await TransferRun.start(cluster, clients);
  closers.push(() => run.close());
  return run;
}

async function settled(run: TransferRun): Promise<void> {
  const summary = await run.finish();
  console.log(JSON.stringify(summary));
  expect(run.wrongAnswers).toEqual([]);
  expect(summary.transfers).toBe(summary.succeeded + summary.compensated);
  expect(summary.succeeded).toBeGreaterThan(0);
}

const submitTo = (url: string, timeoutMs: number) =>
  fetch(`${url}/api/dtmsvr/submit`, {
    method: 'POST',
    body: JSON.stringify({
      gid: `probe-${Math.random()}`,
      trans_type: 'saga',
      steps: [{ action: '', compensate: '' }],
      payloads: ['{}'],
    }),
    signal: AbortSignal.timeout(timeoutMs),
  });

describe('killing', () => {
  it(`loses nothing while the leader is killed ${KILLS} times under ${CLIENTS} clients`, async () => {
    const cluster = await threeNodes();
    const run = await transfers(cluster, CLIENTS);
    await run.progress(200, 30_000);
    for (let kill = 0; kill < KILLS; kill += 1) {
      const leader = await cluster.leader();
      cluster.signal(leader.id, 'SIGKILL');
      await run.progress(100, 30_000);
      await cluster.start(leader.id);
      await run.progress(100, 30_000);
    }
    await settled(run);
  });

  it('goes on while the leader hangs for 10 s, and takes it back', async () => {
    const cluster = await threeNodes();
    const run = await transfers(cluster, 16);
    await run.progress(100, 30_000);
    const leader = await cluster.leader();
    cluster.signal(leader.id, 'SIGSTOP');
    const paused = performance.now();
    await run.progress(50, 30_000);
    await until('10 s of pause', 15_000, () =>
      Promise.resolve(performance.now() - paused >= 10_000 ? true : undefined),
    );
    cluster.signal(leader.id, 'SIGCONT');
    await run.progress(100, 30_000);
    await settled(run);
  });

  it('refuses clearly and in bounded time with two nodes down, and resumes when one returns', async () => {
    const cluster = await threeNodes();
    const leader = await cluster.leader();
    const [survivor, other] = cluster.nodes.filter((node) => node !== leader);
    if (survivor === undefined || other === undefined) throw new Error('three nodes are needed');
    cluster.signal(leader.id, 'SIGKILL');
    cluster.signal(other.id, 'SIGKILL');
    const startedAt = performance.now();
    const refusal = await submitTo(survivor.url, 15_000);
    expect([503, 504]).toContain(refusal.status);
    expect(await refusal.text()).not.toMatch(/FAILURE|ONGOING/);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await until('not ready without a majority', 15_000, async () =>
      (await fetch(`${survivor.url}/readyz`)).status === 503 ? true : undefined,
    );
    expect((await fetch(`${survivor.url}/livez`)).status).toBe(200);
    await cluster.start(other.id);
    await until('work resumes', 15_000, async () =>
      (await submitTo(survivor.url, 10_000)).status === 200 ? true : undefined,
    );
  });

  it('recovers everything accepted when all three are killed at once', async () => {
    const cluster = await threeNodes();
    const run = await transfers(cluster, 16);
    await run.progress(200, 30_000);
    for (const node of cluster.nodes) cluster.signal(node.id, 'SIGKILL');
    await Promise.all(cluster.nodes.map((node) => cluster.start(node.id)));
    await run.progress(200, 60_000);
    await settled(run);
  });

  it('refuses a wiped node, which neither votes nor is believed', async () => {
    const cluster = await threeNodes();
    const [victim] = cluster.nodes;
    if (victim === undefined) throw new Error('no nodes');
    cluster.signal(victim.id, 'SIGKILL');
    rmSync(join(victim.directory, 'data'), { recursive: true, force: true });
    await expect(cluster.start(victim.id)).rejects.toThrow();
    await until('the others go on', 15_000, async () => {
      const leader = await cluster.leader();
      return (await submitTo(leader.url, 8000)).status === 200 ? true : undefined;
    });
  });
});
