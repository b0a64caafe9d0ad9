// Bodies: what is read as dtm reads it, and what is refused (reference §1.1, §1.3, §11.30, §12).

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OperationRequest, TransactionInput } from '../../../../src/engine/machine/index.ts';
import { saga, type TestApi, testApi } from '../fakes.ts';

async function accepted(
  body: unknown,
  flags: Readonly<Record<string, string>> = {},
): Promise<TransactionInput> {
  const { coordinator, post } = testApi({ flags });
  const reply = await post('submit', body);
  expect(reply.text).toBe('{"dtm_result":"SUCCESS"}');
  const [request] = coordinator.requests as [OperationRequest & { kind: 'submit' }];
  return request.transaction;
}

async function refused(
  body: unknown,
  flags: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { coordinator, post } = testApi({ flags });
  const reply = await post('submit', body);
  expect(reply.status).toBe(500);
  expect(Object.keys(reply.json)).toEqual(['message']);
  expect(coordinator.requests).toEqual([]);
  return reply.json.message;
}

function texts(payloads: readonly Uint8Array[] | undefined): readonly string[] {
  return (payloads ?? []).map((payload) => Buffer.from(payload).toString());
}

const ROUTES = ['submit', 'abort', 'prepareWorkflow', 'registerBranch'] as const;

describe('11.30: what a strict parser would refuse', () => {
  it('unknown keys are ignored, whatever their type', async () => {
    await accepted(
      saga({
        subType: 1,
        sub_branch_id: 7,
        barrier_id: 0,
        passthrough_headers: [],
        op: {},
        dtm: null,
      }),
    );
  });

  it('keys match in any case', async () => {
    const input = await accepted('{"GID":"a","Trans_Type":"saga","WAIT_RESULT":false}');
    expect([input.gid, input.type]).toEqual(['a', 'saga']);
  });

  it('of duplicate keys the last wins, in one spelling or in several', async () => {
    for (const [body, gid] of [
      ['{"gid":"a","trans_type":"saga","gid":"b"}', 'b'],
      ['{"gid":"a","GID":"b","trans_type":"saga"}', 'b'],
      ['{"GID":"b","gid":"a","trans_type":"saga"}', 'a'],
      ['{"gid":"a","GID":"b","trans_type":"saga","gid":"c"}', 'c'],
      [
        '{"x":{"gid":"n","y":["gid"]},"gid":"a","Gid":"b","trans_type":"saga","gi\\u0064":"d"}',
        'd',
      ],
    ] as const) {
      expect((await accepted(body)).gid).toBe(gid);
    }
  });

  it('null leaves every field at its zero value (C#, Python)', async () => {
    const input = await accepted({
      ...saga(),
      query_prepared: null,
      protocol: null,
      custom_data: null,
      rollback_reason: null,
      branch_headers: null,
      wait_result: null,
      timeout_to_fail: null,
      concurrent: null,
    });
    expect(input).toMatchObject({
      queryPrepared: undefined,
      protocol: undefined,
      customData: undefined,
      rollbackReason: undefined,
      options: {},
    });
  });

  it('zeros and empty texts are "not given" (Python, Go)', async () => {
    const zeros = { timeout_to_fail: 0, request_timeout: 0, retry_interval: 0, retry_limit: 0 };
    const input = await accepted(saga({ ...zeros, protocol: '', concurrent: false }));
    expect(input.options).toEqual({});
    expect(input.protocol).toBeUndefined();
  });

  it('12.35: branch_headers as an empty array is an empty map; a filled array is an error', async () => {
    expect((await accepted(saga({ branch_headers: [] }))).options).toEqual({});
    expect(await refused(saga({ branch_headers: ['a'] }))).toBe(
      'branch_headers must be an object of strings, got ["a"]',
    );
  });

  it('gid loses ; CR and LF', async () => {
    expect((await accepted(saga({ gid: 'a;b\r\nc' }))).gid).toBe('abc');
  });
});

