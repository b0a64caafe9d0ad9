// JSON-RPC on the HTTP port; numbers are those of the dtm protocol reference (§2, defect 12.30).

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applied, saga, testApi, transaction } from '../fakes.ts';

function call(method: string, params: unknown = {}, id: unknown = '7'): object {
  return { jsonrpc: '2.0', id, method, params };
}
const NOTHING = '{"error":null,"id":"7","jsonrpc":"2.0","result":null}';

describe('calls (reference §2)', () => {
  it('11.37: newGid answers a gid without dtm_result', async () => {
    const reply = await testApi().rpc(call('newGid'));
    expect(reply.status).toBe(200);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(reply.text).toMatch(
      /^\{"error":null,"id":"7","jsonrpc":"2\.0","result":\{"gid":"[2-9A-HJ-NP-Za-km-z]{22}"\}\}$/,
    );
  });

  it.each(['prepare', 'submit', 'abort'])('%s answers null', async (method) => {
    const { coordinator, rpc } = testApi();
    expect(await rpc(call(method, saga()))).toMatchObject({ status: 200, text: NOTHING });
    expect(coordinator.requests).toMatchObject([{ kind: method }]);
  });

  it('registerBranch takes the flat map of the route', async () => {
    const { coordinator, rpc } = testApi();
    const branch = { gid: 'g', trans_type: 'xa', branch_id: '01', url: 'http://s/xa', op: null };
    expect((await rpc(call('registerBranch', branch))).text).toBe(NOTHING);
    expect(coordinator.requests).toMatchObject([
      { kind: 'registerBranch', registration: { kind: 'xa', url: 'http://s/xa' } },
    ]);
  });

  it('1.1: the gid is not cleaned here', async () => {
    const { coordinator, rpc } = testApi();
    await rpc(call('submit', saga({ gid: 'a;b' })));
    expect(coordinator.requests).toMatchObject([{ transaction: { gid: 'a;b' } }]);
    expect((await rpc(call('submit', saga({ gid: 'a\nb' })))).json.error).toMatchObject({
      code: -32_603,
    });
  });

  it('11.30: keys match in any case and of several the last wins, at every level', async () => {
    const { coordinator, rpc } = testApi();
    const text =
      '{"ID":"7","jsonrpc":"1.0","JsonRpc" : "2.0","params":{"gid":"no"},"Method":"abort",' +
      ' "PARAMS" : {"trans_type":"tcc","gid":"a","GID":"b","x":{"gid":"n"},"gid":"c"} }';
    expect((await rpc(text)).text).toBe(NOTHING);
    expect(coordinator.requests).toMatchObject([{ kind: 'abort', gid: 'c', type: 'tcc' }]);
  });

  it('waits as the routes do', async () => {
    const { coordinator, rpc } = testApi();
    coordinator.wait = { kind: 'final', transaction: transaction() };
    expect((await rpc(call('submit', saga({ wait_result: true })))).text).toBe(NOTHING);
    expect(coordinator.waits).toEqual(['pay-7']);
  });
});

describe('in an overload', () => {
  it('abort and registerBranch keep their place, and new work is refused', async () => {
    const { coordinator, rpc, get } = testApi({ flags: { 'api.inflightRequestsMax': '1' } });
    const held: (() => void)[] = [];
    coordinator.outcome = () => new Promise((resolve) => held.push(() => resolve(applied())));
    const first = rpc(call('submit', saga()));
    while (held.length < 1) await new Promise(setImmediate);
    for (const method of ['prepare', 'submit', 'newGid', 'unheardOf']) {
      expect(await rpc(call(method, saga()))).toMatchObject({
        status: 503,
        json: { code: 'OVERLOADED' },
      });
    }
    const branch = { gid: 'g', trans_type: 'tcc', branch_id: '01' };
    for (const [method, params] of [
      ['abort', { gid: 'g', trans_type: 'tcc' }],
      ['registerBranch', branch],
    ] as const) {
      const asked = held.length;
      const progress = rpc(call(method, params));
      while (held.length === asked) await new Promise(setImmediate);
      held.at(-1)?.();
      expect((await progress).text).toBe(NOTHING);
    }
    held[0]?.();
    expect((await first).text).toBe(NOTHING);
    expect((await get('/api/dtmsvr/newGid')).status).toBe(200);
  });
});

