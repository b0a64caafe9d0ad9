// The wire, statement by statement; numbers are those of the dtm protocol reference.

import { describe, expect, it } from 'vitest';
import { applied, configWith, saga, testApi, transaction } from '../fakes.ts';

const OK = '{"dtm_result":"SUCCESS"}';

describe('replies of routes (reference §1.2, §1.4)', () => {
  it('newGid answers SUCCESS and a gid of 22 characters of base 57', async () => {
    const reply = await testApi({ open: false }).get('/api/dtmsvr/newGid');
    expect(reply.status).toBe(200);
    expect(reply.text).toMatch(/^\{"dtm_result":"SUCCESS","gid":"[2-9A-HJ-NP-Za-km-z]{22}"\}$/);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
  });

  it('version is answered while the node starts', async () => {
    const reply = await testApi({ open: false }).get('/api/dtmsvr/version');
    expect(reply.text).toBe('{"version":"v0.1.0"}');
  });

  it.each(['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'] as const)(
    '11.31: ping answers any method: %s',
    async (method) => {
      const { api } = testApi();
      const reply = await api.app.inject({ method, url: '/api/ping' });
      expect(reply.statusCode).toBe(200);
      if (method !== 'HEAD') expect(reply.body).toBe('{"msg":"pong"}');
    },
  );

  it.each(['prepare', 'submit', 'abort', 'forceStop', 'resetNextCronTime'])(
    '%s answers exactly SUCCESS',
    async (name) => {
      const reply = await testApi().post(name, saga());
      expect(reply).toMatchObject({ status: 200, text: OK });
      expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    },
  );

  it('a failure of the log is 409 with the text, which ends in the word once', async () => {
    const { coordinator, post } = testApi();
    const message = "current status 'succeed', cannot sumbmit. FAILURE";
    coordinator.outcome = applied({ kind: 'failure', message });
    expect(await post('submit', saga())).toMatchObject({
      status: 409,
      text: JSON.stringify({ dtm_result: 'FAILURE', message }),
    });
  });

  it('11.5: another error is 500 with nothing but a message', async () => {
    const { coordinator, post } = testApi();
    coordinator.outcome = applied({ kind: 'error', message: 'no TransGlobal with gid: X found' });
    expect(await post('abort', { gid: 'X', trans_type: 'tcc' })).toMatchObject({
      status: 500,
      text: '{"message":"no TransGlobal with gid: X found"}',
    });
  });

  it('12.37: the doors are open by default: no credentials, also for what changes state', async () => {
    const { api, coordinator } = testApi();
    for (const [method, url] of [
      ['GET', '/api/dtmsvr/newGid'],
      ['GET', '/api/dtmsvr/subscribe?topic=t&url=http://s/a'],
      ['GET', '/api/dtmsvr/resetCronTime'],
      ['DELETE', '/api/dtmsvr/topic/t'],
      ['GET', '/api/metrics'],
    ] as const) {
      expect([url, (await api.app.inject({ method, url })).statusCode]).toEqual([url, 200]);
    }
    expect(coordinator.requests).not.toEqual([]);
    const { participants } = configWith();
    expect(participants.grpcTls).toBe(false);
    expect(configWith({ 'participants.grpcTls': 'true' }).participants.grpcTls).toBe(true);
  });

  it('11.31: an unknown route and a wrong method are 404 in plain text, never 405', async () => {
    const { api } = testApi();
    for (const [method, url] of [
      ['GET', '/api/dtmsvr/nothing'],
      ['GET', '/api/dtmsvr/submit'],
      ['POST', '/api/dtmsvr/newGid'],
      ['HEAD', '/api/dtmsvr/newGid'],
      ['DELETE', '/api/dtmsvr/query'],
      ['GET', '/api/dtmsvr/registerBranch'],
      ['GET', '/api/dtmsvr/topic/a'],
      ['GET', '/api/json-rpc'],
      ['GET', '/api/dtmsvr/NEWGID'],
    ] as const) {
      const reply = await api.app.inject({ method, url });
      expect([url, reply.statusCode]).toEqual([url, 404]);
      expect(reply.headers['content-type']).toMatch(/^text\/plain/);
      if (method !== 'HEAD') expect(reply.body).toBe('404 page not found');
    }
  });

  it('a trailing slash is redirected: GET 301, others 307, and only to routes', async () => {
    const { api } = testApi();
    const get = await api.app.inject({ method: 'GET', url: '/api/dtmsvr/query/?gid=a' });
    expect([get.statusCode, get.headers.location]).toEqual([301, '/api/dtmsvr/query?gid=a']);
    const post = await api.app.inject({
      method: 'POST',
      url: '/api/dtmsvr/submit/',
      payload: '{}',
    });
    expect([post.statusCode, post.headers.location]).toEqual([307, '/api/dtmsvr/submit']);
    const named = await api.app.inject({ method: 'DELETE', url: '/api/dtmsvr/topic/a%20b/?x=1' });
    expect([named.statusCode, named.headers.location]).toEqual([
      307,
      '/api/dtmsvr/topic/a%20b?x=1',
    ]);
    for (const url of ['/api/dtmsvr/topic/a/b/', '/api/dtmsvr/topic/a//']) {
      expect((await api.app.inject({ method: 'DELETE', url })).statusCode).toBe(404);
    }
    expect((await api.app.inject({ method: 'GET', url: '//evil.example/' })).statusCode).toBe(404);
  });

  it('the content type of a request is ignored', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense', '']) {
      const { post, coordinator } = testApi();
      expect((await post('submit', saga(), { 'content-type': type })).status).toBe(200);
      expect(coordinator.requests).toHaveLength(1);
    }
  });
});

