// The client's own rules: ids, names of branches, what a service answers, what the answers of a branch
// mean, and that the module stands alone.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { ProtoWriter, readFields } from '../../../src/client/coordinator/protobuf.ts';
import { BranchIds, gidOfUuid } from '../../../src/client/gid.ts';
import {
  Branch,
  BranchError,
  branchFromMetadata,
  branchFromQuery,
  DtmClient,
  FailureError,
  grpcBranchHandler,
  grpcStatusOf,
  httpAnswerOf,
  newGid,
  OngoingError,
  RefusedError,
  serveBranch,
} from '../../../src/client/index.ts';
import { deadUrl, SUCCESS, startServer, stopServers } from './lib/fake-dtm.ts';

afterEach(stopServers);

describe('gids', () => {
  it('are of 22 characters without ambiguous ones, for any UUID, and different for different ones', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.uuid(), (one, other) => {
        expect(gidOfUuid(one)).toMatch(/^[23456789A-HJ-NP-Za-km-z]{22}$/);
        expect(gidOfUuid(one) === gidOfUuid(other)).toBe(one === other);
      }),
    );
    expect(newGid()).not.toBe(newGid());
  });

  it.each(['', 'a;b', 'a\nb', 'a\rb'])('%j is refused before anything is sent', (gid) => {
    const client = new DtmClient({ endpoints: ['http://127.0.0.1:1'] });
    const refused = { code: 'USAGE', outcome: 'none' };
    for (const start of [() => client.saga({ gid }), () => client.msg({ gid })]) {
      expect(start).toThrow(expect.objectContaining(refused));
    }
  });

  it('keep every other character on their way to the server', async () => {
    const dtm = await startServer();
    const client = new DtmClient({ endpoints: [dtm.url] });
    const gid = `ä/%?&#+ "'\\<😀>`;
    await client.saga({ gid }).add({ action: '' }).submit();
    expect(dtm.one('submit').body['gid']).toBe(gid);
    await client.queryStatus(gid);
    expect(dtm.one('query').query.get('gid')).toBe(gid);
  });
});

describe('branch ids', () => {
  it('count from 01 to 99 under their parent, and no further', () => {
    const ids = new BranchIds('02');
    const made = Array.from({ length: 99 }, () => ids.next());
    expect([made[0], made[8], made[98]]).toEqual(['0201', '0209', '0299']);
    expect(() => ids.next()).toThrow('more than 99');
  });

  it('end where a parent has 20 characters', () => {
    expect(new BranchIds('01'.repeat(9)).next()).toHaveLength(20);
    expect(() => new BranchIds('01'.repeat(10)).next()).toThrow('nested too deeply');
  });
});

describe('a branch', () => {
  const info = { gid: 'a b', transactionType: 'tcc', branchId: '01', op: 'try' };
  const query = 'gid=a+b&trans_type=tcc&branch_id=01&op=try&dtm=http%3A%2F%2Fd&phase2_url=p';

  it.each([
    ['a query string', query],
    ['the path of a request', `/try?${query}`],
    ['a URL', new URL(`http://s/try?${query}`)],
    ['parameters', new URLSearchParams(query)],
    [
      "a framework's object",
      { ...Object.fromEntries(new URLSearchParams(query)), branch_id: ['01', 'x'] },
    ],
  ])('is read from %s', (_, source) => {
    expect(branchFromQuery(source)).toMatchObject({ ...info, dtm: 'http://d', phase2Url: 'p' });
  });

  it('is read from metadata', () => {
    const metadata = new Map([
      ['dtm-gid', ['a b']],
      ['dtm-trans_type', ['tcc']],
      ['dtm-branch_id', ['01']],
      ['dtm-op', ['try']],
      ['dtm-dtm', ['']],
    ]);
    expect(branchFromMetadata({ get: (key) => metadata.get(key) ?? [] })).toMatchObject(info);
  });

  it.each(['gid', 'transactionType', 'branchId', 'op'])('is none without its %s', (missing) => {
    expect(() => new Branch({ ...info, [missing]: '' })).toThrow('none may be empty');
  });
});