describe('wrong types are errors that name field, value and what is allowed', () => {
  it.each([
    [saga({ gid: 1 }), 'gid must be a string, got 1'],
    [saga({ trans_type: ['saga'] }), 'trans_type must be a string, got ["saga"]'],
    [saga({ wait_result: 'yes' }), 'wait_result must be true or false, got "yes"'],
    [saga({ steps: {} }), 'steps must be an array, got {}'],
    [saga({ steps: ['a'] }), 'steps[0] must be an object of strings, got "a"'],
    [saga({ steps: [{ action: 1 }] }), 'steps[0].action must be a string, got 1'],
    [saga({ payloads: [{ a: 1 }] }), 'payloads[0] must be a string, got {"a":1}'],
    [saga({ custom_data: {} }), 'custom_data must be a string, got {}'],
    [[], 'the body must be a JSON object, got []'],
    ['"text"', 'the body must be a JSON object, got "text"'],
    ['null', 'gid must not be empty'],
    ['', 'unexpected end of JSON input'],
  ])('%j', async (body, message) => {
    expect(await refused(body)).toBe(message);
  });

  it.each(['abort', 'forceStop', 'resetNextCronTime', 'prepare'])(
    '%s refuses what is no JSON with 500 and a message',
    async (name) => {
      const { coordinator, post } = testApi();
      const reply = await post(name, '{');
      expect([reply.status, Object.keys(reply.json)]).toEqual([500, ['message']]);
      expect(coordinator.requests).toEqual([]);
    },
  );
});

describe('steps and payloads', () => {
  it('11.33: payloads come before steps[].data', async () => {
    const steps = [{ action: 'http://a/1', data: 'x' }, { action: 'http://a/2' }];
    expect(texts((await accepted(saga({ steps, payloads: ['p'] }))).payloads)).toEqual(['p', 'x']);
    const legacy = [{ action: 'http://a/1', data: '{"a":1}' }];
    expect(texts((await accepted(saga({ steps: legacy, payloads: null }))).payloads)).toEqual([
      '{"a":1}',
    ]);
  });

  it('12.13: a payload that JSON-RPC could never send is refused', async () => {
    const steps = [
      { action: 'http://a/x', compensate: '' },
      { action: 'http://a/rpc?method=Out', compensate: '' },
    ];
    const body = { steps, protocol: 'json-rpc' };
    for (const payload of ['', ' ', 'null', '{}', '{"a":1}', '[1]', '"text"', '7']) {
      const { post } = testApi();
      const reply = await post('submit', saga({ ...body, payloads: ['any', payload] }));
      expect([payload, reply.status]).toEqual([payload, 200]);
    }
    const { post, coordinator } = testApi();
    for (const payload of ['any', '{', '{"a":1}x']) {
      const reply = await post('submit', saga({ ...body, payloads: ['{}', payload] }));
      expect([reply.status, reply.json.message]).toEqual([
        500,
        expect.stringMatching(/^payloads\[1\] must be JSON to be sent by JSON-RPC/),
      ]);
    }
    expect(coordinator.requests).toEqual([]);
    // By HTTP any bytes may be sent.
    expect((await post('submit', saga({ steps, payloads: ['any', 'any'] }))).status).toBe(200);
  });

  it('12.13: fewer payloads than steps are refused', async () => {
    const steps = [{ action: '' }, { action: '' }];
    expect(await refused(saga({ steps, payloads: ['1'] }))).toBe(
      'payloads must be one for each of 2 steps, got 1',
    );
  });

  it('payloads beyond the steps are dropped; a null one is empty', async () => {
    const input = await accepted(saga({ payloads: [null, 'beyond'] }));
    expect(texts(input.payloads)).toEqual(['']);
  });

  it('100 steps are kept in order; empty URLs are allowed', async () => {
    const steps = Array.from({ length: 100 }, (_, i) => ({ action: `http://a/${i}` }));
    const input = await accepted(saga({ steps, payloads: steps.map((_, i) => String(i)) }));
    expect(input.steps?.map(({ action }) => action)).toEqual(steps.map(({ action }) => action));
    expect(input.steps?.[0]?.compensate).toBe('');
  });

  it('payloads keep their bytes: escapes, astral characters, and U+FFFD for half of one', async () => {
    const input = await accepted(
      '{"gid":"a","trans_type":"saga","steps":[{},{},{}],"payloads":["{\\"a\\":\\"\\u00e9\\"}","\\ud83d\\ude00","\\ud800"]}',
    );
    expect(texts(input.payloads)).toEqual(['{"a":"é"}', '😀', '\ufffd']);
  });

  it('12.13: URLs that can never be called are refused', async () => {
    for (const action of ['localhost:8080/x', 'ftp://a/b', 'http://', 'http://a/\nb', '/path']) {
      expect(await refused(saga({ steps: [{ action }] }))).toMatch(/^steps\[0\]\.action must /);
    }
  });
});

