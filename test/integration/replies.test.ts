// What the routes answer, byte for byte: statuses, content types, bodies, presence of keys.
// Source of every number: the dtm protocol reference.

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import {
  failureText,
  freshGid,
  JSON_TYPE,
  NO_CALLS,
  type Reply,
  SUCCESS_TEXT,
  saga,
} from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { ERROR, gate } from './lib/participant.ts';

const on = threeNodes();

function expectReply(reply: Reply, status: number, text: string): void {
  expect([reply.status, reply.type, reply.text]).toEqual([status, JSON_TYPE, text]);
}

/** dtm's plain error: 500, one key, no dtm_result; returns the message. */
function expectError(reply: Reply): string {
  expect([reply.status, reply.type]).toEqual([500, JSON_TYPE]);
  expect(Object.keys(reply.json)).toEqual(['message']);
  return String(reply.json['message']);
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

describe('plain routes', () => {
  it('1.4 newGid, 11.37: 22 characters of base57, with dtm_result, never the same', async () => {
    const seen = new Set<unknown>();
    for (let i = 0; i < 30; i += 1) {
      const reply = await on.client.get('newGid');
      expect([reply.status, reply.type]).toEqual([200, JSON_TYPE]);
      expect(Object.keys(reply.json)).toEqual(['dtm_result', 'gid']);
      expect(reply.json['dtm_result']).toBe('SUCCESS');
      expect(reply.json['gid']).toMatch(/^[2-9A-HJ-NP-Za-km-z]{22}$/);
      seen.add(reply.json['gid']);
    }
    expect(seen.size).toBe(30);
  });

  it('1.4 version: one key', async () => {
    const reply = await on.client.get('version');
    expect(reply.text).toMatch(/^\{"version":"v\d+\.\d+\.\d+"\}$/);
    expect([reply.status, reply.type]).toEqual([200, JSON_TYPE]);
  });

  it('11.31: ping answers any method', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      expectReply(await on.client.send(method, '/api/ping'), 200, '{"msg":"pong"}');
    }
    expect((await on.client.send('HEAD', '/api/ping')).status).toBe(200);
  });

  it('11.31: an unknown route or a wrong method is 404 in plain text, never 405', async () => {
    const asked = [
      ['GET', '/api/dtmsvr/nothing'],
      ['GET', '/api/dtmsvr/submit'],
      ['POST', '/api/dtmsvr/query'],
      ['PUT', '/api/dtmsvr/prepare'],
      ['GET', '/api/dtmsvr/Query'],
    ] as const;
    for (const [method, path] of asked) {
      const reply = await on.client.send(method, path);
      expect([reply.status, reply.text]).toEqual([404, '404 page not found']);
      expect(reply.type).toMatch(/^text\/plain/);
    }
  });

  it('1.1: a trailing slash is redirected, GET with 301, others with 307', async () => {
    const get = await on.client.send('GET', '/api/dtmsvr/query/?gid=x');
    expect([get.status, get.headers.get('location')]).toEqual([301, '/api/dtmsvr/query?gid=x']);
    const post = await on.client.send('POST', '/api/dtmsvr/submit/', '{}');
    expect([post.status, post.headers.get('location')]).toEqual([307, '/api/dtmsvr/submit']);
  });
});