describe('what a service answers', () => {
  const answers = (error: unknown) => {
    const { status, body } = httpAnswerOf(error);
    return [status, JSON.parse(body) as unknown];
  };

  it('says failure and ongoing in the protocol words, once', () => {
    expect(answers(new FailureError('poor FAILURE'))).toEqual([
      409,
      { dtm_result: 'FAILURE', message: 'poor' },
    ]);
    expect(answers(new OngoingError('later'))).toEqual([
      425,
      { dtm_result: 'ONGOING', message: 'later' },
    ]);
    expect(grpcStatusOf(new FailureError('poor'))).toEqual({ code: 10, details: 'poor FAILURE' });
    expect(grpcStatusOf(new OngoingError('later'))).toEqual({ code: 9, details: 'later ONGOING' });
  });

  it('never lets another error look like a result', () => {
    const refused = new RefusedError('no FAILURE, ONGOING FAILURE', 'none');
    for (const error of [refused, new Error('FAILURE of the disk'), 'ONGOING']) {
      expect(httpAnswerOf(error).status).toBe(500);
      expect(httpAnswerOf(error).body).not.toMatch(/FAILURE|ONGOING/);
      expect([9, 10]).not.toContain(grpcStatusOf(error).code);
    }
    // Of both words ONGOING would win.
    expect(httpAnswerOf(new FailureError('was ONGOING')).body).not.toContain('ONGOING');
  });

  it('is the value of the function, a success where there is none, or what its error means', async () => {
    const url = '/x?gid=g&trans_type=saga&branch_id=01&op=action';
    const serve = async (execute: () => Promise<unknown>) => {
      const { status, body } = await serveBranch(url, execute);
      return [status, body];
    };
    expect(await serve(() => Promise.resolve({ held: 1 }))).toEqual([200, '{"held":1}']);
    // A word that only happens to be there makes no failure of a success.
    const mentions = { note: 'no FAILURE', 'ONGOING?': '\\ONGOING' };
    const [, text] = await serve(() => Promise.resolve(mentions));
    expect(text).not.toMatch(/FAILURE|ONGOING/);
    expect(JSON.parse(String(text))).toEqual(mentions);
    expect(await serve(() => Promise.resolve())).toEqual([200, '{"dtm_result":"SUCCESS"}']);
    const [status] = await serve(() => Promise.reject(new FailureError('poor')));
    expect(status).toBe(409);
    const bad = await serveBranch('/x?gid=g', () => Promise.resolve());
    expect(bad.status).toBe(500);
  });

  it('goes to the callback of gRPC', async () => {
    const metadata = { get: () => ['x'] };
    const call = (execute: () => Promise<string>) =>
      new Promise((resolve) => {
        grpcBranchHandler<object, string>(execute)({ metadata, request: {} }, (error, reply) =>
          resolve(error ?? reply),
        );
      });
    expect(await call(() => Promise.resolve('reply'))).toBe('reply');
    expect(await call(() => Promise.reject(new FailureError('poor')))).toMatchObject({ code: 10 });
  });
});

describe('what the answer of a branch means', () => {
  const tries = [
    [{ status: 200, body: 'fine' }, undefined],
    [{ status: 409, body: 'no' }, FailureError],
    [{ status: 200, body: 'FAILURE' }, FailureError],
    [{ status: 425, body: 'wait' }, OngoingError],
    // As the coordinator reads it: ONGOING first, then FAILURE, then the status.
    [{ status: 409, body: 'ONGOING' }, OngoingError],
    [{ status: 500, body: 'FAILURE' }, FailureError],
    [{ status: 500, body: 'broken' }, BranchError],
    [{ status: 204, body: '' }, BranchError],
  ] as const;

  it.each(tries)('a try: %o', async (reply, expected) => {
    const service = await startServer(() => reply);
    const dtm = await startServer();
    const client = new DtmClient({ endpoints: [dtm.url] });
    const branch = { try: `${service.url}/try`, confirm: 'c', cancel: 'c' };
    const run = client.tcc((tcc) => tcc.callBranch(branch));
    if (expected === undefined) expect((await run).text).toBe('fine');
    else await expect(run).rejects.toBeInstanceOf(expected);
    expect(dtm.routes.at(-1)).toBe(expected === undefined ? 'submit' : 'abort');
  });

  it.each([
    [{ status: 200, body: '{"note":"FAILURE is a word"}' }, 'succeed'],
    [{ status: 409, body: 'no' }, 'failed'],
    [{ status: 425, body: 'wait' }, undefined],
    [{ status: 500, body: 'FAILURE' }, undefined],
  ] as const)('a step of a workflow goes by the status alone: %o', async (reply, recorded) => {
    const service = await startServer(() => reply);
    const dtm = await startServer(({ route }) =>
      route === 'prepareWorkflow'
        ? { body: { progresses: [], transaction: { status: 'prepared' } } }
        : SUCCESS,
    );
    const workflows = new DtmClient({ endpoints: [dtm.url] })
      .workflows({ callback: 'http://me' })
      .register('w', async (run) => (await run.newBranch().call({ url: service.url })).text);
    await workflows.execute('w', 'g').catch(() => undefined);
    const steps = dtm.received.filter(({ route }) => route === 'registerBranch');
    expect(steps.map(({ body }) => body['status'])).toEqual(
      recorded === undefined ? [] : [recorded],
    );
    expect(dtm.routes.includes('submit')).toBe(recorded !== undefined);
  });
});

