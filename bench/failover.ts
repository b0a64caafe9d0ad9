// Failover: how long commits stop for a client of another node when the leader is killed (SIGKILL),
// paused (SIGSTOP) or stopped gracefully (SIGTERM), under load, with default timeouts.
//
//   npm run bench:failover -- --kills 20 --pauses 10 --stops 10 --clients 16

import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { runLoad } from './lib/load.ts';
import type { LocalNode } from './lib/local-cluster.ts';
import { LocalCluster } from './lib/local-cluster.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    pauses: { type: 'string', default: '10' },
    stops: { type: 'string', default: '10' },
    clients: { type: 'string', default: '16' },
  },
});

/** A node that was just started again runs cold code: what is asked is the failover of a whole cluster. */
const WARMUP_MS = 2000;
const WATCH_MS = 4000;

/** Clients of one node that submit empty-URL sagas as fast as they are answered. */
async function longestGapAround(
  watcher: LocalNode,
  disturb: () => void | Promise<void>,
): Promise<number> {
  const pool = new Pool(watcher.url, { connections: 4 });
  const answeredAt: number[] = [];
  let stop = false;
  const client = async (number: number): Promise<void> => {
    for (let i = 0; !stop; i += 1) {
      const gid = `failover-${Date.now()}-${number}-${i}`;
      const body = JSON.stringify({
        gid,
        trans_type: 'saga',
        steps: [{ action: '', compensate: '' }],
        payloads: ['{}'],
      });
      const response = await pool
        .request({ method: 'POST', path: '/api/dtmsvr/submit', body, headersTimeout: 10_000 })
        .catch(() => undefined);
      await response?.body.dump();
      if (response?.statusCode === 200) answeredAt.push(performance.now());
    }
  };
  const clients = [client(0), client(1), client(2), client(3)];
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(WARMUP_MS);
  const disturbedAt = performance.now();
  const disturbed = disturb();
  await wait(WATCH_MS);
  await disturbed;
  stop = true;
  await Promise.all(clients);
  await pool.close();
  const after = answeredAt.filter((at) => at >= disturbedAt);
  // From the disturbance to the first commit of the next leader: the longest silence after it.
  return after.reduce(
    ({ previous, longest }, at) => ({ previous: at, longest: Math.max(longest, at - previous) }),
    { previous: disturbedAt, longest: 0 },
  ).longest;
}

function report(what: string, gaps: readonly number[]): void {
  if (gaps.length === 0) return;
  const sorted = gaps.toSorted((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  console.log(`| ${what} | ${gaps.length} | ${at(0)} | ${at(0.5)} | ${at(1)} |`);
}

async function series(
  cluster: LocalCluster,
  rounds: number,
  disturb: (leader: LocalNode) => void | Promise<void>,
  heal: (leader: LocalNode) => Promise<void>,
): Promise<number[]> {
  const gaps: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await cluster.whole();
    const leader = await cluster.leader();
    const others = cluster.nodes.filter((node) => node !== leader);
    const watcher = others[round % others.length];
    if (watcher === undefined) throw new Error('failover needs another node');
    const load = runLoad({
      urls: others.map((node) => node.url),
      participantUrl: '',
      kind: 'empty-urls-wait',
      concurrency: Number(values.clients),
      warmupMs: 0,
      measureMs: WARMUP_MS + WATCH_MS,
    });
    gaps.push(await longestGapAround(watcher, () => disturb(leader)));
    await load;
    await heal(leader);
  }
  return gaps;
}

const cluster = await LocalCluster.create({ nodes: 3 });
try {
  await cluster.startAll();
  console.log('| disturbance of the leader | rounds | best ms | median ms | worst ms |');
  console.log('|---|---|---|---|---|');
  report(
    'SIGKILL',
    await series(
      cluster,
      Number(values.kills),
      (leader) => cluster.signal(leader.id, 'SIGKILL'),
      (leader) => cluster.start(leader.id),
    ),
  );
  report(
    'SIGSTOP',
    await series(
      cluster,
      Number(values.pauses),
      (leader) => cluster.signal(leader.id, 'SIGSTOP'),
      async (leader) => {
        cluster.signal(leader.id, 'SIGCONT');
      },
    ),
  );
  report(
    'graceful stop',
    await series(
      cluster,
      Number(values.stops),
      (leader) => cluster.stop(leader.id),
      (leader) => cluster.start(leader.id),
    ),
  );
} finally {
  await cluster.destroy();
}