describe('prepare, submit, query', () => {
  it('1.4: prepare, prepare again and submit succeed on any node; a late prepare is 409', async () => {
    const gid = freshGid();
    const body = saga(gid, [NO_CALLS]);
    for (const reply of await on.client.postToAll('prepare', body)) {
      expectReply(reply, 200, SUCCESS_TEXT);
    }
    const { transaction, branches } = await on.client.query(gid);
    expect(transaction?.status).toBe('prepared');
    expect(branches.map(({ branch_id, op }) => `${branch_id} ${op}`)).toEqual([
      '01 compensate',
      '01 action',
    ]);
    expectReply(await on.client.post('submit', { gid, trans_type: 'saga' }), 200, SUCCESS_TEXT);
    await on.client.ended(gid, 'succeed');
    for (const reply of await on.client.postToAll('prepare', body)) {
      expectReply(reply, 409, failureText("current status 'succeed', cannot prepare. FAILURE"));
    }
  });

  it('1.4: prepare of a submitted one names its status', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const body = saga(gid, [{ action: on.participant.on(gid, { after: opened }) }]);
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    expectReply(
      await on.client.post('prepare', body),
      409,
      failureText("current status 'submitted', cannot prepare. FAILURE"),
    );
    open();
    await on.client.ended(gid, 'succeed');
  });

  // Nothing of it is due any more: next_cron_time is left out.
  it('1.5, 11.26: a succeeded saga shows exactly these keys, none of them null', async () => {
    const gid = freshGid();
    const action = on.participant.on(`${gid}/a`);
    const compensate = on.participant.on(`${gid}/c`);
    const body = saga(gid, [{ action, compensate }], { wait_result: true });
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    const reply = await on.client.get(`query?gid=${gid}`);
    expect([reply.status, reply.type]).toEqual([200, JSON_TYPE]);
    expect(Object.keys(reply.json)).toEqual(['branches', 'transaction']);
    const { transaction, branches } = await on.client.query(gid);
    expect(new Set(Object.keys(transaction ?? {}))).toEqual(
      new Set([
        'id',
        'create_time',
        'update_time',
        'gid',
        'trans_type',
        'steps',
        'payloads',
        'status',
        'protocol',
        'finish_time',
        'options',
        'next_cron_interval',
        'wait_result',
        'concurrent',
      ]),
    );
    expect(transaction).toMatchObject({
      id: 0,
      gid,
      trans_type: 'saga',
      status: 'succeed',
      protocol: 'http',
      steps: [{ action, compensate }],
      payloads: ['{"amount":1}'],
      concurrent: false,
      wait_result: true,
    });
    for (const key of ['create_time', 'update_time', 'finish_time']) {
      expect(transaction?.[key], key).toMatch(TIME);
    }
    expect(JSON.parse(String(transaction?.['options']))).toMatchObject({ concurrent: false });
    const common = { id: 0, gid, bin_data: 'eyJhbW91bnQiOjF9', branch_id: '01' };
    expect(branches).toEqual([
      {
        ...common,
        url: compensate,
        op: 'compensate',
        status: 'prepared',
        create_time: expect.stringMatching(TIME) as string,
        update_time: expect.stringMatching(TIME) as string,
      },
      {
        ...common,
        url: action,
        op: 'action',
        status: 'succeed',
        create_time: expect.stringMatching(TIME) as string,
        update_time: expect.stringMatching(TIME) as string,
        finish_time: expect.stringMatching(TIME) as string,
      },
    ]);
    expect(reply.text).not.toContain('null');
  });

  it('1.5: a failed saga has rollback_time and no finish_time; all nodes say the same', async () => {
    const gid = freshGid();
    const action = on.participant.on(gid, { status: 409, body: 'no FAILURE' });
    const body = saga(gid, [{ action, compensate: '' }], {
      timeout_to_fail: 60,
      request_timeout: 2,
      retry_interval: 1,
      retry_limit: 3,
      branch_headers: { 'x-b': '2', 'x-a': '1' },
    });
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    const transaction = await on.client.ended(gid, 'failed');
    expect(transaction['rollback_time']).toMatch(TIME);
    expect(transaction).not.toHaveProperty('finish_time');
    const options = {
      timeout_to_fail: 60,
      request_timeout: 2,
      retry_interval: 1,
      retry_limit: 3,
      branch_headers: { 'x-b': '2', 'x-a': '1' },
      concurrent: false,
    };
    expect(transaction).toMatchObject(options);
    expect(JSON.parse(String(transaction['options']))).toEqual(options);
    const texts = [];
    for (const id of [1, 2, 3]) texts.push((await on.client.get(`query?gid=${gid}`, id)).text);
    expect(new Set(texts).size).toBe(1);
  });

  it('11.5: query without a gid is 500, of an unknown one 200 with null', async () => {
    const unknown = '{"branches":[],"transaction":null}';
    expectReply(await on.client.get('query'), 500, '{"message":"no gid specified"}');
    expectReply(await on.client.get('query?gid='), 500, '{"message":"no gid specified"}');
    expectReply(await on.client.get('query?gid=nobody'), 200, unknown);
    expectReply(await on.client.get(`query?gid=${'x'.repeat(5_000)}`), 200, unknown);
    expectReply(await on.client.get('query?gid=%00%0a'), 200, unknown);
  });

  it('1.1: <, > and & are written as Go writes them', async () => {
    const gid = freshGid();
    await on.client.post('prepare', {
      gid,
      trans_type: 'saga',
      steps: [NO_CALLS],
      payloads: ['<a&b>'],
    });
    expect((await on.client.get(`query?gid=${gid}`)).text).toContain(
      '"payloads":["\\u003ca\\u0026b\\u003e"]',
    );
  });

  it('1.1: line ends and semicolons are deleted from a gid in a body', async () => {
    const gid = freshGid();
    const sent = `${gid.slice(0, 3)}\n;\r${gid.slice(3)};`;
    const body = { ...saga(gid, [NO_CALLS]), gid: sent };
    expectReply(await on.client.post('prepare', body), 200, SUCCESS_TEXT);
    expect((await on.client.transaction(gid)).gid).toBe(gid);
  });

  it('defect 12.5: a gid that continues another one hides nothing of it', async () => {
    const gid = freshGid();
    const steps = Array.from({ length: 12 }, () => NO_CALLS);
    await on.client.post('prepare', saga(gid, steps));
    for (const suffix of ['0', '00', '000', '0001', '-', '\u{1f600}', 'é']) {
      await on.client.post('prepare', saga(gid + suffix, [NO_CALLS]));
    }
    expect((await on.client.query(gid)).branches).toHaveLength(24);
    expect((await on.client.query(`${gid}\u{1f600}`)).branches).toHaveLength(2);
  });
});

