// What the patterns send, against dtm's own description of its wire (dtm reference §1.3, §10.4).

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { branchFromQuery, DtmClient, FailureError } from '../../../src/client/index.ts';
import { type FakeServer, refusal, SUCCESS, startServer, stopServers } from './lib/fake-dtm.ts';

let dtm: FakeServer;
let service: FakeServer;
let client: DtmClient;
let hidden: string[];

beforeEach(async () => {
  dtm = await startServer();
  service = await startServer();
  hidden = [];
  client = new DtmClient({
    endpoints: [dtm.url],
    totalTimeoutMs: 500,
    onHiddenError: (_, doing) => hidden.push(doing),
  });
});
afterEach(stopServers);

describe('saga', () => {
  it('is one submit with steps, payloads and options', async () => {
    await client
      .saga({
        gid: 'pay-7',
        concurrent: true,
        waitResult: true,
        timeoutToFailSeconds: 60,
        requestTimeoutSeconds: 5,
        retryIntervalSeconds: 10,
        retryLimit: 3,
        branchHeaders: { 'x-tenant': '7' },
      })
      .add({ action: 'http://a/out', compensate: 'http://a/undo', payload: { amount: 30 } })
      .add({ action: 'http://b/in', payload: new TextEncoder().encode('raw') })
      .runAfter(1, [0])
      .submit();
    expect(dtm.one('submit').body).toEqual({
      gid: 'pay-7',
      trans_type: 'saga',
      steps: [
        { action: 'http://a/out', compensate: 'http://a/undo' },
        { action: 'http://b/in', compensate: '' },
      ],
      payloads: ['{"amount":30}', 'raw'],
      custom_data: '{"concurrent":true,"orders":{"1":[0]}}',
      concurrent: true,
      protocol: 'http',
      wait_result: true,
      timeout_to_fail: 60,
      request_timeout: 5,
      retry_interval: 10,
      retry_limit: 3,
      branch_headers: { 'x-tenant': '7' },
    });
  });

  it('sends no key for what is not set, and null as payload where there is none', async () => {
    await client.saga({ gid: 'g' }).add({ action: 'http://a/x' }).submit();
    expect(dtm.one('submit').body).toEqual({
      gid: 'g',
      trans_type: 'saga',
      steps: [{ action: 'http://a/x', compensate: '' }],
      payloads: ['null'],
      concurrent: false,
      protocol: 'http',
    });
  });

  it('has a gid of 22 characters of its own, before any server was asked', () => {
    expect(client.saga().gid).toMatch(/^[23456789A-HJ-NP-Za-km-z]{22}$/);
  });

  it('refuses gids that the server would change, and payloads that HTTP would damage', async () => {
    expect(() => client.saga({ gid: 'a;b' })).toThrow('semicolons');
    const saga = client.saga().add({ action: 'x', payload: Uint8Array.of(0xff) });
    await expect(saga.submit()).rejects.toThrow('not UTF-8');
    await expect(client.saga().submit()).rejects.toThrow('at least one step');
  });

  it('tells a waiting caller of a refusal that the outcome is unknown', async () => {
    dtm.respond = ({ route }) =>
      route === 'query' ? { body: { transaction: { status: 'submitted' } } } : refusal('not yet:');
    const saga = client.saga({ waitResult: true }).add({ action: 'http://a/x' });
    await expect(saga.submit()).rejects.toMatchObject({ code: 'REFUSED', outcome: 'unknown' });
  });
});