describe('errors (reference §2)', () => {
  it('a failure is -32901 with the text of the route', async () => {
    const { coordinator, rpc } = testApi();
    const message = "current status 'succeed', cannot sumbmit. FAILURE";
    coordinator.outcome = applied({ kind: 'failure', message });
    expect((await rpc(call('submit', saga(), 'no-use'))).text).toBe(
      `{"error":${JSON.stringify({ code: -32_901, message })},"id":"no-use","jsonrpc":"2.0","result":null}`,
    );
  });

  it('11.21: ongoing is -32603 with the word alone', async () => {
    const { coordinator, rpc } = testApi();
    coordinator.outcome = applied({ waitResult: true });
    coordinator.wait = { kind: 'notFinished', transaction: transaction({ status: 'aborting' }) };
    expect((await rpc(call('abort', { gid: 'a', trans_type: 'tcc' }))).json.error).toEqual({
      code: -32_603,
      message: 'ONGOING',
    });
  });

  it('what the log or a reader refuses is -32603', async () => {
    const { coordinator, rpc } = testApi();
    coordinator.outcome = applied({ kind: 'error', message: 'no TransGlobal with gid: X found' });
    expect((await rpc(call('abort', { gid: 'X' }))).json.error).toEqual({
      code: -32_603,
      message: 'no TransGlobal with gid: X found',
    });
    coordinator.requests.splice(0);
    for (const [method, params] of [
      ['submit', saga({ trans_type: 'nope' })],
      ['submit', null],
      ['submit', []],
      ['prepare', saga({ gid: 1 })],
      ['registerBranch', { gid: 'g', trans_type: 'tcc', branch_id: 1 }],
      ['registerBranch', { gid: 'g', trans_type: 'saga', branch_id: '1' }],
    ] as const) {
      const { status, json } = await rpc(call(method, params));
      expect([status, json.error]).toMatchObject([200, { code: -32_603 }]);
    }
    expect(coordinator.requests).toEqual([]);
  });

  it('P7: a condition of the cluster says its code in data, without a reserved word', async () => {
    const { coordinator, rpc } = testApi();
    coordinator.outcome = { kind: 'refused', code: 'NO_LEADER', message: 'x', retryAfterMs: 900 };
    const refused = await rpc(call('submit', saga({ gid: 'FAILURE' })));
    expect(refused).toMatchObject({
      status: 200,
      json: { error: { code: -32_603, data: { code: 'NO_LEADER', retryAfterMs: 900 } } },
    });
    coordinator.outcome = { kind: 'unknown', message: 'no answer' };
    const unknown = await rpc(call('submit', saga({ gid: 'FAILURE' }), 'ONGOING'));
    expect(unknown.json).toMatchObject({
      id: 'ONGOING',
      error: { code: -32_603, data: { code: 'OUTCOME_UNKNOWN', gid: 'FAILURE' } },
    });
    expect(unknown.text).not.toMatch(/FAILURE|ONGOING/);
  });

  it('an unknown method is -32601', async () => {
    for (const method of ['query', 'forceStop', 'constructor', '', 'NEWGID']) {
      const { status, json } = await testApi().rpc(call(method));
      expect([status, json.error]).toMatchObject([200, { code: -32_601 }]);
    }
  });

  it('an empty or missing id and another version are -32600', async () => {
    const { rpc } = testApi();
    for (const body of [
      call('newGid', {}, ''),
      { jsonrpc: '2.0', method: 'newGid' },
      { jsonrpc: '1.0', id: '7', method: 'newGid' },
      { id: '7', method: 'newGid' },
    ]) {
      const { status, json } = await rpc(body);
      expect([status, json.error]).toMatchObject([200, { code: -32_600 }]);
    }
  });

  it('12.30: numeric and null ids are taken and echoed to the last digit', async () => {
    for (const id of ['1', '0', '-1.5', '12345678901234567890', '1e400', 'null', '"a<b"']) {
      const text = `{"jsonrpc":"2.0","id": ${id} ,"method":"prepare","params":${JSON.stringify(saga())}}`;
      const echoed = id.replace('<', '\\u003c');
      expect((await testApi().rpc(text)).text).toBe(
        `{"error":null,"id":${echoed},"jsonrpc":"2.0","result":null}`,
      );
    }
  });

  it('11.21, 12.30: what cannot be parsed is 200 with -32700, an empty id and both keys', async () => {
    const { rpc } = testApi();
    for (const body of [
      '{',
      '',
      '[]',
      'null',
      '"x"',
      call('newGid', {}, {}),
      call('newGid', {}, true),
      { jsonrpc: 2, id: '7', method: 'newGid' },
      { jsonrpc: '2.0', id: '7', method: 1 },
      [call('newGid')],
      '['.repeat(100_000),
    ]) {
      const { status, json } = await rpc(body);
      expect(status).toBe(200);
      expect(Object.keys(json)).toEqual(['error', 'id', 'jsonrpc', 'result']);
      expect(json).toMatchObject({ error: { code: -32_700 }, id: '', result: null });
    }
  });

  it('what never becomes a call is answered by the server: starting, too long', async () => {
    const starting = await testApi({ open: false }).rpc(call('newGid'));
    expect(starting).toMatchObject({ status: 503, json: { code: 'STARTING' } });
    const { rpc } = testApi({
      flags: { 'api.bodyBytesMax': '1024', 'api.transactionBytesMax': '1024' },
    });
    expect((await rpc(call('submit', 'x'.repeat(2_000)))).status).toBe(413);
  });

  it('is counted as json-rpc in the metrics, whatever is called', async () => {
    const { rpc, metrics } = testApi();
    await rpc(call('newGid'));
    await rpc(call('nope'));
    const text = await metrics.text();
    expect(text).toContain('assent_api_requests_total{api="json-rpc",status="200"} 2');
    expect(text).not.toContain('api="nope"');
  });

  it('whatever is sent, the answer is one object of four keys, or no call', async () => {
    const { rpc, log } = testApi();
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('2.0', '7', '', null, 1, {}, [], saga()),
    );
    const method = fc.constantFrom('newGid', 'submit', 'abort', 'registerBranch', 'nope', 1);
    const body = fc.record(
      { jsonrpc: fc.constantFrom('2.0', '1'), id: value, method, params: value },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(body, value), async (sent) => {
        const { status, json } = await rpc(JSON.stringify(sent));
        expect([status, Object.keys(json)]).toEqual([200, ['error', 'id', 'jsonrpc', 'result']]);
      }),
      { numRuns: 200 },
    );
    expect(log.records).toEqual([]);
  });
});

describe('metrics of the routes', () => {
  it('11.35, 12.27: the label of a route never holds what a client wrote', async () => {
    const { get, delete: remove, post, metrics } = testApi();
    await get('/api/dtmsvr/subscribe?topic=secret&url=http://s/a');
    await get('/api/dtmsvr/queryKV?cat=topics&key=secret');
    await remove('/api/dtmsvr/topic/secret');
    await post('registerXaBranch', { gid: 'secret' });
    const text = await metrics.text();
    for (const api of ['subscribe', 'querykv', 'topic', 'registerxabranch']) {
      expect(text).toContain(`assent_api_requests_total{api="${api}",status=`);
    }
    expect(text).not.toContain('secret');
  });
});
