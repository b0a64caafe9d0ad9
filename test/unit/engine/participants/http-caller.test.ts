// Calls against real loopback services: the rules of the dtm reference §4.1, §4.2 and §4.4, and
// that targets are limited and kept apart.

import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import {
  allowAllEgress,
  type CallOutcome,
  DEFAULT_PARTICIPANTS_CONFIG,
  type EgressPolicy,
  HttpCaller,
  type ParticipantsConfig,
} from '../../../../src/engine/participants/index.ts';
import { realClock, seededRandom } from '../../../helpers/scheduler-clock.ts';
import {
  type Answer,
  branchCall,
  callOnce,
  startService,
  type TestService,
  until,
} from '../../../helpers/scheduler-http.ts';

const services: TestService[] = [];
const callers: HttpCaller[] = [];

afterEach(async () => {
  await Promise.all(callers.splice(0).map((caller) => caller.close()));
  await Promise.all(services.splice(0).map((service) => service.close()));
});

async function service(answer: Answer, port?: number): Promise<TestService> {
  const started = await startService(answer, port);
  services.push(started);
  return started;
}

function caller(over: Partial<ParticipantsConfig> = {}, egress: EgressPolicy = allowAllEgress) {
  const made = new HttpCaller(
    { clock: realClock, random: seededRandom(1), egress },
    { ...DEFAULT_PARTICIPANTS_CONFIG, userAgent: 'assent/test', ...over },
  );
  callers.push(made);
  return made;
}

const ok: Answer = (_request, response) => {
  response.end('{"dtm_result":"SUCCESS"}');
};

const like = (pattern: RegExp): unknown => expect.stringMatching(pattern);

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Answers by hand: keeps responses until the test ends them. */
function holding(): { readonly answer: Answer; readonly held: ServerResponse[] } {
  const held: ServerResponse[] = [];
  return { answer: (_request, response) => held.push(response), held };
}