describe('tcc', () => {
  const branch = (name: string) => ({
    try: `${service.url}/try-${name}`,
    confirm: `http://svc/confirm-${name}`,
    cancel: `http://svc/cancel-${name}`,
    payload: { name },
  });

  it('prepares, registers each branch before it tries it, and submits', async () => {
    const order: string[] = [];
    dtm.respond = ({ route }) => {
      order.push(route);
      return SUCCESS;
    };
    service.respond = ({ route }) => {
      order.push(route);
      return { body: { held: 30 } };
    };
    const held = await client.tcc(
      async (tcc) => {
        await tcc.callBranch(branch('a'));
        return (await tcc.callBranch(branch('b'))).json();
      },
      { gid: 't1' },
    );
    expect(held).toEqual({ held: 30 });
    expect(order).toEqual([
      'prepare',
      ...['registerBranch', '/try-a', 'registerBranch', '/try-b'],
      'submit',
    ]);
    expect(dtm.received[1]?.body).toEqual({
      gid: 't1',
      trans_type: 'tcc',
      branch_id: '01',
      confirm: 'http://svc/confirm-a',
      cancel: 'http://svc/cancel-a',
      data: '{"name":"a"}',
    });
    const tried = service.one('/try-b');
    expect(tried.method).toBe('POST');
    expect(tried.text).toBe('{"name":"b"}');
    expect(Object.fromEntries(tried.query)).toEqual({
      dtm: `${dtm.url}/api/dtmsvr`,
      gid: 't1',
      trans_type: 'tcc',
      branch_id: '02',
      op: 'try',
    });
  });

  it.each([
    ['the status 409', { status: 409, body: 'no stock' }],
    ['the word of old services', { status: 200, body: '{"dtm_result":"FAILURE"}' }],
  ])('aborts with the reason when a try fails by %s', async (_, reply) => {
    service.respond = () => reply;
    const run = client.tcc((tcc) => tcc.callBranch(branch('a')), { gid: 't2' });
    await expect(run).rejects.toBeInstanceOf(FailureError);
    expect(dtm.routes).toEqual(['prepare', 'registerBranch', 'abort']);
    expect(dtm.one('abort').body['rollback_reason']).toBe(reply.body);
  });

  it('aborts when a try gives no result', async () => {
    service.respond = () => ({ drop: true });
    await expect(client.tcc((tcc) => tcc.callBranch(branch('a')))).rejects.toMatchObject({
      code: 'BRANCH',
      outcome: 'unknown',
    });
    expect(dtm.routes.at(-1)).toBe('abort');
  });

  it('never aborts after a submit whose outcome is unknown', async () => {
    dtm.respond = ({ route }) => (route === 'submit' ? { drop: true } : SUCCESS);
    await expect(client.tcc(async () => 'done')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
    });
    expect(dtm.routes).not.toContain('abort');
  });

  it('throws the error of the branch, and tells of the one of the abort', async () => {
    dtm.respond = ({ route }) => (route === 'abort' ? { status: 500 } : SUCCESS);
    const run = client.tcc(
      async () => {
        throw new FailureError('no stock');
      },
      { gid: 't3' },
    );
    await expect(run).rejects.toThrow('no stock');
    expect(hidden).toEqual(['abort of t3']);
  });

  it('registers nested branches under their parent, where the initiator reached the server', async () => {
    const other = await startServer();
    const query = `?gid=t4&trans_type=tcc&branch_id=02&op=try&dtm=${other.url}/api/dtmsvr`;
    const tcc = client.tccWithin(branchFromQuery(query));
    await tcc.callBranch(branch('a'));
    expect(other.one('registerBranch').body['branch_id']).toBe('0201');
    expect(dtm.received).toEqual([]);
    expect(service.one('/try-a').query.get('dtm')).toBe(`${other.url}/api/dtmsvr`);
  });
});

describe('headers for branches', () => {
  it('take the place of ours, in whatever case they are written', async () => {
    const branchHeaders = { 'Content-Type': 'application/xml' };
    const call = { try: `${service.url}/try`, confirm: '', cancel: '' };
    await client.tcc((tcc) => tcc.callBranch(call), { gid: 't6', branchHeaders });
    expect(service.one('/try').headers['content-type']).toBe('application/xml');
  });
});

describe('headers for the coordinator', () => {
  it('go to its own endpoints, and to no other that the request for a branch names', async () => {
    const other = await startServer();
    const headers = { authorization: 'secret' };
    const own = new DtmClient({ endpoints: [dtm.url], headers });
    const within = (address: string) =>
      own.tccWithin(
        branchFromQuery(`?gid=t5&trans_type=tcc&branch_id=02&op=try&dtm=${address}/api/dtmsvr`),
      );
    const branch = { try: '', confirm: '', cancel: '' };
    await within(other.url).callBranch(branch);
    expect(other.one('registerBranch').headers['authorization']).toBeUndefined();
    await within(dtm.url).callBranch(branch);
    expect(dtm.one('registerBranch').headers['authorization']).toBe('secret');
  });
});