describe('what only some types and protocols have', () => {
  it.each(['saga', 'tcc', 'xa', 'msg'])(
    '10.4, 10.6: a bare gid and type are enough: %s',
    async (type) => {
      expect(await accepted({ gid: 'a', trans_type: type })).toEqual({
        gid: 'a',
        type,
        steps: undefined,
        payloads: undefined,
        queryPrepared: undefined,
        protocol: undefined,
        customData: undefined,
        rollbackReason: undefined,
        options: {},
      });
    },
  );

  it('1.3: a message may name a topic, and nothing else may', async () => {
    const steps = [{ action: 'topic://orders' }];
    const msg = { gid: 'm', trans_type: 'msg', steps, payloads: ['1'] };
    expect((await accepted(msg)).steps).toEqual([{ action: 'topic://orders', compensate: '' }]);
    expect(await refused({ ...msg, steps: [{ action: 'topic://' }] })).toMatch(/^steps\[0\]/);
    expect(await refused({ ...msg, trans_type: 'saga' })).toMatch(/^steps\[0\]\.action must/);
  });

  it('12.13: query_prepared must be callable where it is called', async () => {
    const msg = { gid: 'm', trans_type: 'msg', query_prepared: 'nowhere' };
    expect(await refused(msg)).toMatch(/^query_prepared must be empty or an http/);
    expect(await refused({ ...msg, protocol: 'grpc' })).toMatch(
      /^query_prepared must be empty, an/,
    );
    const grpc = { ...msg, protocol: 'grpc', query_prepared: 'ap:58081/busi.Busi/QueryPrepared' };
    expect((await accepted(grpc)).queryPrepared).toBe(grpc.query_prepared);
    expect((await accepted({ ...msg, trans_type: 'saga' })).queryPrepared).toBe('nowhere');
  });

  it('4.1: with grpc and json-rpc a URL without a scheme is gRPC; http URLs mix', async () => {
    const steps = [
      { action: 'a:58081/busi.Busi/TransIn', compensate: 'http://a/undo' },
      { action: 'http://a/api/json-rpc?method=TransIn' },
    ];
    for (const protocol of ['grpc', 'json-rpc']) {
      await accepted(saga({ steps, payloads: ['1', '2'], protocol }));
    }
    for (const action of ['noslash', '/busi.Busi/TransIn', 'dns://a/b', 'a b/c', 'a:1/']) {
      expect(await refused(saga({ steps: [{ action }], protocol: 'grpc' }))).toMatch(
        /^steps\[0\]\.action must be empty, an http/,
      );
    }
  });

  it('12.33: what travels as gRPC metadata is printable ASCII, or refused', async () => {
    const grpc = { protocol: 'grpc' };
    expect(await refused(saga({ ...grpc, gid: '订单-1' }))).toMatch(/^gid must be printable ASCII/);
    for (const headers of [{ a: 'é' }, { 'a-bin': 'x' }, { 'grpc-timeout': '1S' }, { 'a!': 'x' }]) {
      expect(await refused(saga({ ...grpc, branch_headers: headers }))).toMatch(/^branch_headers/);
      if (!('a' in headers)) await accepted(saga({ branch_headers: headers }));
    }
    await accepted(saga({ ...grpc, branch_headers: { 'X-Tenant': '7 a' } }));
  });

  it('1.3: req_extra is a map of texts or null, and counts in the bound of all texts', async () => {
    expect(await refused(saga({ req_extra: { status: 1 } }))).toBe(
      'req_extra.status must be a string, got 1',
    );
    const extra = { status: 'succeed', result: 'x'.repeat(2_001) };
    const body = { gid: 'w', trans_type: 'workflow', req_extra: extra };
    expect(await refused(body, { 'api.transactionBytesMax': '2000' })).toContain('2000 bytes');
    expect((await accepted(body)).workflowEnd).toMatchObject({ status: 'succeed' });
    expect((await accepted(saga({ req_extra: [] }))).workflowEnd).toBeUndefined();
  });
});

