// Whole-cluster load: how many sagas per second, how long each, and what they cost per process.
//
//   npm run bench:cluster                          the whole table (about 10 minutes)
//   npm run bench:cluster -- --nodes 3 --concurrency 64 --kinds two-branches-wait --delays 0
//   npm run bench:cluster -- --url http://127.0.0.1:36789/api/dtmsvr      any dtm server
//
// Nodes, load and participants share the machine: compare rows of one run, and with the ceilings
// measured beside them. Results go to standard output as a Markdown table, and with --json to a file.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import type { LoadResult, SagaKind } from './lib/load.ts';
import { runLoad } from './lib/load.ts';
import { LocalCluster } from './lib/local-cluster.ts';
import { cpuMicros, residentMiB, startListener } from './lib/processes.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1,3' },
    concurrency: { type: 'string', default: '1,16,64,256' },
    kinds: { type: 'string', default: 'two-branches-wait,two-branches,empty-urls-wait' },
    targets: { type: 'string', default: 'leader,spread' },
    delays: { type: 'string', default: '0,2' },
    seconds: { type: 'string', default: '3' },
    url: { type: 'string', multiple: true },
    json: { type: 'string' },
  },
});
const numbers = (text: string) => text.split(',').map(Number);
const kinds = values.kinds.split(',') as SagaKind[];
const measureMs = Number(values.seconds) * 1000;

interface Row extends LoadResult {
  readonly nodes: number | string;
  readonly flushDelayMs: number;
  readonly kind: SagaKind;
  readonly target: string;
  readonly concurrency: number;
  /** CPU of each process per saga, in µs: leader, then followers, then participants. */
  readonly cpuMicrosPerSaga: readonly number[];
  readonly residentMiB: readonly number[];
}
const rows: Row[] = [];

function print(row: Row): void {
  const cell = (n: number) => n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0);
  const cells = [
    row.nodes,
    `+${row.flushDelayMs} ms`,
    row.kind,
    row.target,
    row.concurrency,
    row.perSecond,
    cell(row.p50Ms),
    cell(row.p99Ms),
    row.cpuMicrosPerSaga.map((n) => Math.round(n)).join(' / '),
    row.residentMiB.map((n) => Math.round(n)).join(' / '),
    row.errors,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function heading(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const cpu = cpus();
  console.log(
    `commit ${commit} · Node ${process.version} · ${cpu.length} × ${cpu[0]?.model ?? ''} · ${Math.round(totalmem() / 2 ** 30)} GiB · Linux ${release()} · fsync on · ${values.seconds} s per row after 1 s of warm-up\n`,
  );
  console.log(
    '| nodes | flush | saga | load on | c | sagas/s | p50 ms | p99 ms | CPU µs per saga: leader / followers / participants | RSS MiB | errors |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|---|---|');
}

async function measure(
  where: Pick<Row, 'nodes' | 'flushDelayMs' | 'target'>,
  urls: readonly string[],
  participant: { readonly port: number; readonly pid: number },
  pids: readonly number[],
): Promise<void> {
  for (const kind of kinds) {
    for (const concurrency of numbers(values.concurrency)) {
      const measured = [...pids, participant.pid];
      const before = measured.map(cpuMicros);
      const result = await runLoad({
        urls,
        participantUrl: `http://127.0.0.1:${participant.port}`,
        kind,
        concurrency,
        warmupMs: 1000,
        measureMs,
      });
      // Warm-up sagas cost too: spread the CPU over both.
      const all = (result.sagas * (measureMs + 1000)) / measureMs;
      const row: Row = {
        ...where,
        ...result,
        kind,
        concurrency,
        cpuMicrosPerSaga: measured.map((pid, i) => (cpuMicros(pid) - (before[i] ?? 0)) / all),
        residentMiB: pids.map(residentMiB),
      };
      rows.push(row);
      print(row);
    }
  }
}

async function benchLocal(participant: {
  readonly port: number;
  readonly pid: number;
}): Promise<void> {
  for (const flushDelayMs of numbers(values.delays)) {
    for (const nodes of numbers(values.nodes)) {
      const cluster = await LocalCluster.create({ nodes, flushDelayMs });
      try {
        await cluster.startAll();
        for (const target of values.targets.split(',')) {
          if (nodes === 1 && target === 'spread') continue;
          const leader = await cluster.leader();
          const followers = cluster.nodes.filter((node) => node !== leader);
          const pids = [leader, ...followers].map((node) => node.child?.pid ?? 0);
          const urls = target === 'leader' ? [leader.url] : cluster.nodes.map((node) => node.url);
          await measure({ nodes, flushDelayMs, target }, urls, participant, pids);
        }
      } finally {
        await cluster.destroy();
      }
    }
  }
}

const { port, child } = await startListener(`${import.meta.dirname}/lib/participants.ts`, []);
const participant = { port, pid: child.pid ?? 0 };
try {
  heading();
  if (values.url === undefined) await benchLocal(participant);
  else
    await measure(
      { nodes: 'external', flushDelayMs: 0, target: 'url' },
      values.url,
      participant,
      [],
    );
} finally {
  child.stdin?.end();
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2));
