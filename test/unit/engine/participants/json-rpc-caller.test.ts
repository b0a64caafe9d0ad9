// JSON-RPC participants on real loopback services: the dtm reference §4.3 and §4.4, with the defects
// 12.3 and 12.4 repaired.

import { afterEach, describe, expect, it } from 'vitest';
import {
  allowAllEgress,
  DEFAULT_PARTICIPANTS_CONFIG,
  HttpCaller,
  JsonRpcCaller,
} from '../../../../src/engine/participants/index.ts';
import { readJsonRpcAnswer } from '../../../../src/engine/participants/json-rpc-form.ts';
import { realClock, seededRandom } from '../../../helpers/scheduler-clock.ts';
import {
  type Answer,
  branchCall,
  callOnce,
  startService,
  type TestService,
} from '../../../helpers/scheduler-http.ts';

const services: TestService[] = [];
const callers: HttpCaller[] = [];

afterEach(async () => {
  await Promise.all(callers.splice(0).map((caller) => caller.close()));
  await Promise.all(services.splice(0).map((service) => service.close()));
});

async function fixture(answer: Answer = (_request, response) => response.end('{"result":null}')) {
  const service = await startService(answer);
  services.push(service);
  const random = seededRandom(1);
  const http = new HttpCaller(
    { clock: realClock, random, egress: allowAllEgress },
    DEFAULT_PARTICIPANTS_CONFIG,
  );
  callers.push(http);
  const caller = new JsonRpcCaller(http, random);
  const url = `${service.origin}/api/json-rpc?method=TransIn&x=1`;
  const call = (payload: string, over: Parameters<typeof branchCall>[1] = {}) =>
    callOnce(
      caller,
      branchCall(url, {
        protocol: 'json-rpc',
        payload: new TextEncoder().encode(payload),
        ...over,
      }),
    );
  const params = () =>
    service.seen.map(({ body }) => (JSON.parse(body) as { params: unknown }).params);
  return { service, call, params, http };
}

const IDS = { gid: 'g1', trans_type: 'saga', branch_id: '01', op: 'action' };

describe('the request (dtm reference 4.3)', () => {
  it('4.3 is a POST to the URL as it is, of the method that the URL names', async () => {
    const { service, call } = await fixture();
    const outcome = await call('{"amount":30}', { headers: { 'x-tenant': '7' } });
    expect(outcome.kind).toBe('success');
    await call('{"amount":30}');
    const [first, second] = service.seen;
    expect(first).toMatchObject({ method: 'POST', url: '/api/json-rpc?method=TransIn&x=1' });
    expect(first?.headers).toMatchObject({ 'content-type': 'application/json', 'x-tenant': '7' });
    const body = JSON.parse(first?.body ?? '') as Record<string, unknown>;
    expect(body).toEqual({
      id: expect.stringMatching(/^[2-9A-HJ-NP-Za-km-z]{22}$/) as unknown,
      jsonrpc: '2.0',
      method: 'TransIn',
      params: { amount: 30, ...IDS },
    });
    expect((JSON.parse(second?.body ?? '') as { id: string }).id).not.toBe(body['id']);
  });

  it('4.3 the four ids overwrite what the payload calls so', async () => {
    const { call, params } = await fixture();
    await call('{"gid":"mine","op":1,"a":{"gid":"inner"}}');
    expect(params()).toEqual([{ a: { gid: 'inner' }, ...IDS }]);
  });

  it.each(['', 'null', '[1]', '7', '"text"', '{}', ' { } '])(
    '12.4 the payload "%s" stands for params of the four ids',
    async (payload) => {
      const { call, params } = await fixture();
      expect((await call(payload)).kind).toBe('success');
      expect(params()).toEqual([IDS]);
    },
  );

  it('4.3 numbers keep every digit', async () => {
    const { service, call } = await fixture();
    await call(' {"amount":12345678901234567890.10} ');
    expect(service.seen[0]?.body).toContain('"amount":12345678901234567890.10,"gid":"g1"');
  });

  it('4.3 a payload that is not JSON ends unknown, unsent', async () => {
    const { service, call } = await fixture();
    expect(await call('{"a":')).toMatchObject({
      kind: 'unknown',
      detail: 'the payload of a JSON-RPC call is not JSON',
    });
    expect(service.seen).toEqual([]);
  });

  it('shares the targets of HTTP', async () => {
    let seen: readonly unknown[] = [];
    const f = await fixture((_request, response) => {
      seen = f.http.targets();
      response.end('{"result":null}');
    });
    await f.call('{}');
    expect(seen).toMatchObject([{ target: f.service.origin, inflight: 1 }]);
  });
});

describe('the answer (dtm reference 4.4)', () => {
  it.each([
    [200, '{"jsonrpc":"2.0","id":"1","result":{},"error":null}', 'success'],
    [200, '{"result":null}', 'success'],
    [200, '{"error":{"code":-32901,"message":"stock gone"}}', 'failure'],
    [200, '{"error":{"code":-32902,"message":"wait"}}', 'ongoing'],
    [200, '{"error":{"code":-32603,"message":"x"}}', 'unknown'],
    [200, '{"error":{"code":"-32901"}}', 'unknown'],
    [200, '{"error":"text"}', 'unknown'],
    [200, '{"error":{"code":-32603,"message":"no. FAILURE"}}', 'failure'],
    [200, '{"error":{"code":-32901,"message":"ONGOING"}}', 'ongoing'],
    [409, '{"result":null}', 'failure'],
    [425, '{"result":null}', 'ongoing'],
    [500, '{"error":{"code":-32901}}', 'unknown'],
    [200, 'not json', 'unknown'],
    [200, '[]', 'unknown'],
  ] as const)('4.4, 12.3 status %i with %s is %s', (status, text, kind) => {
    expect(readJsonRpcAnswer(status, text)).toBe(kind);
  });

  it('12.3 the codes of failure and ongoing are recognised', async () => {
    const answers = [-32901, -32902];
    const { call } = await fixture((_request, response) =>
      response.end(`{"error":{"code":${answers.shift()},"message":"m"},"result":{}}`),
    );
    expect((await call('{}')).kind).toBe('failure');
    expect((await call('{}')).kind).toBe('ongoing');
  });
});