describe('xa', () => {
  it('tells the branch where its second phase is called', async () => {
    const url = `${service.url}/xa?tenant=7`;
    await client.xa((xa) => xa.callBranch({ url, payload: 1 }), { gid: 'x1' });
    expect(dtm.routes).toEqual(['prepare', 'submit']);
    expect(Object.fromEntries(service.one('/xa').query)).toEqual({
      tenant: '7',
      dtm: `${dtm.url}/api/dtmsvr`,
      gid: 'x1',
      trans_type: 'xa',
      branch_id: '01',
      op: 'action',
      phase2_url: url,
    });
  });

  it('registers the branch between the business and the prepare', async () => {
    const order: string[] = [];
    dtm.respond = ({ route }) => {
      order.push(route);
      return SUCCESS;
    };
    const resource = {
      prepare: async <T>(_: unknown, business: (connection: string) => Promise<T>) => {
        const value = await business('connection');
        order.push('prepared');
        return value;
      },
      finish: async (_: unknown, decision: string) => void order.push(decision),
    };
    const query = '?gid=x2&trans_type=xa&branch_id=01&phase2_url=http://s/xa';
    const business = async () => void order.push('business');
    for (const op of ['action', 'commit', 'rollback']) {
      await client.xaLocal(branchFromQuery(`${query}&op=${op}`), resource, business);
    }
    expect(order).toEqual(['business', 'registerBranch', 'prepared', 'commit', 'rollback']);
    expect(dtm.one('registerBranch').body).toEqual({
      gid: 'x2',
      trans_type: 'xa',
      branch_id: '01',
      url: 'http://s/xa',
    });
  });
});

describe('msg', () => {
  const message = () =>
    client
      .msg({ gid: 'm1', delaySeconds: 10 })
      .add({ action: 'http://s/mail', payload: { to: 'x' } });
  const checkBack = () => `${service.url}/check`;

  it('prepares, commits locally, and submits', async () => {
    const order: string[] = [];
    dtm.respond = ({ route }) => {
      order.push(route);
      return SUCCESS;
    };
    await message()
      .addTopic('orders', 7)
      .doAndSubmit(checkBack(), async (branch) => {
        order.push(`${branch.branchId} ${branch.op}`);
      });
    expect(order).toEqual(['prepare', '00 msg', 'submit']);
    expect(dtm.one('submit').body).toEqual({
      gid: 'm1',
      trans_type: 'msg',
      steps: [{ action: 'http://s/mail' }, { action: 'topic://orders' }],
      payloads: ['{"to":"x"}', '7'],
      query_prepared: checkBack(),
      custom_data: '{"delay":10}',
      concurrent: false,
      protocol: 'http',
    });
  });

  it('aborts, and throws, when the business fails', async () => {
    const business = async () => {
      throw new FailureError('poor');
    };
    await expect(message().doAndSubmit(checkBack(), business)).rejects.toThrow('poor');
    expect(dtm.routes).toEqual(['prepare', 'abort']);
    expect(service.received).toEqual([]);
  });

  it.each([
    ['submits when the check-back knows of a commit', SUCCESS, ['prepare', 'submit']],
    ['aborts when the check-back knows of none', refusal('x'), ['prepare', 'abort']],
    ['leaves it when the check-back does not know', { status: 500 }, ['prepare']],
    ['leaves it while the business goes on', { status: 425 }, ['prepare']],
  ])('after an unclear error %s', async (_, reply, routes) => {
    service.respond = () => reply;
    const business = async () => {
      throw new Error('connection lost at commit');
    };
    await expect(message().doAndSubmit(checkBack(), business)).rejects.toThrow('connection lost');
    expect(dtm.routes).toEqual(routes);
    const asked = service.one('/check');
    expect(asked.method).toBe('GET');
    expect(Object.fromEntries(asked.query)).toEqual({
      dtm: `${dtm.url}/api/dtmsvr`,
      gid: 'm1',
      trans_type: 'msg',
      branch_id: '00',
      op: 'msg',
    });
  });

  it('runs no business when the prepare is refused', async () => {
    dtm.respond = () => refusal("current status 'succeed', cannot prepare.");
    let ran = false;
    const run = message().doAndSubmit(checkBack(), async () => {
      ran = true;
    });
    await expect(run).rejects.toMatchObject({ code: 'REFUSED', outcome: 'none' });
    expect(ran).toBe(false);
  });
});

describe('topics', () => {
  it('are subscribed and unsubscribed by GET, deleted by DELETE', async () => {
    await client.subscribe({ topic: 'a b', url: 'http://s/o?x=1', remark: 'r' });
    await client.unsubscribe({ topic: 'a b', url: 'http://s/o?x=1' });
    await client.deleteTopic('a b');
    expect(dtm.received.map(({ method, route }) => `${method} ${route}`)).toEqual([
      'GET subscribe',
      'GET unsubscribe',
      'DELETE topic/a%20b',
    ]);
    expect(Object.fromEntries(dtm.one('subscribe').query)).toEqual({
      topic: 'a b',
      url: 'http://s/o?x=1',
      remark: 'r',
    });
  });
});
