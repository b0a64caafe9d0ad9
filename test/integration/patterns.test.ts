// Every pattern on a real cluster, over HTTP and over JSON-RPC, each request to another node.
// Source of every number: the dtm protocol reference.

import { describe, expect, it } from 'vitest';
import { failureText, freshGid, type Reply, SUCCESS_TEXT } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { FAILURE, ONGOING } from './lib/participant.ts';

const on = threeNodes();

type Send = (method: string, params: object) => Promise<Reply>;

const byHttp: Send = (method, params) => on.client.post(method, params);
const byJsonRpc: Send = (method, params) => {
  const body = { jsonrpc: '2.0', id: '1', method, params };
  return on.client.send('POST', '/api/json-rpc', JSON.stringify(body));
};
const PROTOCOLS = [
  ['HTTP', byHttp, SUCCESS_TEXT],
  ['JSON-RPC', byJsonRpc, '{"error":null,"id":"1","jsonrpc":"2.0","result":null}'],
] as const;

async function expectDone(reply: Promise<Reply>, text: string): Promise<void> {
  const { status, text: got } = await reply;
  expect([status, got]).toEqual([200, text]);
}

/** A branch whose confirm and cancel are calls of the participant. */
function tccBranch(gid: string, branchId: string): object {
  return {
    gid,
    trans_type: 'tcc',
    branch_id: branchId,
    data: `{"branch":"${branchId}"}`,
    confirm: on.participant.url(`${gid}-confirm-${branchId}`),
    cancel: on.participant.url(`${gid}-cancel-${branchId}`),
  };
}
function xaBranch(gid: string, branchId: string): object {
  const url = on.participant.url(`${gid}-xa-${branchId}`);
  return { gid, trans_type: 'xa', branch_id: branchId, url };
}