describe('wait_result of a saga (reference §5.4)', () => {
  const waiting = saga({ wait_result: true });

  it('is not waited for without wait_result', async () => {
    const { coordinator, post } = testApi();
    await post('submit', saga());
    expect(coordinator.waits).toEqual([]);
  });

  it('everything done is 200', async () => {
    const { coordinator, post } = testApi();
    coordinator.wait = { kind: 'final', transaction: transaction() };
    expect(await post('submit', waiting)).toMatchObject({ status: 200, text: OK });
    expect(coordinator.waits).toEqual(['pay-7']);
  });

  it('11.9: not finished is 409, though it is not rolled back', async () => {
    const { coordinator, post } = testApi();
    const running = transaction({ status: 'submitted', finishTimeMs: undefined });
    coordinator.wait = { kind: 'notFinished', transaction: running };
    expect(await post('submit', waiting)).toMatchObject({
      status: 409,
      text: '{"dtm_result":"FAILURE","message":"wait result not return success: FAILURE"}',
    });
  });

  it('11.38: a failed branch is 409 with the reason, FAILURE added once', async () => {
    for (const [reason, message] of [
      [
        'url:http://b/in return failed: no stock FAILURE',
        'url:http://b/in return failed: no stock FAILURE',
      ],
      ['Timeout after 3 seconds', 'Timeout after 3 seconds FAILURE'],
    ] as const) {
      for (const status of ['failed', 'aborting'] as const) {
        const { coordinator, post } = testApi();
        const ended = transaction({ status, rollbackReason: reason });
        coordinator.wait = {
          kind: status === 'failed' ? 'final' : 'notFinished',
          transaction: ended,
        };
        const reply = await post('submit', waiting);
        expect(reply).toMatchObject({ status: 409, json: { dtm_result: 'FAILURE', message } });
      }
    }
  });

  it('a leader that was missing meanwhile is 504 unknown, never 409', async () => {
    const { coordinator, post } = testApi();
    coordinator.wait = { kind: 'unknown', message: 'no leader for 3 s' };
    expect(await post('submit', waiting)).toMatchObject({
      status: 504,
      json: { code: 'OUTCOME_UNKNOWN', gid: 'pay-7' },
    });
  });

  it('11.7: submit waits by the request, abort by the stored options', async () => {
    const { coordinator, post } = testApi();
    coordinator.outcome = applied({ waitResult: true });
    await post('submit', saga());
    expect(coordinator.waits).toEqual([]);
    coordinator.wait = { kind: 'final', transaction: transaction({ status: 'failed' }) };
    expect((await post('abort', { gid: 'pay-7', trans_type: 'tcc' })).status).toBe(200);
    expect(coordinator.waits).toEqual(['pay-7']);
    coordinator.wait = { kind: 'notFinished', transaction: transaction({ status: 'aborting' }) };
    expect(await post('abort', { gid: 'pay-7', trans_type: 'tcc' })).toMatchObject({
      status: 425,
      text: '{"dtm_result":"ONGOING","message":"ONGOING"}',
    });
  });
});

