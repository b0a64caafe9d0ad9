// What a participant receives, and what its answers mean (dtm reference §4, §5.7, §5.12).

import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { failureText, freshGid, NO_CALLS, NOT_FINISHED, SUCCESS_TEXT, saga } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { ERROR, FAILURE, gate, ONGOING, type ScriptedAnswer } from './lib/participant.ts';

const on = threeNodes('participants: { answerBytesMax: 4096 }');

/** Submits a saga of one step whose action is scripted; its compensation succeeds. */
async function oneStep(answers: readonly ScriptedAnswer[], more: object = {}) {
  const gid = freshGid();
  const action = on.participant.on(`${gid}/a`, ...answers);
  const compensate = on.participant.on(`${gid}/c`);
  const reply = await on.client.post('submit', saga(gid, [{ action, compensate }], more));
  return { gid, action, reply, calls: () => on.participant.callsOf(`${gid}/a`) };
}
const QUICK = { retry_interval: 1 };

describe.concurrent('what a participant receives', () => {
  it('4.2: POST with the payload, sorted query parameters, and the headers', async () => {
    const gid = freshGid('ä &=+ ');
    const name = freshGid();
    const action = `${on.participant.url(name)}?z=1&gid=own&a=%20`;
    const body = saga(gid, [{ action, compensate: '' }], {
      payloads: ['{"amount":30,"to":"é"}'],
      wait_result: true,
      branch_headers: { 'X-Tenant': '7', accept: 'text/plain', 'x-text': 'grün' },
    });
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    const [call] = await on.participant.called(name);
    expect(call).toMatchObject({ method: 'POST', body: '{"amount":30,"to":"é"}' });
    const encoded = new URLSearchParams({ gid }).toString();
    expect(call?.search).toBe(
      `?z=1&gid=own&a=%20&branch_id=01&${encoded}&op=action&trans_type=saga`,
    );
    expect(call?.headers).toMatchObject({
      'content-type': 'application/json',
      'x-tenant': '7',
      accept: 'text/plain',
    });
    expect(Buffer.from(String(call?.headers['x-text']), 'latin1').toString()).toBe('grün');
    expect(call?.headers).not.toHaveProperty('dtm');
  });

  it('11.4: GET without a body exactly when the payload is empty; null is not empty', async () => {
    const gid = freshGid();
    const steps = ['x', 'y', 'z'].map((name) => ({
      action: on.participant.on(`${gid}/${name}`),
      compensate: '',
    }));
    const payloads = ['', 'null', ' '];
    const reply = await on.client.post('submit', saga(gid, steps, { payloads, wait_result: true }));
    expect(reply.text).toBe(SUCCESS_TEXT);
    const seen = ['x', 'y', 'z'].map((name) => on.participant.callsOf(`${gid}/${name}`)[0]);
    expect(seen.map((call) => [call?.method, call?.body])).toEqual([
      ['GET', ''],
      ['POST', 'null'],
      ['POST', ' '],
    ]);
    expect(seen[0]?.headers['content-type']).toBe('application/json');
  });

  it('1.3: the legacy steps[].data is the payload, behind those of payloads', async () => {
    const gid = freshGid();
    const [a, b] = ['a', 'b'].map((name) => on.participant.on(`${gid}/${name}`));
    const steps = [{ action: a }, { action: b, data: '{"old":true}' }];
    const body = { gid, trans_type: 'saga', steps, payloads: ['{"new":true}'], wait_result: true };
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    expect(on.participant.order(`${gid}/`)).toEqual([`${gid}/a`, `${gid}/b`]);
    expect(on.participant.callsOf(`${gid}/a`)[0]?.body).toBe('{"new":true}');
    expect(on.participant.callsOf(`${gid}/b`)[0]?.body).toBe('{"old":true}');
  });

  it('5.2.1: a compensation gets the payload and branch id of its step', async () => {
    const { gid } = await oneStep([FAILURE]);
    await on.client.ended(gid, 'failed');
    const [call] = on.participant.callsOf(`${gid}/c`);
    expect(call?.search).toBe(`?branch_id=01&gid=${gid}&op=compensate&trans_type=saga`);
    expect(call).toMatchObject({ method: 'POST', body: '{"amount":1}' });
  });

  it('5.7.12, 11.3: empty URLs succeed without a call', async () => {
    const gid = freshGid();
    const body = saga(gid, [NO_CALLS, {}, { action: '' }], { wait_result: true });
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    expect(await on.client.branches(gid)).toEqual(
      Array.from({ length: 3 }, () => ['prepared', 'succeed']).flat(),
    );
  });

  it('a saga without steps succeeds at once', async () => {
    const gid = freshGid();
    const body = { gid, trans_type: 'saga', wait_result: true };
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    expect((await on.client.transaction(gid)).status).toBe('succeed');
  });

  it('5.2.1: 100 steps run in order, with ids 01 to 100', async () => {
    const gid = freshGid();
    const steps = Array.from({ length: 100 }, (_, step) => ({
      action: on.participant.on(`${gid}/${step}`),
      compensate: '',
    }));
    await on.client.post('submit', saga(gid, steps));
    await on.client.ended(gid, 'succeed');
    const ids = on.participant.calls.filter(({ query }) => query.get('gid') === gid);
    expect(ids.map(({ query }) => query.get('branch_id'))).toEqual(
      Array.from({ length: 100 }, (_, step) => String(step + 1).padStart(2, '0')),
    );
  });
});

