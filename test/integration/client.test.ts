// The TypeScript client against a real cluster: every pattern over both protocols, and what a caller
// notices when the node that it uses is killed.

import { Server, ServerCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import { DtmClient, FailureError, newGid, type WorkflowEngine } from '../../src/client/index.ts';
import { type BranchService, startBranchService } from '../databases/lib/branch-service.ts';
import { threeNodes } from './lib/fixture.ts';

const on = threeNodes();

let service: BranchService;
/** `name op branch` of what was executed, in order; names that refuse are said by the tests. */
let executed: string[];
let refusing: Set<string>;
let prepared: boolean;

beforeAll(async () => {
  const route = (name: string) => async (branch: { op: string; branchId: string }) => {
    if (refusing.has(`${name} ${branch.op}`)) throw new FailureError(`${name} refuses`);
    executed.push(`${name} ${branch.op} ${branch.branchId}`);
    await Promise.resolve();
  };
  service = await startBranchService({
    '/out': route('out'),
    '/in': route('in'),
    '/check': () =>
      prepared ? Promise.resolve() : Promise.reject(new FailureError('not committed')),
  });
});
afterAll(() => service.stop());
afterEach(async () => {
  for (const { id, child } of on.cluster.nodes) {
    if (child === undefined) await on.cluster.start(id);
  }
});

describe.each(['http', 'grpc'] as const)('the client over %s', (protocol) => {
  let client: DtmClient;
  let reader: DtmClient;

  beforeAll(() => {
    const urls = on.cluster.nodes.map(({ url }) => url);
    const grpc = on.cluster.nodes.map(({ grpcAddress }) => grpcAddress);
    reader = new DtmClient({ endpoints: urls });
    client = new DtmClient({ endpoints: protocol === 'http' ? urls : grpc, protocol });
  });
  afterAll(() => {
    client.close();
    reader.close();
  });
  const fresh = (...refuses: string[]) => {
    executed = [];
    refusing = new Set(refuses);
    prepared = true;
    return newGid();
  };
  const url = (name: string) => `${service.url}/${name}`;
  const waitResult = true;
  const ended = (gid: string, status: string) =>
    until(`${gid} is ${status}`, 20_000, async () =>
      (await reader.queryStatus(gid)) === status ? true : undefined,
    );
  const saga = (gid: string) =>
    client
      .saga({ gid, waitResult })
      .add({ action: url('out'), compensate: url('out'), payload: 1 })
      .add({ action: url('in'), compensate: url('in'), payload: 1 });
  const tccBranch = (name: string) => {
    return { try: url(name), confirm: url(name), cancel: url(name), payload: 1 };
  };

  it('runs a saga to its end', async () => {
    const gid = fresh();
    await saga(gid).submit();
    expect(executed).toEqual(['out action 01', 'in action 02']);
    expect(await reader.queryStatus(gid)).toBe('succeed');
    // The same request again is told of the same success (P6).
    await saga(gid).submit();
    expect(executed).toHaveLength(2);
  });

  it('tells of a saga that is compensated', async () => {
    const gid = fresh('in action');
    await expect(saga(gid).submit()).rejects.toMatchObject({ code: 'REFUSED' });
    await ended(gid, 'failed');
    expect(executed).toEqual(['out action 01', 'in compensate 02', 'out compensate 01']);
  });

  it('confirms a tcc, its nested branch among the others', async () => {
    const gid = fresh();
    await client.tcc(
      async (tcc) => {
        await tcc.callBranch(tccBranch('out'));
        const seen = service.seen.at(-1);
        if (seen === undefined) throw new Error('no call');
        await client.tccWithin(seen).callBranch(tccBranch('in'));
      },
      { gid, waitResult },
    );
    expect(executed).toEqual(['out try 01', 'in try 0101', 'in confirm 0101', 'out confirm 01']);
  });

  it('cancels a tcc whose second try fails', async () => {
    const gid = fresh('in try');
    const run = client.tcc(
      async (tcc) => {
        await tcc.callBranch(tccBranch('out'));
        await tcc.callBranch(tccBranch('in'));
      },
      { gid },
    );
    await expect(run).rejects.toBeInstanceOf(FailureError);
    await ended(gid, 'failed');
    expect(executed).toEqual(['out try 01', 'in cancel 02', 'out cancel 01']);
  });

  it('sends a message after its local transaction, and none without it', async () => {
    const gid = fresh();
    const message = (id: string) =>
      client.msg({ gid: id, waitResult }).add({ action: url('in'), payload: 1 });
    await message(gid).doAndSubmit(url('check'), () => Promise.resolve());
    expect(executed).toEqual(['in action 01']);
    const other = fresh();
    prepared = false;
    const unclear = message(other).doAndSubmit(url('check'), () =>
      Promise.reject(new Error('connection lost')),
    );
    await expect(unclear).rejects.toThrow('connection lost');
    expect(await reader.queryStatus(other)).toBe('failed');
    expect(executed).toEqual([]);
  });

  it('publishes to a topic', async () => {
    const gid = fresh();
    const topic = `orders-${gid}`;
    for (const name of ['out', 'in']) await client.subscribe({ topic, url: url(name) });
    await client.msg({ gid, waitResult }).addTopic(topic, 7).submit();
    expect(executed).toEqual(['out action 01-01', 'in action 01-02']);
    await client.unsubscribe({ topic, url: url('in') });
    await client.deleteTopic(topic);
    const late = client.msg().addTopic(topic).submit();
    await expect(late).rejects.toMatchObject({ code: 'COORDINATOR' });
  });

  describe('workflows', () => {
    let workflows: WorkflowEngine;
    let server: Server | undefined;
    let runs = 0;
    let breaks: boolean;

    beforeAll(async () => {
      server = new Server();
      const port = await new Promise<number>((done, fail) => {
        server?.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, at) =>
          error === null ? done(at) : fail(error),
        );
      });
      const resume = await startBranchService({
        '/resume': async (branch, body) => {
          await workflows.execute(branch.op, branch.gid, body);
        },
      });
      const callback = protocol === 'grpc' ? `127.0.0.1:${port}` : `${resume.url}/resume`;
      workflows = client.workflows({ callback });
      workflows.register(
        'transfer',
        async (run, data) => {
          runs += 1;
          const step = (name: string) => {
            const branch = run.newBranch();
            branch.onRollback(async (own) => {
              await branch.callInPhase2(own, { url: url(name) });
            });
            return branch.call({ url: url(name), payload: 1 });
          };
          await step('out');
          if (breaks) {
            breaks = false;
            throw new Error('the process breaks down here');
          }
          await step('in');
          return `moved ${Buffer.from(data).toString()}`;
        },
        { transaction: { retryIntervalSeconds: 1 } },
      );
      const { definition, handlers } = workflows.grpcService();
      server.addService(definition, handlers);
      return async () => {
        server?.forceShutdown();
        await resume.stop();
      };
    });
    const execute = async (gid: string) =>
      Buffer.from(await workflows.execute('transfer', gid, '30')).toString();

    it('record their steps, and answer the stored result when executed again', async () => {
      const gid = fresh();
      breaks = false;
      expect(await execute(gid)).toBe('moved 30');
      expect(executed).toEqual(['out action 01', 'in action 02']);
      const before = runs;
      expect(await execute(gid)).toBe('moved 30');
      expect(runs).toBe(before);
    });

    it('roll back in reverse order, without the branch that failed', async () => {
      const gid = fresh('in action');
      breaks = false;
      await expect(execute(gid)).rejects.toBeInstanceOf(FailureError);
      expect(executed).toEqual(['out action 01', 'out rollback 01']);
      await expect(execute(gid)).rejects.toBeInstanceOf(FailureError);
      expect(executed).toHaveLength(2);
    });

    it('are resumed by the coordinator where they broke down', async () => {
      const gid = fresh();
      breaks = true;
      await expect(execute(gid)).rejects.toThrow('breaks down');
      await ended(gid, 'succeed');
      expect(executed).toEqual(['out action 01', 'in action 02']);
      expect(await execute(gid)).toBe('moved 30');
    });
  });

  it('hides the kill of any node that it uses', async () => {
    const leader = await on.cluster.leader();
    const gids = Array.from({ length: 12 }, () => fresh());
    const runs = gids.map((gid, at) => {
      if (at === 4) on.cluster.signal(leader.id, 'SIGKILL');
      return saga(gid).submit();
    });
    // Whatever a waiting submit was told, each saga ends, and in success.
    for (const end of await Promise.allSettled(runs)) {
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ outcome: 'unknown' });
    }
    for (const gid of gids) await ended(gid, 'succeed');
  });
});