describe('P7: conditions of the cluster never look like business results', () => {
  it.each([
    'NO_LEADER',
    'OVERLOADED',
    'NO_SPACE',
    'DRAINING',
    'STARTING',
    'RECOVERING',
    'READ_TIMEOUT',
  ] as const)('%s is 503 with Retry-After', async (code) => {
    const { coordinator, post } = testApi();
    coordinator.outcome = { kind: 'refused', code, message: 'not now', retryAfterMs: 1_400 };
    const reply = await post('submit', saga());
    expect(reply).toMatchObject({ status: 503, json: { code, message: 'not now' } });
    expect(reply.headers['retry-after']).toBe('2');
  });

  it('an unknown outcome is 504 with code and gid, even when the gid holds a reserved word', async () => {
    const { coordinator, post } = testApi();
    coordinator.outcome = { kind: 'unknown', message: 'the leader did not answer' };
    const reply = await post('submit', saga({ gid: 'FAILURE-ONGOING' }));
    expect(reply).toMatchObject({
      status: 504,
      json: { code: 'OUTCOME_UNKNOWN', gid: 'FAILURE-ONGOING' },
    });
    expect(Object.keys(reply.json)).toEqual(['code', 'gid', 'message']);
    expect(reply.text).not.toMatch(/FAILURE|ONGOING/);
  });

  it('while the node starts, requests are 503, and probes say why', async () => {
    const { get, post } = testApi({ open: false });
    expect(await post('submit', saga())).toMatchObject({ status: 503, json: { code: 'STARTING' } });
    expect((await get('/api/ping')).status).toBe(200);
  });

  it('a defect is 500 without details for the client, and logged', async () => {
    const { coordinator, post, log } = testApi();
    coordinator.outcome = async () => {
      throw new TypeError('secret');
    };
    const reply = await post('submit', saga());
    expect(reply).toMatchObject({ status: 500, json: { code: 'INTERNAL' } });
    expect(reply.text).not.toContain('secret');
    expect(log.records).toMatchObject([{ level: 'error', message: 'a route failed' }]);
  });

  it('above the bound requests are refused and the rest have room again', async () => {
    const { coordinator, post } = testApi({ flags: { 'api.inflightRequestsMax': '2' } });
    const release: (() => void)[] = [];
    coordinator.outcome = () => new Promise((resolve) => release.push(() => resolve(applied({}))));
    const held = [post('submit', saga()), post('submit', saga())];
    while (release.length < 2) await new Promise(setImmediate);
    const refused = await post('submit', saga());
    expect(refused).toMatchObject({ status: 503, json: { code: 'OVERLOADED' } });
    expect(refused.headers['retry-after']).toBe('1');
    // What ends running work has a tenth more room.
    const progress = post('forceStop', { gid: 'a' });
    while (release.length < 3) await new Promise(setImmediate);
    expect((await post('forceStop', { gid: 'b' })).status).toBe(503);
    for (const run of release) run();
    for (const reply of await Promise.all([...held, progress])) expect(reply.status).toBe(200);
    coordinator.outcome = applied();
    expect((await post('submit', saga())).status).toBe(200);
  });
});

