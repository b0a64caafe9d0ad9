// Whole-cluster load: how many transactions per second, how long each, and what they cost per process.
//
//   npm run bench:cluster                          the whole table (about 12 minutes)
//   npm run bench:cluster -- --nodes 3 --concurrency 64 --kinds two-branches-wait,grpc-saga-wait --delays 0
//   npm run bench:cluster -- --url http://127.0.0.1:36789/api/dtmsvr --grpc-url 127.0.0.1:36790
//                                                  any dtm server
//
// Kinds of load: bench/lib/kinds.ts. Nodes, load and participants share the machine: compare rows of
// one run, and with the ceilings measured beside them. Results go to standard output as a Markdown
// table, and with --json to a file.

import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import type { Kind } from './lib/kinds.ts';
import { loadKinds } from './lib/kinds.ts';
import type { LoadResult } from './lib/load.ts';
import { runLoad } from './lib/load.ts';
import { LocalCluster } from './lib/local-cluster.ts';
import { cpuMicros, residentMiB, startListener } from './lib/processes.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1,3' },
    concurrency: { type: 'string' },
    kinds: { type: 'string' },
    targets: { type: 'string', default: 'leader,spread' },
    delays: { type: 'string', default: '0,2' },
    seconds: { type: 'string', default: '3' },
    url: { type: 'string', multiple: true },
    'grpc-url': { type: 'string', multiple: true },
    json: { type: 'string' },
  },
});
const numbers = (text: string) => text.split(',').map(Number);
const measureMs = Number(values.seconds) * 1000;
const WARMUP_MS = 1000;
const WARMUP_CLIENTS = 64;

interface Servers {
  readonly urls: readonly string[];
  readonly grpcAddresses: readonly string[];
}
interface Participant {
  readonly port: number;
  readonly child: ChildProcess;
}
interface Participants {
  readonly http: Participant;
  readonly grpc: Participant;
}
interface Row extends LoadResult {
  readonly nodes: number | string;
  readonly flushDelayMs: number;
  readonly kind: string;
  readonly target: string;
  readonly concurrency: number;
  /** CPU of each process per transaction, in µs: leader, then followers. */
  readonly cpuMicros: readonly number[];
  readonly participantsCpuMicros: number;
  readonly loadCpuMicros: number;
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
    row.cpuMicros.map((n) => Math.round(n)).join(' / '),
    Math.round(row.participantsCpuMicros),
    Math.round(row.loadCpuMicros),
    row.residentMiB.map((n) => Math.round(n)).join(' / '),
    row.errors,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function heading(): void {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const cpu = cpus();
  console.log(
    `commit ${commit} · Node ${process.version} · ${cpu.length} × ${cpu[0]?.model ?? ''} · ${Math.round(totalmem() / 2 ** 30)} GiB · Linux ${release()} · fsync on · ${values.seconds} s per row after 1 s of warm-up, and 1 s before the first of a kind\n`,
  );
  console.log(
    '| nodes | flush | kind | load on | c | per s | p50 ms | p99 ms | CPU µs each: leader / followers | participants | load | RSS MiB | errors |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|---|---|---|---|');
}

/** The kinds that were asked for, or all that can be sent to these servers. */
function chosenKinds(servers: Servers): ReadonlyMap<string, Kind> {
  const all = loadKinds({ http: '', grpc: '' });
  const names = values.kinds?.split(',') ?? [...all.keys()];
  const chosen = new Map<string, Kind>();
  for (const name of names) {
    const kind = all.get(name);
    if (kind === undefined)
      throw new Error(`--kinds: ${name} is none of ${[...all.keys()].join()}`);
    if (kind.submittedOver === 'http' || servers.grpcAddresses.length > 0) chosen.set(name, kind);
    else if (values.kinds !== undefined) throw new Error(`--kinds ${name} needs --grpc-url`);
  }
  return chosen;
}

function chosenRows(servers: Servers): readonly { kind: string; clients: number }[] {
  return [...chosenKinds(servers)].flatMap(([kind, { concurrency }]) =>
    (values.concurrency === undefined ? concurrency : numbers(values.concurrency)).map(
      (clients) => ({ kind, clients }),
    ),
  );
}

async function measure(
  where: Pick<Row, 'nodes' | 'flushDelayMs' | 'target'>,
  servers: Servers,
  participants: Participants,
  pids: readonly number[],
): Promise<void> {
  const { http, grpc } = participants;
  const cpuOf = (): readonly number[] =>
    [...[http.child, grpc.child].map(pidOf), process.pid, ...pids].map(cpuMicros);
  const load = (kind: string, clients: number, measuredMs: number) =>
    runLoad({
      ...servers,
      participantUrl: `http://127.0.0.1:${http.port}`,
      grpcParticipant: `127.0.0.1:${grpc.port}`,
      kind,
      concurrency: clients,
      warmupMs: WARMUP_MS,
      measureMs: measuredMs,
    });
  let warm: string | undefined;
  for (const { kind, clients } of chosenRows(servers)) {
    // One client alone would run cold code throughout its row.
    if (kind !== warm) await load(kind, WARMUP_CLIENTS, 0);
    warm = kind;
    const before = cpuOf();
    const result = await load(kind, clients, measureMs);
    const spent = cpuOf().map((micros, i) => (micros - (before[i] ?? 0)) / result.answered);
    const [httpCpu = 0, grpcCpu = 0, loadCpu = 0, ...nodesCpu] = spent;
    const row: Row = {
      ...where,
      ...result,
      kind,
      concurrency: clients,
      cpuMicros: nodesCpu,
      participantsCpuMicros: httpCpu + grpcCpu,
      loadCpuMicros: loadCpu,
      residentMiB: pids.map(residentMiB),
    };
    rows.push(row);
    print(row);
  }
}

async function benchLocal(participants: Participants): Promise<void> {
  for (const flushDelayMs of numbers(values.delays)) {
    for (const nodes of numbers(values.nodes)) {
      const cluster = await LocalCluster.create({ nodes, flushDelayMs });
      try {
        await cluster.startAll();
        for (const target of values.targets.split(',')) {
          if (nodes === 1 && target === 'spread') continue;
          const leader = await cluster.leader();
          const followers = cluster.nodes.filter((node) => node !== leader);
          const pids = [leader, ...followers].map((node) => pidOf(node.child));
          const loaded = target === 'leader' ? [leader] : cluster.nodes;
          const servers = {
            urls: loaded.map(({ url }) => url),
            grpcAddresses: loaded.map(({ grpcAddress }) => grpcAddress),
          };
          await measure({ nodes, flushDelayMs, target }, servers, participants, pids);
        }
      } finally {
        await cluster.destroy();
      }
    }
  }
}

function pidOf(child: ChildProcess | undefined): number {
  if (child?.pid === undefined) throw new Error('a process does not run');
  return child.pid;
}

const participants: Participants = {
  http: await startListener(`${import.meta.dirname}/lib/participants.ts`, []),
  grpc: await startListener(`${import.meta.dirname}/lib/grpc-participants.ts`, []),
};
try {
  heading();
  if (values.url === undefined) await benchLocal(participants);
  else {
    const servers = { urls: values.url, grpcAddresses: values['grpc-url'] ?? [] };
    const where = { nodes: 'external', flushDelayMs: 0, target: 'url' };
    await measure(where, servers, participants, []);
  }
} finally {
  participants.http.child.stdin?.end();
  participants.grpc.child.stdin?.end();
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2));