describe.concurrent('what an answer means', () => {
  it('4.4: any 200 without the reserved words is success', async () => {
    for (const body of ['', 'ok', '{"dtm_result":"SUCCESS"}', 'failure', '{"a":null}']) {
      const { reply } = await oneStep([{ body }], { wait_result: true });
      expect(reply.text, body).toBe(SUCCESS_TEXT);
    }
  });

  it('5.4.4, 5.7.4, 5.12.1, 11.1, 11.38: FAILURE in a 200, a 500 or any other body is failure, with exact reasons', async () => {
    const cases: readonly (readonly [ScriptedAnswer, string])[] = [
      [{ status: 200, body: '{"dtm_result":"FAILURE"}' }, '{"dtm_result":"FAILURE"} FAILURE'],
      [{ status: 500, body: 'broken FAILURE' }, 'broken FAILURE'],
      [{ status: 404, body: 'FAILUREs' }, 'FAILUREs FAILURE'],
      [{ status: 409, body: 'short of money' }, 'short of money FAILURE'],
      [{ status: 409, body: ' \n spaced FAILURE \n' }, 'spaced FAILURE'],
      [{ status: 409, body: '' }, ' FAILURE'],
      [
        { status: 409, body: '{"error":"reason:Insufficient balance. FAILURE"}' },
        '{"error":"reason:Insufficient balance. FAILURE"} FAILURE',
      ],
    ];
    for (const [answer, text] of cases) {
      const { gid, action, reply, calls } = await oneStep([answer], { wait_result: true });
      const reason = `url:${action} return failed: ${text}`;
      expect([reply.status, reply.json]).toEqual([409, { dtm_result: 'FAILURE', message: reason }]);
      expect((await on.client.ended(gid, 'failed')).rollback_reason).toBe(reason);
      expect(calls()).toHaveLength(1);
    }
  });

  it('11.1: ONGOING wins over FAILURE and over every status', async () => {
    const answers: readonly ScriptedAnswer[] = [
      { status: 425, body: 'FAILURE' },
      { status: 409, body: 'ONGOING' },
      { status: 200, body: '{"a":"FAILURE","b":"ONGOING"}' },
      { status: 425, body: '' },
      {},
    ];
    const { gid, calls } = await oneStep(answers, QUICK);
    await on.client.ended(gid, 'succeed');
    expect(calls()).toHaveLength(5);
  });

  it('11.2, defect 12.39: only status 200 is success; 201, 202 and 204 are retried', async () => {
    for (const status of [201, 202, 204]) {
      const answers = [{ status, ...(status === 204 ? { body: '' } : {}) }, {}];
      const { gid, calls } = await oneStep(answers, QUICK);
      await on.client.ended(gid, 'succeed');
      expect(calls()).toHaveLength(2);
    }
  });

  it('4.4: 400, 404, 429 and 503 are retried: none is a failure', async () => {
    const answers = [400, 404, 429, 503].map((status) => ({ status, body: 'no' }));
    const { gid, calls } = await oneStep([...answers.slice(0, 3), {}], QUICK);
    await on.client.ended(gid, 'succeed');
    expect(calls()).toHaveLength(4);
  });

  it('4.2: redirects are followed; 302 turns POST into GET, 307 keeps it; ten are too many', async () => {
    const gid = freshGid();
    const at = (name: string) => on.participant.url(`${gid}/${name}`);
    const to = (name: string, status: number) => ({ status, headers: { location: at(name) } });
    on.participant.on(`${gid}/a`, to('b', 307));
    on.participant.on(`${gid}/b`, to('c', 302));
    on.participant.on(`${gid}/loop`, to('loop', 301));
    const steps = [{ action: at('a'), compensate: '' }];
    const reply = await on.client.post('submit', saga(gid, steps, { wait_result: true }));
    expect(reply.text).toBe(SUCCESS_TEXT);
    const seen = on.participant.calls.filter(({ name }) => name.startsWith(`${gid}/`));
    expect(seen.map(({ name, method, body }) => [name.slice(-1), method, body])).toEqual([
      ['a', 'POST', '{"amount":1}'],
      ['b', 'POST', '{"amount":1}'],
      ['c', 'GET', ''],
    ]);
    const loop = saga(`${gid}-loop`, [{ action: at('loop') }], { wait_result: true });
    expect((await on.client.post('submit', loop)).text).toBe(NOT_FINISHED);
    expect(on.participant.callsOf(`${gid}/loop`).length).toBeLessThanOrEqual(11);
    await on.client.post('forceStop', { gid: `${gid}-loop` });
  });

  it('5.6.5: request_timeout bounds a hanging call, which is retried', async () => {
    const started = performance.now();
    const { gid, reply, calls } = await oneStep([{ hang: true }, {}], {
      ...QUICK,
      request_timeout: 1,
      wait_result: true,
    });
    expect(reply.text).toBe(NOT_FINISHED);
    expect(performance.now() - started).toBeLessThan(4_000);
    await on.client.ended(gid, 'succeed');
    expect(calls()).toHaveLength(2);
  });

  it('5.7.11, defect 12.19: request_timeout may be longer than 5 s; the next step follows at once', async () => {
    const gid = freshGid();
    const slow = on.participant.on(`${gid}/slow`, { delayMs: 6_000 });
    const next = on.participant.on(`${gid}/next`);
    const steps = [{ action: slow }, { action: next }];
    await on.client.post('submit', saga(gid, steps, { request_timeout: 30 }));
    const [first] = await on.participant.called(`${gid}/slow`);
    const [second] = await on.participant.called(`${gid}/next`);
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeLessThan(7_000);
    await on.client.ended(gid, 'succeed');
    expect(on.participant.callsOf(`${gid}/slow`)).toHaveLength(1);
  });

  it('P4: a service that refuses connections is retried until it is there', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => probe.once('listening', resolve));
    const address = probe.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await new Promise((resolve) => probe.close(resolve));
    const gid = freshGid();
    const steps = [{ action: `http://127.0.0.1:${port}/late`, compensate: '' }];
    const body = saga(gid, steps, { ...QUICK, wait_result: true });
    expect((await on.client.post('submit', body)).text).toBe(NOT_FINISHED);
    const { createServer: createHttpServer } = await import('node:http');
    const service = createHttpServer((_request, response) => response.end('ok'));
    service.listen(port, '127.0.0.1');
    try {
      await on.client.ended(gid, 'succeed');
    } finally {
      service.closeAllConnections();
      service.close();
    }
  });

  it('P8: an answer over the bound is unknown, and retried', async () => {
    const { gid, calls, reply } = await oneStep([{ body: 'x'.repeat(10_000) }, {}], {
      ...QUICK,
      wait_result: true,
    });
    expect(reply.text).toBe(NOT_FINISHED);
    await on.client.ended(gid, 'succeed');
    expect(calls()).toHaveLength(2);
  });

  it('defect 12.23: a long failure text rolls back, with a bounded reason ending in the word', async () => {
    const { gid, action } = await oneStep([{ status: 409, body: 'é'.repeat(2_000) }]);
    const { rollback_reason } = await on.client.ended(gid, 'failed');
    expect(rollback_reason).toMatch(/^url:http.* return failed: é+ FAILURE$/);
    expect(rollback_reason).toContain(action);
    expect(Buffer.byteLength(rollback_reason ?? '')).toBeLessThanOrEqual(4_096);
  });

  it('4.5, 11.17: a compensation that answers FAILURE is retried for ever', async () => {
    const gid = freshGid();
    const action = on.participant.on(`${gid}/a`, FAILURE);
    const compensate = on.participant.on(`${gid}/c`, FAILURE, FAILURE, {});
    await on.client.post('submit', saga(gid, [{ action, compensate }], QUICK));
    await on.participant.called(`${gid}/c`, 2);
    expect((await on.client.transaction(gid)).status).toBe('aborting');
    await on.client.ended(gid, 'failed');
    expect(await on.client.branches(gid)).toEqual(['succeed', 'failed']);
    expect(on.participant.callsOf(`${gid}/c`)).toHaveLength(3);
  });

  it('5.6.4, 5.6.5: ongoing keeps retry_interval, unknown doubles it', async () => {
    const spans = async (answer: ScriptedAnswer) => {
      const { gid, calls } = await oneStep([answer, answer, answer, {}], QUICK);
      await on.client.ended(gid, 'succeed');
      const times = calls().map(({ atMs }) => atMs);
      return times.slice(1).map((atMs, i) => (atMs - (times[i] ?? 0)) / 1000);
    };
    const [ongoing, unknown] = await Promise.all([spans(ONGOING), spans(ERROR)]);
    for (const [at, wanted] of [1, 1, 1].entries()) {
      expect(ongoing[at]).toBeGreaterThan(wanted * 0.85);
      expect(ongoing[at]).toBeLessThan(wanted * 1.1 + 0.7);
    }
    for (const [at, wanted] of [2, 4, 8].entries()) {
      expect(unknown[at]).toBeGreaterThan(wanted * 0.85);
      expect(unknown[at]).toBeLessThan(wanted * 1.1 + 0.7);
    }
  });
});