describe.each(PROTOCOLS)('tcc and xa over %s', (_name, send, done) => {
  it('11.8, 11.12: tcc, prepared twice, confirms in reverse order of registration', async () => {
    const gid = freshGid('tcc');
    const named = { gid, trans_type: 'tcc' };
    await expectDone(send('prepare', named), done);
    await expectDone(send('prepare', named), done);
    for (const id of ['01', '02', '0201']) {
      await expectDone(send('registerBranch', tccBranch(gid, id)), done);
    }
    await expectDone(send('submit', { ...named, wait_result: true }), done);
    expect(on.participant.order(gid)).toEqual(
      ['0201', '02', '01'].map((id) => `${gid}-confirm-${id}`),
    );
    const [call] = on.participant.callsOf(`${gid}-confirm-02`);
    expect([call?.method, call?.body]).toEqual(['POST', '{"branch":"02"}']);
    expect(Object.fromEntries(call?.query ?? [])).toEqual({
      branch_id: '02',
      gid,
      op: 'confirm',
      trans_type: 'tcc',
    });
    const { transaction, branches } = await on.client.query(gid);
    expect(transaction?.status).toBe('succeed');
    expect(branches.map(({ branch_id, op, status }) => [branch_id, op, status])).toEqual(
      ['01', '02', '0201'].flatMap((id) => [
        [id, 'cancel', 'prepared'],
        [id, 'confirm', 'succeed'],
      ]),
    );
  });

  it('5.3.4, 5.12.6, 11.7: an abort waits by the stored options, and says why', async () => {
    const gid = freshGid('tcc-abort');
    const named = { gid, trans_type: 'tcc' };
    await expectDone(send('prepare', { ...named, wait_result: true }), done);
    await expectDone(send('registerBranch', tccBranch(gid, '01')), done);
    await expectDone(send('abort', { ...named, rollback_reason: 'stock gone' }), done);
    expect(on.participant.order(gid)).toEqual([`${gid}-cancel-01`]);
    expect(await on.client.transaction(gid)).toMatchObject({
      status: 'failed',
      rollback_reason: 'stock gone',
    });
  });

  it('5.9.2, 11.12: xa commits in order of registration, by POST without a body', async () => {
    const gid = freshGid('xa');
    await expectDone(send('prepare', { gid, trans_type: 'xa' }), done);
    for (const id of ['01', '02'])
      await expectDone(send('registerBranch', xaBranch(gid, id)), done);
    await expectDone(send('submit', { gid, trans_type: 'xa', wait_result: true }), done);
    const calls = on.participant.callsOf(`${gid}-xa-01`, `${gid}-xa-02`);
    expect(
      calls.map(({ method, body, query }) => [
        method,
        body,
        query.get('branch_id'),
        query.get('op'),
      ]),
    ).toEqual([
      ['POST', '', '01', 'commit'],
      ['POST', '', '02', 'commit'],
    ]);
  });

  it('12.11: a branch registered again is a success, another one under its id a failure', async () => {
    const gid = freshGid('tcc-again');
    await expectDone(send('prepare', { gid, trans_type: 'tcc' }), done);
    await expectDone(send('registerBranch', tccBranch(gid, '01')), done);
    await expectDone(send('registerBranch', tccBranch(gid, '01')), done);
    const other = await send('registerBranch', { ...tccBranch(gid, '01'), data: 'other' });
    expect(other.text).toMatch(/FAILURE"/);
    expect((await on.client.query(gid)).branches).toHaveLength(2);
    await expectDone(send('abort', { gid, trans_type: 'tcc' }), done);
  });

  it('11.20: a branch of what is not prepared is a failure', async () => {
    const gid = freshGid('tcc-late');
    const { text } = await send('registerBranch', tccBranch(gid, '01'));
    expect(text).toContain(`no trans with gid: ${gid} status: prepared found FAILURE`);
  });
});

describe('tcc and xa over HTTP alone', () => {
  it('11.9: ongoing under wait_result is 425 for tcc', async () => {
    const gid = freshGid('tcc-ongoing');
    const named = { gid, trans_type: 'tcc' };
    on.participant.on(`${gid}-confirm-01`, ONGOING, {});
    await expectDone(byHttp('prepare', { ...named, retry_interval: 1 }), SUCCESS_TEXT);
    await expectDone(byHttp('registerBranch', tccBranch(gid, '01')), SUCCESS_TEXT);
    const reply = await byHttp('submit', { ...named, wait_result: true });
    expect([reply.status, reply.text]).toEqual([
      425,
      '{"dtm_result":"ONGOING","message":"ONGOING"}',
    ]);
    await on.client.ended(gid, 'succeed');
  });

  it('5.5.2, 5.5.6, 5.9.5: a tcc that nobody ends is cancelled after its timeout, and says so', async () => {
    const gid = freshGid('tcc-timeout');
    const named = { gid, trans_type: 'tcc' };
    await expectDone(byHttp('prepare', { ...named, timeout_to_fail: 1 }), SUCCESS_TEXT);
    await expectDone(byHttp('registerBranch', tccBranch(gid, '01')), SUCCESS_TEXT);
    const ended = await on.client.ended(gid, 'failed');
    expect(ended.rollback_reason).toBe('Timeout after 1 seconds');
    expect(on.participant.order(gid)).toEqual([`${gid}-cancel-01`]);
    expect((await byHttp('registerBranch', tccBranch(gid, '02'))).status).toBe(409);
    expect((await byHttp('submit', named)).status).toBe(409);
  });

  it('12.12: an abort that states another type pushes nothing', async () => {
    const gid = freshGid('w-abort');
    await byHttp('prepareWorkflow', { gid, trans_type: 'workflow' });
    const reply = await byHttp('abort', { gid, trans_type: 'tcc' });
    expect([reply.status, reply.text]).toEqual([
      409,
      failureText("trans type: 'workflow' current status 'prepared', cannot abort. FAILURE"),
    ]);
  });
});

describe('msg', () => {
  function msg(gid: string, steps: readonly object[], more: object = {}): object {
    const payloads = steps.map((_, at) => `{"step":${at + 1}}`);
    return { gid, trans_type: 'msg', steps, payloads, ...more };
  }

  it.each(PROTOCOLS)(
    'prepared and submitted over %s, it is sent in order',
    async (_, send, done) => {
      const gid = freshGid('msg');
      const steps = ['a', 'b'].map((name) => ({ action: on.participant.url(`${gid}-${name}`) }));
      await expectDone(send('prepare', msg(gid, steps)), done);
      await expectDone(send('submit', msg(gid, steps, { wait_result: true })), done);
      expect(on.participant.order(gid)).toEqual([`${gid}-a`, `${gid}-b`]);
      expect(await on.client.branches(gid)).toEqual(['succeed', 'succeed']);
    },
  );

  it('5.8.1: one that is never submitted is asked about, and sent when the answer says so', async () => {
    const [sent, dropped] = [freshGid('msg-sent'), freshGid('msg-dropped')];
    for (const [gid, answer] of [
      [sent, {}],
      [dropped, FAILURE],
    ] as const) {
      const check = on.participant.on(`${gid}-check`, answer);
      const steps = [{ action: on.participant.url(`${gid}-step`) }];
      const more = { query_prepared: check, timeout_to_fail: 1 };
      await expectDone(byHttp('prepare', msg(gid, steps, more)), SUCCESS_TEXT);
    }
    await on.client.ended(sent, 'succeed');
    await on.client.ended(dropped, 'failed');
    expect(on.participant.order(sent)).toEqual([`${sent}-check`, `${sent}-step`]);
    expect(on.participant.order(dropped)).toEqual([`${dropped}-check`]);
    const [check] = on.participant.callsOf(`${sent}-check`);
    expect([check?.method, check?.query.get('branch_id'), check?.query.get('op')]).toEqual([
      'GET',
      '00',
      'msg',
    ]);
    // The coordinator's own call is no branch.
    expect(await on.client.branches(sent)).toEqual(['succeed']);
  });

  it('5.1.1: an abort of a prepared one ends it without a call', async () => {
    const gid = freshGid('msg-abort');
    const steps = [{ action: on.participant.url(`${gid}-step`) }];
    await expectDone(byHttp('prepare', msg(gid, steps)), SUCCESS_TEXT);
    await expectDone(byHttp('abort', { gid, trans_type: 'msg' }), SUCCESS_TEXT);
    expect(await on.client.transaction(gid)).toMatchObject({ status: 'failed' });
    expect(on.participant.order(gid)).toEqual([]);
  });

  it('6, 11.13, 12.10: topics take effect at once, on every node', async () => {
    const topic = freshGid('topic');
    const urls = ['x', 'y'].map((name) => on.participant.url(`${topic}-${name}`));
    const change = (verb: string, url: string): Promise<Reply> =>
      on.client.get(`${verb}?topic=${topic}&url=${encodeURIComponent(url)}`);
    const publish = async (): Promise<Reply & { gid: string }> => {
      const gid = freshGid('fan');
      const body = msg(gid, [{ action: `topic://${topic}` }], { wait_result: true });
      return Object.assign(await byHttp('submit', body), { gid });
    };
    const ids = async (gid: string): Promise<readonly string[]> =>
      (await on.client.query(gid)).branches.map(({ branch_id }) => branch_id);
    const version = async (): Promise<unknown> => {
      const { json } = await on.client.get(`queryKV?cat=topics&key=${topic}`);
      return (json['kv'] as readonly Record<string, unknown>[]).map((kv) => kv['version']);
    };

    expect((await publish()).text).toBe('{"message":"topic not found"}');
    for (const url of urls) expect((await change('subscribe', url)).text).toBe(SUCCESS_TEXT);
    expect((await change('subscribe', urls[0] ?? '')).text).toBe('{"message":"this url exists"}');
    expect(await version()).toEqual([2]);
    const fanned = await publish();
    expect(fanned.text).toBe(SUCCESS_TEXT);
    expect(await ids(fanned.gid)).toEqual(['01-01', '01-02']);
    expect(on.participant.order(topic)).toEqual([`${topic}-x`, `${topic}-y`]);

    expect((await change('unsubscribe', urls[0] ?? '')).text).toBe(SUCCESS_TEXT);
    expect((await change('unsubscribe', urls[0] ?? '')).text).toBe('{"message":"no such an url "}');
    expect(await ids((await publish()).gid)).toEqual(['01']);

    const path = `/api/dtmsvr/topic/${topic}`;
    expect((await on.client.send('DELETE', path)).text).toBe(SUCCESS_TEXT);
    expect((await on.client.send('DELETE', path)).text).toBe('{"message":"storage: NotFound"}');
    expect((await publish()).text).toBe('{"message":"topic not found"}');
    expect(await version()).toEqual([]);
    expect((await change('subscribe', urls[1] ?? '')).text).toBe(SUCCESS_TEXT);
    expect(await version()).toEqual([1]);
    expect((await publish()).text).toBe(SUCCESS_TEXT);
  });

  it('1.4: scanKV pages through topics by an opaque cursor', async () => {
    const prefix = freshGid('scan');
    const names = ['a', 'b', 'c'].map((name) => `${prefix}-${name}`);
    for (const name of names) await on.client.get(`subscribe?topic=${name}&url=http://s/a`);
    const found: unknown[] = [];
    let position = '';
    do {
      const query = `cat=topics&limit=1&position=${encodeURIComponent(position)}`;
      const { json } = await on.client.get(`scanKV?${query}`);
      found.push(...(json['kv'] as readonly Record<string, unknown>[]).map((kv) => kv['k']));
      position = String(json['next_position']);
    } while (position !== '');
    expect(found.filter((name) => String(name).startsWith(prefix))).toEqual(names);
  });
});

describe('workflow', () => {
  const step = (gid: string, branchId: string, data: string): object => ({
    gid,
    trans_type: 'workflow',
    branch_id: branchId,
    op: 'action',
    status: 'succeed',
    data,
  });

  it('5.10.1, 5.10.3, 5.10.8, 11.23, 12.7: progress is recorded and shown to the next run; the end keeps what the start gave', async () => {
    const gid = freshGid('wf');
    const start = {
      gid,
      trans_type: 'workflow',
      query_prepared: on.participant.url(`${gid}-resume`),
      custom_data: JSON.stringify({ name: 'buy', data: null }),
    };
    const first = await byHttp('prepareWorkflow', start);
    expect(first.status).toBe(200);
    expect(first.json).toMatchObject({ progresses: [], transaction: { gid, status: 'prepared' } });
    await expectDone(byHttp('registerBranch', step(gid, '01', '{"ok":1}')), SUCCESS_TEXT);
    await expectDone(byHttp('registerBranch', step(gid, '01', '{"ok":1}')), SUCCESS_TEXT);
    const resumed = await byHttp('prepareWorkflow', start);
    expect(resumed.json['progresses']).toMatchObject([
      { branch_id: '01', op: 'action', status: 'succeed', bin_data: 'eyJvayI6MX0=' },
    ]);
    const end = { status: 'succeed', result: 'b2s=', rollback_reason: '' };
    await expectDone(byHttp('submit', { ...start, req_extra: end }), SUCCESS_TEXT);
    const after = await byHttp('prepareWorkflow', start);
    expect(after.json['transaction']).toMatchObject({
      status: 'succeed',
      result: 'b2s=',
      // 12.7: what prepareWorkflow stored is kept.
      custom_data: start.custom_data,
      query_prepared: start.query_prepared,
    });
    expect(await on.client.branches(gid)).toEqual(['succeed']);
    const { json } = await on.client.get('all?transType=workflow&limit=100');
    const all = json['transactions'] as readonly { readonly gid: string }[];
    expect(all.map((found) => found.gid)).toContain(gid);
  });

  it('12.11: the first record of a step stands, and other content is no business failure', async () => {
    const gid = freshGid('wf-first');
    const named = { gid, trans_type: 'workflow' };
    await byHttp('prepareWorkflow', named);
    await expectDone(byHttp('registerBranch', step(gid, '01', 'first')), SUCCESS_TEXT);
    const other = await byHttp('registerBranch', step(gid, '01', 'second'));
    expect([other.status, Object.keys(other.json)]).toEqual([500, ['message']]);
    const end = { status: 'failed', rollback_reason: 'no stock' };
    await expectDone(byHttp('submit', { ...named, req_extra: end }), SUCCESS_TEXT);
    expect(await on.client.transaction(gid)).toMatchObject({
      status: 'failed',
      rollback_reason: 'no stock',
    });
  });

  it('5.10.2, 5.10.5, 11.22: a client that falls silent is called back by POST, with its name and data', async () => {
    const gid = freshGid('wf-resume');
    const query_prepared = on.participant.url(`${gid}-resume`);
    const data = Buffer.from('{"id":1}').toString('base64');
    const start = { gid, trans_type: 'workflow', query_prepared, retry_interval: 1 };
    const custom_data = JSON.stringify({ name: 'buy', data });
    expect((await byHttp('prepareWorkflow', { ...start, custom_data })).status).toBe(200);
    const [call] = await on.participant.called(`${gid}-resume`);
    expect([call?.method, call?.body]).toEqual(['POST', '{"id":1}']);
    expect(Object.fromEntries(call?.query ?? [])).toEqual({
      branch_id: '00',
      gid,
      op: 'buy',
      trans_type: 'workflow',
    });
    const end = { status: 'succeed', result: '' };
    await expectDone(byHttp('submit', { ...start, req_extra: end }), SUCCESS_TEXT);
  });

  it('1.4: a submit of what is not prepared is 500', async () => {
    const gid = freshGid('wf-none');
    const body = { gid, trans_type: 'workflow', req_extra: { status: 'succeed' } };
    const { status, text } = await byHttp('submit', body);
    expect([status, text]).toEqual([500, '{"message":"storage: NotFound"}']);
  });
});