describe('abort, forceStop, resetNextCronTime', () => {
  it('1.4: abort of a saga is 409 with its stored type and status, in every state', async () => {
    const gid = freshGid();
    const text = (status: string) =>
      failureText(`trans type: 'saga' current status '${status}', cannot abort. FAILURE`);
    await on.client.post('prepare', saga(gid, [NO_CALLS]));
    expectReply(await on.client.post('abort', { gid, trans_type: 'saga' }), 409, text('prepared'));
    await on.client.post('submit', { gid, trans_type: 'saga', wait_result: true });
    expectReply(await on.client.post('abort', { gid, trans_type: 'saga' }), 409, text('succeed'));
  });

  it('defect 12.12: abort as tcc or xa does not move a prepared saga', async () => {
    const gid = freshGid();
    await on.client.post('prepare', saga(gid, [NO_CALLS]));
    for (const trans_type of ['tcc', 'xa', '', 'msg']) {
      expectReply(
        await on.client.post('abort', { gid, trans_type, rollback_reason: 'x' }),
        409,
        failureText("trans type: 'saga' current status 'prepared', cannot abort. FAILURE"),
      );
    }
    expect((await on.client.transaction(gid)).status).toBe('prepared');
  });

  it('11.5: an unknown gid is 500 for abort, forceStop and resetNextCronTime', async () => {
    for (const route of ['abort', 'forceStop', 'resetNextCronTime']) {
      expectReply(
        await on.client.post(route, { gid: 'nobody', trans_type: 'saga' }),
        500,
        '{"message":"no TransGlobal with gid: nobody found"}',
      );
    }
  });

  it('defect 12.15: forceStop fails what runs, and says who and why', async () => {
    const gid = freshGid();
    const action = on.participant.on(gid, ERROR);
    await on.client.post('submit', saga(gid, [{ action, compensate: action }]));
    await on.participant.called(gid);
    const stop = { gid, rollback_reason: 'by order' };
    expectReply(await on.client.post('forceStop', stop), 200, SUCCESS_TEXT);
    const transaction = await on.client.transaction(gid);
    expect(transaction.status).toBe('failed');
    expect(transaction['rollback_time']).toMatch(TIME);
    expect(transaction.rollback_reason).toMatch(/^force stopped by http .*: by order$/);
    const { branches } = await on.client.query(gid);
    expect(branches.map(({ status }) => status)).toEqual(['prepared', 'prepared']);
  });

  it('P6: a repeated forceStop is a success; of what ended by itself it is 409', async () => {
    const stopped = freshGid();
    await on.client.post('prepare', saga(stopped, [NO_CALLS]));
    for (const reply of await on.client.postToAll('forceStop', { gid: stopped })) {
      expectReply(reply, 200, SUCCESS_TEXT);
    }
    const gid = freshGid();
    await on.client.post('submit', saga(gid, [NO_CALLS], { wait_result: true }));
    expectReply(
      await on.client.post('forceStop', { gid }),
      409,
      failureText('global transaction force stop error. status: succeed. error: FAILURE'),
    );
  });

  it('P3: a force-stopped saga cannot be submitted again', async () => {
    const gid = freshGid();
    await on.client.post('prepare', saga(gid, [NO_CALLS]));
    await on.client.post('forceStop', { gid });
    const reply = await on.client.post('submit', saga(gid, [NO_CALLS]));
    expect(reply.status).toBe(409);
    expect(reply.text).toContain("current status 'failed', cannot sumbmit.");
  });

  it('defect 12.25: a result that arrives after forceStop is recorded', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const action = on.participant.on(gid, { after: opened });
    await on.client.post(
      'submit',
      saga(gid, [{ action, compensate: '' }], { request_timeout: 20 }),
    );
    await on.participant.called(gid);
    expectReply(await on.client.post('forceStop', { gid }), 200, SUCCESS_TEXT);
    expect(await on.client.branches(gid)).toEqual(['prepared', 'prepared']);
    open();
    await expect
      .poll(() => on.client.branches(gid), { timeout: 10_000 })
      .toEqual(['prepared', 'succeed']);
    expect((await on.client.transaction(gid)).status).toBe('failed');
  });

  it('defect 12.6: resetNextCronTime makes the next attempt come now, on any node', async () => {
    const gid = freshGid();
    const action = on.participant.on(gid, ERROR, ERROR, {});
    await on.client.post(
      'submit',
      saga(gid, [{ action, compensate: '' }], { retry_interval: 600 }),
    );
    await on.participant.called(gid, 1);
    for (const count of [2, 3]) {
      await expect
        .poll(async () => (await on.client.transaction(gid))['next_cron_interval'], {
          timeout: 5_000,
        })
        .toBeGreaterThan(600);
      expectReply(await on.client.post('resetNextCronTime', { gid }), 200, SUCCESS_TEXT);
      await on.participant.called(gid, count, 5_000);
    }
    await on.client.ended(gid, 'succeed');
    expectReply(await on.client.post('resetNextCronTime', { gid }), 200, SUCCESS_TEXT);
  });
});