describe('a workflow that ended', () => {
  const workflowsOf = async (transaction: object) => {
    const dtm = await startServer(() => ({ body: { progresses: [], transaction } }));
    const client = new DtmClient({ endpoints: [dtm.url] });
    const run = () => Promise.reject(new Error('it ran again'));
    return client.workflows({ callback: 'http://me' }).register('w', run);
  };

  it('answers its stored result, or its stored reason, without running', async () => {
    const succeeded = await workflowsOf({ status: 'succeed', result: 'AP9GQUlMVVJF' });
    const bytes = await succeeded.execute('w', 'g');
    expect(Buffer.from(bytes).toString('latin1')).toBe('\u0000\u00ffFAILURE');
    const failed = await workflowsOf({ status: 'failed', rollback_reason: 'no room FAILURE' });
    await expect(failed.execute('w', 'g')).rejects.toEqual(new FailureError('no room'));
  });

  it('is answered to a callback as success or failure', async () => {
    const query = '?gid=g&trans_type=workflow&branch_id=00&op=w';
    const succeeded = await workflowsOf({ status: 'succeed' });
    expect((await succeeded.serveCallback(query, new Uint8Array())).status).toBe(200);
    const failed = await workflowsOf({ status: 'failed' });
    expect((await failed.serveCallback(query, new Uint8Array())).status).toBe(409);
    const unknown = await succeeded.serveCallback(`${query}x`, new Uint8Array());
    expect(unknown.status).toBe(500);
  });
});

describe('an attempt of unknown outcome', () => {
  it.each([400, 404, 413, 500])('is not undone by a later %i', async (status) => {
    const losing = await startServer(() => ({ drop: true }));
    const second = await startServer(() => ({ status, body: { message: 'no' } }));
    const client = new DtmClient({ endpoints: [losing.url, second.url], pauseMs: 1 });
    const run = client.saga().add({ action: '' }).submit();
    await expect(run).rejects.toMatchObject({ code: 'COORDINATOR', outcome: 'unknown' });
  });

  it('is not undone by a later refusal whose transaction is still open', async () => {
    const losing = await startServer(() => ({ drop: true }));
    const dead = await deadUrl();
    const client = new DtmClient({
      endpoints: [losing.url, dead],
      totalTimeoutMs: 200,
      pauseMs: 1,
    });
    const run = client.tcc(() => Promise.resolve());
    await expect(run).rejects.toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown' });
  });
});

describe('protobuf', () => {
  it('reads back what it wrote, and skips what it does not know', () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.integer({ min: 1, max: 5_000 }),
        fc.nat(),
        (bytes, field, count) => {
          const message = new ProtoWriter()
            .count(7, count)
            .bytes(field, bytes)
            .flag(9, true)
            .finish();
          const [found] = readFields(message);
          expect([found?.field, Buffer.from(found?.value ?? [])]).toEqual([
            field,
            Buffer.from(bytes),
          ]);
        },
      ),
    );
  });

  it('refuses a message that is cut off', () => {
    const message = new ProtoWriter().text(1, 'abc').finish();
    expect(() => readFields(message.subarray(0, 4))).toThrow('cut off');
    expect(() => readFields(message.subarray(0, 1))).toThrow('cut off');
  });
});

describe('the module', () => {
  it('imports nothing but itself, the platform, and grpc-js when it is used', () => {
    const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../../src/client');
    const foreign = readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => {
        const text = readFileSync(join(root, name), 'utf8');
        // What has types alone is gone when it runs.
        const imports = [...text.matchAll(/^(?:import|export) (?!type )[^;]*?from '([^']+)';/gms)];
        const loaded = [...text.matchAll(/(?<!typeof )import\('([^']+)'\)/g)];
        return [...imports, ...loaded]
          .map(([, source = '']) => source)
          .filter((source) => !source.startsWith('node:'))
          .filter((source) => {
            if (!source.startsWith('.')) return true;
            return !resolve(root, dirname(name), source).startsWith(root + sep);
          });
      });
    expect(new Set(foreign)).toEqual(new Set(['@grpc/grpc-js']));
  });
});
