// A message and its local transaction when the sender is killed: delivered if, and only if, the local
// transaction committed (P1). Real database, real nodes, a real process killed by its pid.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LocalCluster, until } from '../../bench/lib/local-cluster.ts';
import { DtmClient, newGid } from '../../src/client/index.ts';
import { type Skipped, type SqlServer, startMariaDb, startPostgreSql } from './index.ts';
import { type BranchService, startBranchService } from './lib/branch-service.ts';
import { add, balanceOf, type Ledger, openLedger } from './lib/ledger.ts';
import type { MessageClientConfig } from './lib/message-client.ts';

const PROGRAM = join(import.meta.dirname, 'lib/message-client.ts');
const SENDER = 1;
const RECEIVER = 2;

let cluster: LocalCluster;
let reader: DtmClient;

beforeAll(async () => {
  cluster = await LocalCluster.create({ nodes: 3 });
  await cluster.startAll();
  reader = new DtmClient({ endpoints: cluster.nodes.map(({ url }) => url) });
});
afterAll(async () => {
  reader.close();
  await cluster.destroy();
});

describe.each([
  ['MariaDB', startMariaDb],
  ['PostgreSQL', startPostgreSql],
])('a message from %s whose sender is killed', (name, start) => {
  let server: SqlServer | Skipped;
  let ledger: Ledger;
  let service: BranchService;
  let child: ChildProcess | undefined;

  beforeAll(async () => {
    server = await start();
    if (server.kind === 'skipped') return;
    ledger = await openLedger(server, 2);
    service = await startBranchService({
      '/check': (branch) => ledger.barrier.queryPrepared(branch),
      '/deliver': async (branch) => {
        await ledger.barrier.call(branch, (teller) => add(teller, RECEIVER, 30));
      },
    });
  });
  afterAll(async () => {
    if (server.kind === 'skipped') return;
    await service.stop();
    await ledger.close();
    await server.stop();
  });
  beforeEach(async ({ skip }) => {
    if (server.kind === 'skipped') return skip(`${name}: ${server.reason}`);
    await ledger.query('UPDATE account SET balance = 100');
    service.seen.length = 0;
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    child = undefined;
  });

  /** Starts the program and waits until it hangs; then it is killed. */
  async function sendAndDie(
    protocol: 'http' | 'grpc',
    hangsAt: MessageClientConfig['hangsAt'],
  ): Promise<string> {
    if (server.kind === 'skipped') throw new Error('skipped');
    const gid = newGid();
    const { nodes } = cluster;
    const config: MessageClientConfig = {
      database: { kind: server.kind, url: server.url },
      endpoints: nodes.map((node) => (protocol === 'http' ? node.url : node.grpcAddress)),
      protocol,
      gid,
      serviceUrl: service.url,
      account: SENDER,
      hangsAt,
    };
    const parameters = ['--import', 'tsx', PROGRAM, JSON.stringify(config)];
    child = spawn(process.execPath, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
    const { pid, stdout } = child;
    if (pid === undefined || stdout === null) throw new Error('the sender did not start');
    const ended = once(child, 'exit');
    const [line] = await Promise.race([
      once(createInterface({ input: stdout }), 'line'),
      ended.then(() => ['it ended by itself']),
    ]);
    expect(line).toBe(hangsAt);
    expect(await reader.queryStatus(gid)).toBe('prepared');
    process.kill(pid, 'SIGKILL');
    await ended;
    return gid;
  }

  const balances = async () => [await balanceOf(ledger, SENDER), await balanceOf(ledger, RECEIVER)];
  const opsSeen = () => new Set(service.seen.map(({ op }) => op));

  async function expectStatus(gid: string, status: string): Promise<void> {
    await until(`${gid} is ${status}`, 30_000, async () =>
      (await reader.queryStatus(gid)) === status ? true : undefined,
    );
  }

  it.each(['http', 'grpc'] as const)(
    'after its commit is delivered, once (over %s)',
    async (protocol) => {
      const gid = await sendAndDie(protocol, 'after-commit');
      await expectStatus(gid, 'succeed');
      expect(await balances()).toEqual([70, 130]);
      expect(opsSeen()).toEqual(new Set(['msg', 'action']));
    },
  );

  it.each(['http', 'grpc'] as const)(
    'before its commit is never delivered (over %s)',
    async (protocol) => {
      const gid = await sendAndDie(protocol, 'before-commit');
      await expectStatus(gid, 'failed');
      expect(await balances()).toEqual([100, 100]);
      expect(opsSeen()).toEqual(new Set(['msg']));
    },
  );

  it.each([
    ['after-commit', 'succeed', [70, 130]],
    ['before-commit', 'failed', [100, 100]],
  ] as const)('%s, and then the leader too', async (hangsAt, status, expected) => {
    const gid = await sendAndDie('http', hangsAt);
    const leader = await cluster.leader();
    cluster.signal(leader.id, 'SIGKILL');
    await expectStatus(gid, status);
    expect(await balances()).toEqual(expected);
    await cluster.start(leader.id);
  });
});