describe('the request', () => {
  it('is a GET without a body when the payload is empty', async () => {
    const s = await service(ok);
    await callOnce(caller(), branchCall(`${s.origin}/act`));
    expect(s.seen[0]).toMatchObject({
      method: 'GET',
      url: '/act?branch_id=01&gid=g1&op=action&trans_type=saga',
      body: '',
    });
    expect(s.seen[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      accept: 'application/json',
      'user-agent': 'assent/test',
    });
    expect(s.seen[0]?.headers['accept-encoding']).toBeUndefined();
    expect(s.seen[0]?.headers['content-length']).toBeUndefined();
  });

  it('is a POST of the payload, and of the text null too', async () => {
    const s = await service(ok);
    const c = caller();
    await callOnce(c, branchCall(`${s.origin}/act`, { payload: encode('{"amount":30}') }));
    await callOnce(c, branchCall(`${s.origin}/act`, { payload: encode('null') }));
    expect(s.seen.map((one) => [one.method, one.body])).toEqual([
      ['POST', '{"amount":30}'],
      ['POST', 'null'],
    ]);
  });

  it('is always a POST for xa', async () => {
    const s = await service(ok);
    await callOnce(caller(), branchCall(`${s.origin}/xa`, { type: 'xa', op: 'commit' }));
    expect(s.seen[0]).toMatchObject({ method: 'POST', body: '' });
  });

  it('appends its parameters to an existing query and escapes them as a form does', async () => {
    const s = await service(ok);
    const call = branchCall(`${s.origin}/p/a?x=1&gid=mine#part`, {
      gid: "a b/ü'(*)",
      branchId: '0~1',
    });
    await callOnce(caller(), call);
    expect(s.seen[0]?.url).toBe(
      '/p/a?x=1&gid=mine&branch_id=0~1&gid=a+b%2F%C3%BC%27%28%2A%29&op=action&trans_type=saga',
    );
  });

  it('lets branch headers override its own, but not what belongs to the connection', async () => {
    const s = await service(ok);
    const headers = {
      'content-type': 'text/plain',
      ACCEPT: '*/*',
      'X-Test': 'grün',
      Host: 'evil',
      'Content-Length': '7',
      'Transfer-Encoding': 'chunked',
    };
    const outcome = await callOnce(
      caller(),
      branchCall(`${s.origin}/h`, { headers, payload: encode('{}') }),
    );
    expect(outcome.kind).toBe('success');
    const seen = s.seen[0]?.headers;
    expect(seen?.['content-type']).toBe('text/plain');
    expect(seen?.accept).toBe('*/*');
    expect(seen?.host).toBe(s.origin.slice('http://'.length));
    expect(Buffer.from(String(seen?.['x-test']), 'latin1').toString('utf8')).toBe('grün');
  });

  it('carries user information of the URL as basic credentials', async () => {
    const s = await service(ok);
    await callOnce(caller(), branchCall(s.origin.replace('http://', 'http://ann:s%20p@')));
    expect(s.seen[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('ann:s p').toString('base64')}`,
    );
  });

  it('ends unknown for an address that is no URL, has a foreign scheme, or a bad header', async () => {
    const s = await service(ok);
    const c = caller();
    const outcomes = [
      await callOnce(c, branchCall('no url')),
      await callOnce(c, branchCall('ftp://127.0.0.1/x')),
      await callOnce(c, branchCall(`${s.origin}/x`, { headers: { 'bad name': 'x' } })),
      await callOnce(c, branchCall(`${s.origin}/x`, { headers: { a: 'x\r\ny: z' } })),
    ];
    expect(outcomes.map((outcome) => outcome.kind)).toEqual(Array(4).fill('unknown'));
    expect(s.seen).toHaveLength(0);
  });

  it('goes nowhere that the egress policy forbids', async () => {
    const s = await service(ok);
    const egress: EgressPolicy = {
      allow: (url) => (url.pathname === '/no' ? 'not on the list' : undefined),
    };
    const outcome = await callOnce(caller({}, egress), branchCall(`${s.origin}/no`));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: like(/egress/) });
    expect(s.seen).toHaveLength(0);
  });
});

describe('the answer (dtm reference §4.4)', () => {
  const rows: readonly (readonly [number, string, CallOutcome['kind']])[] = [
    [200, '', 'success'],
    [200, '{"a":1}', 'success'],
    [200, 'it says FAILURE', 'failure'],
    [200, 'it says ONGOING', 'ongoing'],
    [200, 'FAILURE and ONGOING', 'ongoing'],
    [409, '', 'failure'],
    [409, 'ONGOING', 'ongoing'],
    [425, '', 'ongoing'],
    [425, 'FAILURE', 'ongoing'],
    [500, 'FAILURE', 'failure'],
    [500, 'ONGOING', 'ongoing'],
    [500, 'broken', 'unknown'],
    [201, 'created', 'unknown'],
    [202, 'accepted', 'unknown'],
    [204, '', 'unknown'],
    [404, 'nothing here', 'unknown'],
  ];
  it.each(rows)('%i with body "%s" is %s', async (status, body, kind) => {
    const s = await service((_request, response) => {
      response.statusCode = status;
      response.end(` \n${status === 204 ? '' : body}\n`);
    });
    expect(await callOnce(caller(), branchCall(s.origin))).toMatchObject({ kind, detail: body });
  });

  it('is read over many chunks and cut to the bound in its detail only', async () => {
    const s = await service((_request, response) => {
      response.write('x'.repeat(100_000));
      setImmediate(() => response.end('ONGOING'));
    });
    const outcome = await callOnce(caller(), branchCall(s.origin));
    expect(outcome.kind).toBe('ongoing');
    expect(outcome.kind === 'ongoing' && outcome.detail.length).toBe(64 * 1024);
  });

  it('is unknown when it is larger than the bound', async () => {
    const s = await service((_request, response) => {
      response.on('error', () => undefined);
      response.end(Buffer.alloc(1024 * 1024 + 1, 'x'));
    });
    const outcome = await callOnce(caller(), branchCall(s.origin));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: like(/too large/) });
  });

  it('is unknown when the connection breaks before it is complete', async () => {
    const s = await service((_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('SUCC');
      setImmediate(() => response.destroy());
    });
    expect((await callOnce(caller(), branchCall(s.origin))).kind).toBe('unknown');
  });

  it('is unknown when nobody listens', async () => {
    const s = await startService(ok);
    await s.close();
    const outcome = await callOnce(caller(), branchCall(s.origin));
    expect(outcome).toMatchObject({
      kind: 'unknown',
      detail: like(/ECONNREFUSED/),
    });
  });
});

describe('redirects', () => {
  const redirecting =
    (status: number, location: string): Answer =>
    (request, response) => {
      if (request.url.startsWith('/from')) {
        response.writeHead(status, { location });
      }
      response.end('done');
    };

  it.each([301, 302, 303])('%i turns a POST into a GET without a body', async (status) => {
    const s = await service(redirecting(status, '/to?z=1'));
    const outcome = await callOnce(
      caller(),
      branchCall(`${s.origin}/from`, { payload: encode('{}') }),
    );
    expect(outcome).toMatchObject({ kind: 'success', detail: 'done' });
    expect(s.seen[1]).toMatchObject({ method: 'GET', url: '/to?z=1', body: '' });
  });

  it.each([307, 308])('%i repeats method and body', async (status) => {
    const s = await service(redirecting(status, '/to'));
    await callOnce(caller(), branchCall(`${s.origin}/from`, { payload: encode('{"a":1}') }));
    expect(s.seen[1]).toMatchObject({ method: 'POST', url: '/to', body: '{"a":1}' });
  });

  it('end after ten, unknown', async () => {
    const s = await service(redirecting(302, '/from'));
    const outcome = await callOnce(caller(), branchCall(`${s.origin}/from`));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: 'stopped after 10 redirects' });
    expect(s.seen).toHaveLength(11);
  });

  it('without an address are read as the answer', async () => {
    const s = await service((_request, response) => {
      response.statusCode = 302;
      response.end('FAILURE');
    });
    expect((await callOnce(caller(), branchCall(s.origin))).kind).toBe('failure');
  });

  it('are asked of the egress policy, and leave credentials behind on another host', async () => {
    const other = await service(ok);
    const location = other.origin.replace('127.0.0.1', 'localhost');
    const s = await service(redirecting(302, location));
    const egress: EgressPolicy = {
      allow: (url) => (url.hostname === 'localhost' ? 'not there' : undefined),
    };
    const call = branchCall(`${s.origin}/from`, { headers: { Authorization: 'Bearer x' } });
    expect(await callOnce(caller({}, egress), call)).toMatchObject({
      kind: 'unknown',
      detail: like(/egress/),
    });
    expect((await callOnce(caller(), call)).kind).toBe('success');
    expect(other.seen[0]?.headers.authorization).toBeUndefined();
  });

  it('are not followed once the lease has ended, and the outcome stays unknown', async () => {
    let lease = true;
    const s = await service((request, response) => {
      lease = false;
      redirecting(302, '/to')(request, response);
    });
    const outcome = await callOnce(caller(), branchCall(`${s.origin}/from`), () => lease);
    expect(outcome.kind).toBe('unknown');
    expect(s.seen).toHaveLength(1);
  });
});

describe('limits', () => {
  it('a call ends unknown at its deadline, and its connection is freed', async () => {
    const { answer, held } = holding();
    const s = await service(answer);
    const c = caller({ connectionsPerTargetMax: 1 });
    const startMs = performance.now();
    const outcome = await callOnce(c, branchCall(s.origin, { timeoutMs: 60 }));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: 'timeout after 60 ms' });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(59);
    await until(() => held[0]?.destroyed === true);
    expect(c.targets()).toEqual([]);
    // The only connection serves the next call.
    const next = await callOnce(c, branchCall(s.origin, { timeoutMs: 60 }));
    expect(next.kind).toBe('unknown');
    expect(s.seen).toHaveLength(2);
  });

  it('a slow body ends at the same deadline', async () => {
    const s = await service((_request, response) => {
      response.write('part');
    });
    const outcome = await callOnce(caller(), branchCall(s.origin, { timeoutMs: 50 }));
    expect(outcome).toMatchObject({ kind: 'unknown', detail: 'timeout after 50 ms' });
  });

  it('a hung target delays no other target', async () => {
    const hung = await service(holding().answer);
    const quick = await service(ok);
    const c = caller({ connectionsPerTargetMax: 2 });
    const waiting = Array.from({ length: 10 }, () =>
      callOnce(c, branchCall(hung.origin, { timeoutMs: 150 })),
    );
    const done = await Promise.all(
      Array.from({ length: 20 }, () => callOnce(c, branchCall(quick.origin))),
    );
    expect(done.every((outcome) => outcome.kind === 'success')).toBe(true);
    expect(hung.seen.length).toBeLessThanOrEqual(2);
    expect(c.targets()).toMatchObject([{ target: hung.origin, inflight: 2, queued: 8 }]);
    await Promise.all(waiting);
  });

  it('never has more requests in flight than connections, and serves its queue in order', async () => {
    const { answer, held } = holding();
    const s = await service(answer);
    const c = caller({ connectionsPerTargetMax: 3 });
    const calls = Array.from({ length: 9 }, (_, i) => callOnce(c, branchCall(`${s.origin}/${i}`)));
    for (let ended = 0; ended < 9; ended += 1) {
      await until(() => held.length >= Math.min(9, ended + 3));
      expect(held.length).toBe(Math.min(9, ended + 3));
      held[ended]?.end('ok');
    }
    await Promise.all(calls);
    expect(s.seen.slice(3).map((one) => one.url.slice(1, 2))).toEqual([
      '3',
      '4',
      '5',
      '6',
      '7',
      '8',
    ]);
  });

  it('refuses what its bounded queue cannot hold, and sends nothing for it', async () => {
    const { answer, held } = holding();
    const s = await service(answer);
    const c = caller({ connectionsPerTargetMax: 1, queuePerTargetMax: 2 });
    const calls = Array.from({ length: 4 }, () => callOnce(c, branchCall(s.origin)));
    expect(await calls[3]).toEqual({ kind: 'notSent', reason: 'queueFull' });
    for (let i = 0; i < 3; i += 1) {
      await until(() => held.length > i);
      held[i]?.end('ok');
    }
    await Promise.all(calls);
    expect(s.seen).toHaveLength(3);
  });

  it('bounds the sum of all queues', async () => {
    const a = await service(holding().answer);
    const b = await service(holding().answer);
    const c = caller({ connectionsPerTargetMax: 1, queueTotalMax: 2 });
    const calls = [a, a, b, b].map((s) => callOnce(c, branchCall(s.origin, { timeoutMs: 100 })));
    expect(await callOnce(c, branchCall(b.origin))).toMatchObject({ reason: 'queueFull' });
    await Promise.all(calls);
  });

  it('asks the lease when a request leaves the queue, and sends nothing without it', async () => {
    const { answer, held } = holding();
    const s = await service(answer);
    const c = caller({ connectionsPerTargetMax: 1 });
    let lease = true;
    const first = callOnce(c, branchCall(s.origin), () => lease);
    const second = callOnce(c, branchCall(s.origin), () => lease);
    await until(() => held.length === 1);
    lease = false;
    held[0]?.end('ok');
    expect((await first).kind).toBe('success');
    expect(await second).toEqual({ kind: 'notSent', reason: 'lease' });
    expect(s.seen).toHaveLength(1);
  });

  it('asks the lease again when the connection stands', async () => {
    const s = await service(ok);
    const asked: boolean[] = [];
    const outcome = await callOnce(caller(), branchCall(s.origin), () => {
      asked.push(true);
      return asked.length < 2;
    });
    expect(outcome).toEqual({ kind: 'notSent', reason: 'lease' });
    expect(s.seen).toHaveLength(0);
  });

  it('forgets the least recently used idle target, never a busy one', async () => {
    const { answer, held } = holding();
    const busy = await service(answer);
    const quick = [await service(ok), await service(ok), await service(ok)];
    const c = caller({ targetsMax: 2 });
    const waiting = callOnce(c, branchCall(busy.origin));
    for (const s of quick) {
      expect((await callOnce(c, branchCall(s.origin))).kind).toBe('success');
    }
    await until(() => quick[0]?.connectionCount() === 0);
    held[0]?.end('ok');
    expect((await waiting).kind).toBe('success');
  });

  it('never answers inside call, and answers stopped after close', async () => {
    const c = caller();
    await c.close();
    let answered = false;
    const outcome = new Promise<CallOutcome>((resolve) => {
      c.call(
        branchCall('http://127.0.0.1:1'),
        () => true,
        (done) => {
          answered = true;
          resolve(done);
        },
      );
    });
    expect(answered).toBe(false);
    expect(await outcome).toEqual({ kind: 'notSent', reason: 'stopped' });
  });
});

describe('the circuit of a target', () => {
  it('opens after consecutive failures to connect, probes, and closes when the service is back', async () => {
    const gone = await startService(ok);
    await gone.close();
    const limits = { circuitFailuresMax: 3, circuitDelayMsMin: 60, circuitDelayMsMax: 100 };
    const c = caller(limits);
    for (let i = 0; i < 3; i += 1) {
      expect((await callOnce(c, branchCall(gone.origin))).kind).toBe('unknown');
    }
    const refused = await callOnce(c, branchCall(gone.origin));
    expect(refused).toMatchObject({ kind: 'notSent', reason: 'circuitOpen' });
    expect(c.targets()).toMatchObject([{ target: gone.origin, circuit: 'open' }]);

    const retryAtMs = c.targets()[0]?.retryAtMs ?? 0;
    await until(() => performance.now() >= retryAtMs);
    const [probe, beside] = await Promise.all([
      callOnce(c, branchCall(gone.origin)),
      callOnce(c, branchCall(gone.origin)),
    ]);
    expect(probe.kind).toBe('unknown');
    expect(beside).toMatchObject({ kind: 'notSent', reason: 'circuitOpen' });

    const back = await service(ok, gone.port);
    const againMs = c.targets()[0]?.retryAtMs ?? 0;
    await until(() => performance.now() >= againMs);
    expect((await callOnce(c, branchCall(back.origin))).kind).toBe('success');
    expect(c.targets()).toEqual([]);
  });

  it('stays closed for a service that answers badly or not at all', async () => {
    const bad = await service((_request, response) => {
      response.statusCode = 500;
      response.end();
    });
    const hung = await service(holding().answer);
    const c = caller({ circuitFailuresMax: 2 });
    for (let i = 0; i < 4; i += 1) {
      await callOnce(c, branchCall(bad.origin));
      await callOnce(c, branchCall(hung.origin, { timeoutMs: 20 }));
    }
    expect(bad.seen).toHaveLength(4);
    expect(hung.seen).toHaveLength(4);
  });

  it('empties the queue when it opens', async () => {
    const gone = await startService(ok);
    await gone.close();
    const c = caller({ connectionsPerTargetMax: 1, circuitFailuresMax: 2 });
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, () => callOnce(c, branchCall(gone.origin))),
    );
    expect(outcomes.map((outcome) => outcome.kind)).toEqual([
      'unknown',
      'unknown',
      'notSent',
      'notSent',
      'notSent',
    ]);
  });
});
