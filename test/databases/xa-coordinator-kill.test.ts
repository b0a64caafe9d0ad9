// XA between a real MariaDB and a real PostgreSQL while the coordinator's leader is killed between both
// phases: money is conserved, and no database keeps a prepared transaction.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LocalCluster, until } from '../../bench/lib/local-cluster.ts';
import { type Branch, DtmClient, newGid, type Xa } from '../../src/client/index.ts';
import { type Skipped, type SqlServer, startMariaDb, startPostgreSql } from './index.ts';
import { type BranchService, startBranchService } from './lib/branch-service.ts';
import { add, balanceOf, type Ledger, moneyIn, openLedger } from './lib/ledger.ts';

const TRANSFERS = 6;
const AMOUNT = 30;
const ACCOUNTS = Array.from({ length: TRANSFERS }, (_, at) => at + 1);

describe.each(['http', 'grpc'] as const)('XA across a kill of the leader, over %s', (protocol) => {
  const servers: SqlServer[] = [];
  let skipped: string | undefined;
  let cluster: LocalCluster;
  let client: DtmClient;
  let reader: DtmClient;
  let service: BranchService;
  let maria: Ledger;
  let postgres: Ledger;
  let gids: string[];

  async function started(starting: Promise<SqlServer | Skipped>): Promise<SqlServer | undefined> {
    const server = await starting;
    if (server.kind === 'skipped') skipped = server.reason;
    else servers.push(server);
    return server.kind === 'skipped' ? undefined : server;
  }

  beforeAll(async () => {
    const mariaServer = await started(startMariaDb());
    const postgresServer = await started(startPostgreSql());
    if (mariaServer === undefined || postgresServer === undefined) return;
    maria = await openLedger(mariaServer, TRANSFERS);
    postgres = await openLedger(postgresServer, TRANSFERS);
    cluster = await LocalCluster.create({ nodes: 3 });
    await cluster.startAll();
    const urls = cluster.nodes.map(({ url }) => url);
    reader = new DtmClient({ endpoints: urls });
    const endpoints =
      protocol === 'http' ? urls : cluster.nodes.map(({ grpcAddress }) => grpcAddress);
    client = new DtmClient({ endpoints, protocol });
    service = await startBranchService({
      '/out': (branch, id) =>
        client.xaLocal(branch, maria.xa, (teller) => add(teller, Number(id), -AMOUNT)),
      '/in': (branch, id) =>
        client.xaLocal(branch, postgres.xa, (teller) => add(teller, Number(id), AMOUNT)),
    });
  });
  afterAll(async () => {
    if (skipped === undefined) {
      await service.stop();
      client.close();
      reader.close();
      await cluster.destroy();
      await Promise.all([maria.close(), postgres.close()]);
    }
    await Promise.all(servers.map((server) => server.stop()));
  });
  beforeEach(async ({ skip }) => {
    if (skipped !== undefined) return skip(`needs MariaDB and PostgreSQL: ${skipped}`);
    for (const ledger of [maria, postgres]) await ledger.query('UPDATE account SET balance = 100');
    service.seen.length = 0;
    service.door = () => Promise.resolve();
    gids = ACCOUNTS.map((id) => `${id}-${newGid()}`);
  });
  afterEach(async () => {
    if (skipped !== undefined) return;
    for (const { id, child } of cluster.nodes) if (child === undefined) await cluster.start(id);
  });

  const killLeader = async () => cluster.signal((await cluster.leader()).id, 'SIGKILL');

  async function both(xa: Xa, id: number): Promise<void> {
    await xa.callBranch({ url: `${service.url}/out`, payload: id });
    await xa.callBranch({ url: `${service.url}/in`, payload: id });
  }

  /** Every transfer prepares on both sides, then waits for `decide`, then ends. */
  function transfers(decide: () => Promise<void>, options = {}): Promise<unknown>[] {
    let waiting = 0;
    let decided: Promise<void> | undefined;
    let goOn: () => void = () => undefined;
    const allPrepared = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    return gids.map((gid, at) => {
      const execute = async (xa: Xa) => {
        await both(xa, at + 1);
        waiting += 1;
        if (waiting === TRANSFERS) goOn();
        await allPrepared;
        decided ??= expectPrepared(TRANSFERS).then(decide);
        await decided;
      };
      return client.xa(execute, { gid, retryIntervalSeconds: 1, ...options });
    });
  }

  async function expectPrepared(count: number): Promise<void> {
    expect(await maria.prepared()).toHaveLength(count);
    expect(await postgres.prepared()).toHaveLength(count);
  }

  async function expectEnded(status: 'succeed' | 'failed'): Promise<void> {
    for (const gid of gids) {
      await until(`${gid} is ${status}`, 40_000, async () =>
        (await reader.queryStatus(gid)) === status ? true : undefined,
      );
    }
    await expectPrepared(0);
    const moved = status === 'succeed' ? AMOUNT : 0;
    for (const id of ACCOUNTS) {
      const balances = [await balanceOf(maria, id), await balanceOf(postgres, id)];
      expect(balances).toEqual([100 - moved, 100 + moved]);
    }
    expect((await moneyIn(maria)) + (await moneyIn(postgres))).toBe(200 * TRANSFERS);
  }

  /** At the first second phase that arrives: the leader dies before it can be told the result. */
  function killAtFirst(op: string): void {
    let killed: Promise<void> | undefined;
    service.door = async (branch: Branch) => {
      if (branch.op !== op) return;
      killed ??= killLeader();
      await killed;
    };
  }

  it('commits everything that was prepared when the leader died before the submit', async () => {
    await Promise.all(transfers(killLeader));
    await expectEnded('succeed');
  });

  it('commits everything when the leader dies at the first commit', async () => {
    killAtFirst('commit');
    await Promise.all(transfers(() => Promise.resolve()));
    await expectEnded('succeed');
    expect(service.seen.some(({ op }) => op === 'rollback')).toBe(false);
  });

  it('rolls everything back when the leader dies at the first rollback', async () => {
    killAtFirst('rollback');
    const giveUp = () => Promise.reject(new Error('changed my mind'));
    const ends = await Promise.allSettled(transfers(giveUp));
    expect(ends.map(({ status }) => status)).toEqual(ACCOUNTS.map(() => 'rejected'));
    await expectEnded('failed');
    expect(service.seen.some(({ op }) => op === 'commit')).toBe(false);
  });

  it('rolls everything back when the initiator never decides and the leader dies', async () => {
    const neverInTime = async () => {
      await killLeader();
      await expectEnded('failed');
    };
    const ends = await Promise.allSettled(transfers(neverInTime, { timeoutToFailSeconds: 3 }));
    for (const end of ends) {
      expect(end).toMatchObject({ status: 'rejected', reason: { code: 'REFUSED' } });
    }
    await expectEnded('failed');
  });
});