describe('query', () => {
  it('11.5: a missing gid is 500, an unknown one 200 with null', async () => {
    const { get } = testApi();
    expect(await get('/api/dtmsvr/query')).toMatchObject({
      status: 500,
      text: '{"message":"no gid specified"}',
    });
    expect(await get('/api/dtmsvr/query?gid=X')).toMatchObject({
      status: 200,
      text: '{"branches":[],"transaction":null}',
    });
  });

  it('11.27, 11.40: a found transaction is shown exactly as dtm shows it (reference §1.5, example)', async () => {
    const { coordinator, get } = testApi();
    coordinator.stored = { kind: 'value', value: transaction() };
    const reply = await get('/api/dtmsvr/query?gid=pay-7');
    expect(reply.text).toBe(
      '{"branches":[' +
        '{"id":0,"create_time":"2026-01-05T10:00:01.74+08:00","update_time":"2026-01-05T10:00:01.74+08:00","gid":"pay-7","url":"http://a/outUndo","bin_data":"eyJhbW91bnQiOjMwfQ==","branch_id":"01","op":"compensate","status":"prepared"},' +
        '{"id":0,"create_time":"2026-01-05T10:00:01.74+08:00","update_time":"2026-01-05T10:00:01.75+08:00","gid":"pay-7","url":"http://a/out","bin_data":"eyJhbW91bnQiOjMwfQ==","branch_id":"01","op":"action","status":"succeed","finish_time":"2026-01-05T10:00:01.75+08:00"}],' +
        '"transaction":{"id":0,"create_time":"2026-01-05T10:00:01.74+08:00","update_time":"2026-01-05T10:00:01.75+08:00","gid":"pay-7","trans_type":"saga",' +
        '"steps":[{"action":"http://a/out","compensate":"http://a/outUndo"}],"payloads":["{\\"amount\\":30}"],"status":"succeed","protocol":"http",' +
        '"finish_time":"2026-01-05T10:00:01.75+08:00","options":"{\\"concurrent\\":false}","next_cron_interval":10,"next_cron_time":"2026-01-05T10:00:11.74+08:00","concurrent":false}}',
    );
  });

  it('11.26: options appear only when given, as text and flattened; <, > and & are escaped', async () => {
    const { coordinator, get } = testApi();
    const base = transaction({
      status: 'failed',
      rollbackReason: '<b>&</b>',
      rollbackTimeMs: 1_000,
      finishTimeMs: undefined,
      dueMs: undefined,
    });
    const options = {
      ...base.definition.options,
      waitResult: true,
      timeoutToFailS: 60,
      branchHeaders: { b: '2', a: '<1>' },
    };
    coordinator.stored = {
      kind: 'value',
      value: { ...base, definition: { ...base.definition, options } },
    };
    const { text, json } = await get('/api/dtmsvr/query?gid=pay-7');
    expect(text).toContain('"rollback_reason":"\\u003cb\\u003e\\u0026\\u003c/b\\u003e"');
    expect(json.transaction).toMatchObject({
      rollback_time: '1970-01-01T08:00:01+08:00',
      options:
        '{"wait_result":true,"timeout_to_fail":60,"branch_headers":{"a":"\\u003c1\\u003e","b":"2"},"concurrent":false}',
      wait_result: true,
      timeout_to_fail: 60,
      branch_headers: { a: '<1>', b: '2' },
      concurrent: false,
    });
    expect(json.transaction).not.toHaveProperty('finish_time');
    expect(json.transaction).not.toHaveProperty('next_cron_time');
    expect(json.transaction).not.toHaveProperty('custom_data');
  });

  it('11.28: ids are numbers that fit a signed 32-bit integer', async () => {
    const { coordinator, get } = testApi();
    coordinator.stored = { kind: 'value', value: transaction({ intervalMs: 1e15 }) };
    const { json } = await get('/api/dtmsvr/query?gid=pay-7');
    expect(json.transaction).toMatchObject({ id: 0, next_cron_interval: 2_147_483_647 });
  });

  it('1.5: the result of a workflow stands before its reason', async () => {
    const { coordinator, get } = testApi();
    const ended = transaction({ result: 'b2s=', rollbackReason: 'why' });
    coordinator.stored = { kind: 'value', value: ended };
    expect((await get('/api/dtmsvr/query?gid=pay-7')).text).toContain(
      '"result":"b2s=","rollback_reason":"why","options"',
    );
  });

  it.each(['query?gid=pay-7', 'all', 'all?gid=pay-7'])(
    '1.2, 10.6: %s shows a stored reason without the words that clients search a 200 for',
    async (route) => {
      const { coordinator, get } = testApi();
      const rollbackReason = 'no stock FAILURE, was ONGOING';
      const value = transaction({ status: 'failed', rollbackReason });
      coordinator.stored = { kind: 'value', value };
      coordinator.page = { kind: 'value', value: { transactions: [value], nextPosition: '' } };
      const { status, text } = await get(`/api/dtmsvr/${route}`);
      expect(status).toBe(200);
      expect(text).not.toMatch(/FAILURE|ONGOING/);
      expect(JSON.stringify(JSON.parse(text))).toContain(rollbackReason);
    },
  );

  it('an unconfirmed read is 503', async () => {
    const { coordinator, get } = testApi();
    coordinator.stored = {
      kind: 'refused',
      code: 'READ_TIMEOUT',
      message: 'not confirmed',
      retryAfterMs: 1,
    };
    expect((await get('/api/dtmsvr/query?gid=a')).status).toBe(503);
  });
});