describe('bodies', () => {
  const valid = () => saga(freshGid(), [NO_CALLS]);

  it('1.1: what is no JSON object is a clear 500 and leaves nothing behind', async () => {
    const gid = freshGid();
    for (const body of [
      '',
      '{',
      'nonsense',
      `{"gid":"${gid}","trans_type":"saga"`,
      `{"gid":"${gid}","trans_type":"saga"} trailing`,
      `{"gid":"${gid}",}`,
      '[]',
      '"text"',
      '7',
      'null',
    ]) {
      for (const route of ['prepare', 'submit', 'abort', 'forceStop', 'resetNextCronTime']) {
        expect(expectError(await on.client.post(route, body)), body).not.toBe('');
      }
    }
    expect((await on.client.query(gid)).transaction).toBeNull();
  });

  it('1.1: a wrong type names the field, and leaves nothing behind', async () => {
    const wrong: readonly (readonly [string, unknown])[] = [
      ['gid', 1],
      ['trans_type', ['saga']],
      ['steps', {}],
      ['steps', ['x']],
      ['steps', [{ action: 1 }]],
      ['payloads', '{}'],
      ['payloads', [{}]],
      ['custom_data', {}],
      ['wait_result', 'true'],
      ['timeout_to_fail', 1.5],
      ['timeout_to_fail', '3'],
      ['retry_interval', true],
      ['request_timeout', -1],
      ['branch_headers', ['x']],
      ['branch_headers', { a: 1 }],
      ['protocol', 'carrier-pigeon'],
      ['concurrent', 1],
      ['retry_limit', 'many'],
    ];
    for (const [field, value] of wrong) {
      const body = { ...valid(), [field]: value };
      const message = expectError(await on.client.post('submit', body));
      expect(message, message).toContain(field);
      if (field !== 'gid') expect((await on.client.query(body.gid)).transaction).toBeNull();
    }
  });

  it('defect 12.13: what can never finish is refused, and leaves nothing behind', async () => {
    const two = [NO_CALLS, NO_CALLS];
    const orders = (text: string) => ({ custom_data: `{"concurrent":true,"orders":${text}}` });
    const wrong: readonly (readonly [string, object, RegExp])[] = [
      ['an unknown type', { trans_type: 'sagas' }, /trans_type/],
      ['no type', { trans_type: '' }, /trans_type/],
      ['short payloads', { payloads: ['{}'] }, /payloads/],
      ['no payloads', { payloads: [] }, /payloads/],
      ['orders outside', orders('{"1":[7]}'), /orders/],
      ['orders of an unknown step', orders('{"9":[0]}'), /orders/],
      ['cyclic orders', orders('{"0":[1],"1":[0]}'), /orders/],
      ['orders of a step after itself', orders('{"1":[1]}'), /orders/],
      ['bad orders', orders('"x"'), /orders/],
      ['custom_data that is no JSON', { custom_data: '{' }, /custom_data/],
      ['a URL that is none', { steps: [NO_CALLS, { action: 'nowhere' }] }, /steps\[1\]\.action/],
      ['a header that is none', { branch_headers: { 'a b': 'x' } }, /branch_headers/],
      ['a header with a line end', { branch_headers: { a: 'x\r\ny: z' } }, /branch_headers/],
    ];
    for (const [what, fields, pattern] of wrong) {
      for (const route of ['prepare', 'submit']) {
        const body = { ...saga(freshGid(), two), ...fields };
        expect(expectError(await on.client.post(route, body)), what).toMatch(pattern);
        expect((await on.client.query(body.gid)).transaction, what).toBeNull();
      }
    }
    for (const gid of ['', ';\n', null, 'a\u0000b', 'x'.repeat(300)]) {
      expect(expectError(await on.client.post('submit', { ...valid(), gid }))).toContain('gid');
    }
  });

  it('11.30: of duplicate keys the last wins, also in different spellings', async () => {
    const gid = freshGid();
    const steps = '"steps":[{"action":"","compensate":""}],"payloads":["{}"]';
    const body =
      `{"subType":"OperatorParam","gid":"${freshGid()}","GID":"x","trans_type":"tcc",${steps},` +
      `"TRANS_TYPE":"saga","Gid":"y","gid":"${gid}","subType":null}`;
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    await on.client.ended(gid, 'succeed');
  });

  it('11.30: keys match in any case', async () => {
    const gid = freshGid();
    const body = `{"GID":"${gid}","Trans_Type":"saga","STEPS":[{"action":"","compensate":""}],"Payloads":["{}"],"WAIT_RESULT":true}`;
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    expect((await on.client.transaction(gid)).status).toBe('succeed');
  });

  it('11.30: null leaves every field as it is when absent (C#, Python)', async () => {
    const body = {
      ...valid(),
      custom_data: null,
      query_prepared: null,
      protocol: null,
      rollback_reason: null,
      branch_headers: null,
      wait_result: null,
      timeout_to_fail: null,
      request_timeout: null,
      retry_interval: null,
      retry_limit: null,
      retry_count: null,
      concurrent: null,
      passthrough_headers: null,
    };
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    const transaction = await on.client.ended(body.gid, 'succeed');
    expect(transaction['protocol']).toBe('http');
    expect(transaction['concurrent']).toBe(false);
  });

  it('11.30: unknown keys of any type are ignored (PHP, Java)', async () => {
    const body = {
      ...valid(),
      branch_id: '',
      sub_branch_id: 0,
      barrier_id: 0,
      op: 'action',
      dtm: 'http://x',
      phase2_url: '',
      bin_payloads: [1, { a: null }],
      passthrough_headers: [],
      req_extra: {},
      status: 'succeed',
      id: 9_999_999_999,
    };
    expectReply(await on.client.post('prepare', body), 200, SUCCESS_TEXT);
    expect(await on.client.transaction(body.gid)).toMatchObject({ id: 0, status: 'prepared' });
  });

  it('defect 12.35: empty branch_headers and orders may be arrays (PHP)', async () => {
    const body = {
      ...saga(freshGid(), [NO_CALLS, NO_CALLS]),
      branch_headers: [],
      custom_data: '{"concurrent":true,"orders":[]}',
    };
    expectReply(await on.client.post('submit', body), 200, SUCCESS_TEXT);
    await on.client.ended(body.gid, 'succeed');
    const ordered = { ...body, gid: freshGid(), custom_data: '{"orders":[[],[0]]}' };
    expectReply(await on.client.post('submit', ordered), 200, SUCCESS_TEXT);
    await on.client.ended(ordered.gid, 'succeed');
  });

  it('11.6: the words of a business failure in a bad request do not come back as such', async () => {
    const body = { ...valid(), trans_type: 'FAILURE ONGOING' };
    expectError(await on.client.post('submit', body));
  });

  // The connection is closed with the answer, so nothing of the body is sent here.
  it('P8: a body over the bound is 413', async () => {
    for (const { url } of on.cluster.nodes) {
      const sending = request(`${url}/api/dtmsvr/submit`, { method: 'POST' });
      sending.on('error', () => undefined);
      sending.setHeader('content-length', 9 * 1024 * 1024);
      sending.flushHeaders();
      const [reply] = (await once(sending, 'response')) as [IncomingMessage];
      const body = JSON.parse(await text(reply)) as Readonly<Record<string, unknown>>;
      expect([reply.statusCode, body['code']]).toEqual([413, 'BODY_TOO_LARGE']);
      sending.destroy();
    }
  });
});
