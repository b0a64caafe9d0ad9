// Workflows with local XA transactions in a real MariaDB and a real PostgreSQL, whose runs break down at
// the worst places (dtm reference §10.5): resumed by the coordinator, nothing stays prepared.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { LocalCluster, until } from '../../bench/lib/local-cluster.ts';
import {
  DtmClient,
  FailureError,
  newGid,
  type WorkflowEngine,
  type XaResource,
} from '../../src/client/index.ts';
import { type SqlServer, startMariaDb, startPostgreSql } from './index.ts';
import { type BranchService, startBranchService } from './lib/branch-service.ts';
import { add, balanceOf, type Ledger, openLedger, type Teller } from './lib/ledger.ts';

const servers: SqlServer[] = [];
let skipped: string | undefined;
let maria: Ledger;
let postgres: Ledger;
let cluster: LocalCluster;
let client: DtmClient;
let resume: BranchService;
let workflows: WorkflowEngine;

/** Where the first run breaks down. */
let breaksAt: 'before-prepare' | 'after-prepare' | 'end' | undefined;
let refuses: boolean;

function breakDown(at: typeof breaksAt): void {
  if (breaksAt !== at) return;
  breaksAt = undefined;
  throw new Error(`the process breaks down, ${at}`);
}

/** PostgreSQL's part, which breaks down on either side of the prepare; the step is not recorded. */
function breaking(resource: XaResource<Teller>): XaResource<Teller> {
  return {
    prepare: async (branch, business) => {
      const value = await resource.prepare(branch, async (teller) => {
        const done = await business(teller);
        breakDown('before-prepare');
        return done;
      });
      breakDown('after-prepare');
      return value;
    },
    finish: (branch, decision) => resource.finish(branch, decision),
  };
}

beforeAll(async () => {
  for (const server of [await startMariaDb(), await startPostgreSql()]) {
    if (server.kind === 'skipped') skipped = server.reason;
    else servers.push(server);
  }
  const [mariaServer, postgresServer] = servers;
  if (skipped !== undefined || mariaServer === undefined || postgresServer === undefined) return;
  maria = await openLedger(mariaServer, 1);
  postgres = await openLedger(postgresServer, 1);
  cluster = await LocalCluster.create({ nodes: 1 });
  await cluster.startAll();
  client = new DtmClient({ endpoints: cluster.nodes.map(({ url }) => url) });
  resume = await startBranchService({
    '/resume': async (branch) => {
      await workflows.execute(branch.op, branch.gid);
    },
  });
  workflows = client.workflows({ callback: `${resume.url}/resume` }).register(
    'transfer',
    async (run) => {
      await run.newBranch().doXa(maria.xa, async (teller) => {
        await add(teller, 1, -30);
        return 'taken';
      });
      await run.newBranch().doXa(breaking(postgres.xa), async (teller) => {
        await add(teller, 1, 30);
        return 'given';
      });
      if (refuses) throw new FailureError('no');
      breakDown('end');
      return 'moved';
    },
    { transaction: { retryIntervalSeconds: 1 } },
  );
});
afterAll(async () => {
  if (skipped === undefined) {
    await resume.stop();
    client.close();
    await cluster.destroy();
    await Promise.all([maria.close(), postgres.close()]);
  }
  await Promise.all(servers.map((server) => server.stop()));
});
beforeEach(async ({ skip }) => {
  if (skipped !== undefined) return skip(`needs MariaDB and PostgreSQL: ${skipped}`);
  for (const ledger of [maria, postgres]) await ledger.query('UPDATE account SET balance = 100');
  breaksAt = undefined;
  refuses = false;
});

async function expectEnded(gid: string, status: 'succeed' | 'failed'): Promise<void> {
  await until(`${gid} is ${status}`, 30_000, async () =>
    (await client.queryStatus(gid)) === status ? true : undefined,
  );
  expect([await maria.prepared(), await postgres.prepared()]).toEqual([[], []]);
  const moved = status === 'succeed' ? 30 : 0;
  const balances = [await balanceOf(maria, 1), await balanceOf(postgres, 1)];
  expect(balances).toEqual([100 - moved, 100 + moved]);
}

it('commits both when the function succeeds', async () => {
  const gid = newGid();
  expect(Buffer.from(await workflows.execute('transfer', gid)).toString()).toBe('moved');
  await expectEnded(gid, 'succeed');
});

it('rolls both back when the function fails', async () => {
  refuses = true;
  const gid = newGid();
  await expect(workflows.execute('transfer', gid)).rejects.toBeInstanceOf(FailureError);
  await expectEnded(gid, 'failed');
});

it('commits both when the run breaks down after both are recorded', async () => {
  breaksAt = 'end';
  const gid = newGid();
  await expect(workflows.execute('transfer', gid)).rejects.toThrow('breaks down');
  await expectEnded(gid, 'succeed');
});

it.each(['before-prepare', 'after-prepare'] as const)(
  'rolls both back when the run breaks down %s, unrecorded',
  async (at) => {
    breaksAt = at;
    const gid = newGid();
    await expect(workflows.execute('transfer', gid)).rejects.toThrow('breaks down');
    await expectEnded(gid, 'failed');
  },
);