describe('abuse of bodies', () => {
  it('1: a body of one brace', async () => {
    expect(await refused('{')).toMatch(/^the body is not valid JSON/);
  });

  it('8: 200 000 opening brackets are refused at once', async () => {
    const startedMs = performance.now();
    expect(await refused('['.repeat(200_000))).toBe('the JSON body has more than 64 levels');
    expect(await refused(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)).toContain('levels');
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  it('9: an object of a million keys is refused before it is built', async () => {
    const keys = Array.from({ length: 600_000 }, (_, i) => `"${i}":0`).join(',');
    expect(await refused(`{${keys}}`)).toBe('the JSON body has more than 20000 values');
  });

  it('10: __proto__ and constructor change nothing', async () => {
    const body = `{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},${JSON.stringify(saga()).slice(1)}`;
    await accepted(body);
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    expect(
      await refused('{"gid":"a","trans_type":"saga","branch_headers":{"__proto__":"x"}}'),
    ).toBe('branch_headers must not set "__proto__"');
  });

  it('14: a gid that is too long, empty, or holds control characters is refused, and shown safely', async () => {
    for (const gid of ['x'.repeat(10_240), '', 'é'.repeat(129), ';\r\n']) {
      expect(await refused(saga({ gid }))).toMatch(/^gid must /);
    }
    for (const gid of ['a\u0000', '\u202etext', 'a\u001b[31m', '\u0085', '\u2028']) {
      const message = await refused(saga({ gid }));
      expect(message).toMatch(/^gid must not contain control characters/);
      expect(message).toMatch(/^[ -~]*$/);
    }
    // Nothing here is a file name or a header: dtm's clients may use these.
    for (const gid of ['../../etc', '%00', "a'--", '<img src=x>', '订单-1', 'x'.repeat(256)]) {
      expect((await accepted(saga({ gid }))).gid).toBe(gid);
    }
  });

  it('15: trans_type is one of a closed set, without prototype look-up', async () => {
    for (const type of ['constructor', '__proto__', 'nope', '', 'SAGA', 'toString']) {
      expect(await refused(saga({ trans_type: type }))).toBe(
        `trans_type must be one of saga, tcc, xa, msg, workflow, got ${JSON.stringify(type)}`,
      );
    }
  });

  it('33, 12.33: headers that cannot be sent are refused and named', async () => {
    for (const [name, value] of [
      ['Host', 'x'],
      ['Content-Length', '0'],
      ['transfer-encoding', 'chunked'],
      ['X', 'a\r\nY: b'],
      ['é', '1'],
      ['a b', '1'],
      ['', '1'],
    ] as const) {
      expect(await refused(saga({ branch_headers: { [name]: value } }))).toMatch(/^branch_headers/);
    }
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, '']));
    expect(await refused(saga({ branch_headers: many }))).toContain('at most 64');
    expect(await refused(saga({ branch_headers: { a: 'x'.repeat(9_000) } }))).toContain('8192');
    const input = await accepted(
      saga({ branch_headers: { 'x-tenant': '7', traceparent: 'junk' } }),
    );
    expect(input.options.branchHeaders).toEqual({ 'x-tenant': '7', traceparent: 'junk' });
  });

  it('35: integers out of range, fractions and texts are refused', async () => {
    for (const name of ['timeout_to_fail', 'request_timeout', 'retry_interval', 'retry_limit']) {
      for (const value of ['-1', '1e400', '"5"', '9007199254740993', '1.5', 'true']) {
        const body = JSON.stringify(saga()).replace('{', `{"${name}":${value},`);
        expect(await refused(body)).toMatch(new RegExp(`^${name} must be an integer from 0 to `));
      }
    }
  });

  it('36: 10 000 steps are refused', async () => {
    const steps = Array.from({ length: 10_000 }, () => ({ action: '' }));
    expect(await refused(saga({ steps }), { 'api.jsonValuesMax': '100000' })).toBe(
      'steps must be at most 1000, got 10000',
    );
    expect(await refused(saga({ steps }))).toBe('the JSON body has more than 20000 values');
  });

  it('payloads and texts have a bound together', async () => {
    const flags = { 'api.transactionBytesMax': '2000' };
    expect(await refused(saga({ payloads: ['x'.repeat(2_000)] }), flags)).toContain('2000 bytes');
    expect(await refused(saga({ custom_data: 'x'.repeat(2_000) }), flags)).toContain('2000 bytes');
  });

  it('a body that is not UTF-8 is refused', async () => {
    expect(await refused(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]))).toBe(
      'the body is not valid UTF-8',
    );
  });

  it('no body makes the server fail, or passes on what was not checked', {
    timeout: 20_000,
  }, async () => {
    const api: TestApi = testApi();
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(
        '',
        'saga',
        'workflow',
        'xa',
        'http',
        'http://a/b',
        0,
        -1,
        1e300,
        null,
        [],
        {},
      ),
    );
    const keys = ['gid', 'GID', 'trans_type', 'steps', 'payloads', 'branch_headers', 'protocol'];
    keys.push('req_extra', 'branch_id', 'data', 'url', 'op', 'status');
    const body = fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value);
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom(...ROUTES), async (fields, name) => {
        const { status } = await api.post(name, fields);
        expect([200, 400, 500, 504]).toContain(status);
        for (const request of api.coordinator.requests.splice(0)) {
          const gid =
            'transaction' in request ? request.transaction.gid : 'gid' in request && request.gid;
          expect(gid).toMatch(/^[^\p{Cc}]{1,256}$/u);
        }
        expect(api.log.records).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('abuse of parameters', () => {
  it('54: limits are clamped or refused in words of dtm, positions bounded', async () => {
    const { coordinator, get } = testApi();
    for (const [limit, clamped] of [
      ['1000000', 1_000],
      ['-1', 1],
      ['0', 1],
    ] as const) {
      expect((await get(`/api/dtmsvr/all?limit=${limit}`)).status).toBe(200);
      expect(coordinator.filters.pop()?.limit).toBe(clamped);
    }
    for (const [query, shown] of [
      ['limit=0x10', '0x10'],
      ['limit=abc', 'abc'],
      ['createTimeStart=1e3', '1e3'],
    ] as const) {
      expect(await get(`/api/dtmsvr/all?${query}`)).toMatchObject({
        status: 500,
        json: { message: `convert to int error: ${shown}` },
      });
    }
    expect((await get(`/api/dtmsvr/all?position=${'x'.repeat(2_000)}`)).status).toBe(500);
    expect(coordinator.filters).toEqual([]);
  });

  it('14: a gid that cannot exist is simply unknown to query and all', async () => {
    const { get } = testApi();
    for (const gid of ['x'.repeat(10_240), '%00', '%E2%80%AE']) {
      expect((await get(`/api/dtmsvr/query?gid=${gid}`)).json.transaction).toBeNull();
      expect((await get(`/api/dtmsvr/all?gid=${gid}`)).json.transactions).toBeNull();
    }
  });

  it('of a parameter given twice the first counts', async () => {
    const { coordinator, get } = testApi();
    await get('/api/dtmsvr/all?limit=3&limit=4');
    expect(coordinator.filters.pop()?.limit).toBe(3);
  });
});