describe.concurrent('wait_result', () => {
  it('5.4.2, 5.4.3: an ongoing or unknown branch answers 409 without a reason, and the saga goes on', async () => {
    for (const answer of [ONGOING, ERROR]) {
      const { gid, reply } = await oneStep([answer, {}], { ...QUICK, wait_result: true });
      expect([reply.status, reply.text]).toEqual([409, NOT_FINISHED]);
      expect((await on.client.transaction(gid)).status).toBe('submitted');
      await on.client.ended(gid, 'succeed');
    }
  });

  it('5.4.1: on every node the answer of a finished saga is the same', async () => {
    for (const { id } of on.cluster.nodes) {
      const gid = freshGid();
      const action = on.participant.on(gid, FAILURE);
      const body = saga(gid, [{ action, compensate: '' }], { wait_result: true });
      const reply = await on.client.post('submit', body, id);
      expect(reply.text).toBe(
        failureText(`url:${action} return failed: {"dtm_result":"FAILURE"} FAILURE`),
      );
      expect((await on.client.transaction(gid)).status).toBe('failed');
    }
  });

  it('5.4.7, 11.9: the reason is told while a compensation is still pending', async () => {
    const gid = freshGid();
    const action = on.participant.on(`${gid}/a`, FAILURE);
    const compensate = on.participant.on(`${gid}/c`, ERROR, {});
    const body = saga(gid, [{ action, compensate }], { ...QUICK, wait_result: true });
    const reply = await on.client.post('submit', body);
    expect(reply.status).toBe(409);
    expect(reply.text).toContain(`url:${action} return failed: `);
    expect((await on.client.transaction(gid)).status).toBe('aborting');
    await on.client.ended(gid, 'failed');
  });

  it('5.4.9, 11.36: the answer comes within 8 s even when branches are slow', async () => {
    const { opened, open } = gate();
    const started = performance.now();
    const { gid, reply } = await oneStep([{ after: opened }], {
      request_timeout: 60,
      wait_result: true,
    });
    expect([reply.status, reply.text]).toEqual([409, NOT_FINISHED]);
    expect(performance.now() - started).toBeLessThan(8_000);
    open();
    await on.client.ended(gid, 'succeed');
  });

  it('5.4.8, 11.7: a submit waits by its own wait_result; prepare never does', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const action = on.participant.on(gid, { after: opened });
    const body = saga(gid, [{ action, compensate: '' }]);
    expect((await on.client.post('prepare', { ...body, wait_result: true })).status).toBe(200);
    const bare = { gid, trans_type: 'saga' };
    expect((await on.client.post('submit', bare)).text).toBe(SUCCESS_TEXT);
    await on.participant.called(gid);
    open();
    const repeated = await on.client.post('submit', { ...bare, wait_result: true });
    expect(repeated.text).toBe(SUCCESS_TEXT);
    expect((await on.client.transaction(gid)).status).toBe('succeed');
  });
});