describe('all', () => {
  it('11.29: transactions is null for an unknown gid but [] for an empty scan', async () => {
    const { get } = testApi();
    expect((await get('/api/dtmsvr/all?gid=zzz&position=p')).text).toBe(
      '{"next_position":"p","transactions":null}',
    );
    expect((await get('/api/dtmsvr/all')).text).toBe('{"next_position":"","transactions":[]}');
  });

  it('passes filters on: default limit 100, whole seconds, empty values absent', async () => {
    const { coordinator, get } = testApi();
    await get('/api/dtmsvr/all?position=&createTimeStart=&createTimeEnd=');
    await get(
      '/api/dtmsvr/all?limit=10&status=failed&transType=saga&createTimeStart=1767600000999&createTimeEnd=1767600005001&position=abc',
    );
    expect(coordinator.filters).toEqual([
      {
        status: undefined,
        type: undefined,
        createdFromMs: undefined,
        createdToMs: undefined,
        position: '',
        limit: 100,
      },
      {
        status: 'failed',
        type: 'saga',
        createdFromMs: 1_767_600_000_000,
        createdToMs: 1_767_600_005_999,
        position: 'abc',
        limit: 10,
      },
    ]);
  });

  it('a status or type that does not exist matches nothing', async () => {
    const { coordinator, get } = testApi();
    expect((await get('/api/dtmsvr/all?status=constructor')).json.transactions).toEqual([]);
    expect(coordinator.filters).toEqual([]);
  });

  it('11.28: the cursor is an opaque text that comes from the engine', async () => {
    const { coordinator, get } = testApi();
    coordinator.page = {
      kind: 'value',
      value: { transactions: [transaction()], nextPosition: 'x1' },
    };
    const { json } = await get('/api/dtmsvr/all?limit=1');
    expect([json.next_position, json.transactions?.length]).toEqual(['x1', 1]);
    coordinator.page = { kind: 'badPosition' };
    expect((await get('/api/dtmsvr/all?position=garbage')).status).toBe(500);
  });
});

describe('resetCronTime and resetNextCronTime', () => {
  it('wakes at most limit transactions and says whether more remain', async () => {
    const { coordinator, get } = testApi();
    coordinator.due = { kind: 'value', value: ['a', 'b', 'c'] };
    coordinator.outcome = applied({ count: 2 });
    expect((await get('/api/dtmsvr/resetCronTime?timeout=5&limit=2')).text).toBe(
      '{"has_remaining":true,"succeed_count":2}',
    );
    expect(coordinator.dueAsked).toEqual([{ afterMs: 5_000, limit: 2 }]);
    expect(coordinator.requests).toEqual([
      { kind: 'resetNextCronTime', gids: ['a', 'b'], mustExist: false },
    ]);
  });

  it('looks three times TimeoutToFail ahead by default, and does nothing for nothing', async () => {
    const { coordinator, get } = testApi();
    expect((await get('/api/dtmsvr/resetCronTime')).text).toBe(
      '{"has_remaining":false,"succeed_count":0}',
    );
    expect(coordinator.dueAsked).toEqual([{ afterMs: 105_000, limit: 100 }]);
    expect(coordinator.requests).toEqual([]);
  });

  it('resetNextCronTime insists that the gid exists', async () => {
    const { coordinator, post } = testApi();
    await post('resetNextCronTime', { gid: 'X' });
    expect(coordinator.requests).toEqual([
      { kind: 'resetNextCronTime', gids: ['X'], mustExist: true },
    ]);
  });
});

describe('Compat.StrictResubmit', () => {
  it('travels with abort and forceStop, and only when it is set', async () => {
    const body = { gid: 'a', trans_type: 'tcc' };
    for (const [flags, strict] of [
      [{}, undefined],
      [{ 'compat.strictResubmit': 'true' }, true],
    ] as const) {
      const { coordinator, post } = testApi({ flags });
      await post('abort', body);
      await post('forceStop', body);
      expect(coordinator.requests.map((request) => 'strict' in request && request.strict)).toEqual([
        strict ?? false,
        strict ?? false,
      ]);
    }
  });
});

describe('draining', () => {
  it('still serves, asks for the connection to be closed, and is not ready', async () => {
    const { get, post, health } = testApi();
    expect((await get('/readyz')).status).toBe(200);
    health.drain();
    const reply = await post('submit', saga());
    expect([reply.status, reply.headers['connection']]).toEqual([200, 'close']);
    expect(await get('/readyz')).toMatchObject({ status: 503 });
    expect((await get('/livez')).status).toBe(200);
  });
});
