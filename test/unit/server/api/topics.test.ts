// Topics and the KV that shows them; numbers are those of the dtm protocol reference.

import { describe, expect, it } from 'vitest';
import { applied, testApi } from '../fakes.ts';

const OK = '{"dtm_result":"SUCCESS"}';
const CREATED_MS = Date.UTC(2026, 0, 5, 2, 0, 1, 200);
const TOPIC = {
  name: 'orders',
  version: 1,
  createTimeMs: CREATED_MS,
  updateTimeMs: CREATED_MS,
  subscribers: [{ url: 'http://s/o', remark: '' }],
};
const KV =
  '{"id":0,"create_time":"2026-01-05T10:00:01.2+08:00","update_time":"2026-01-05T10:00:01.2+08:00",' +
  '"cat":"topics","k":"orders","v":"[{\\"url\\":\\"http://s/o\\",\\"remark\\":\\"\\"}]","version":1}';

describe('subscribe, unsubscribe, delete (reference §1.4, §6)', () => {
  it('11.39: the first two are GET with side effects, the last is DELETE', async () => {
    const { coordinator, get, delete: remove } = testApi();
    const url = encodeURIComponent('http://s/a?x=1&y=2');
    for (const path of [
      `subscribe?topic=orders&url=${url}&remark=first`,
      `unsubscribe?topic=orders&url=${url}`,
    ]) {
      expect(await get(`/api/dtmsvr/${path}`)).toMatchObject({ status: 200, text: OK });
    }
    expect(await remove('/api/dtmsvr/topic/a%20b%2Fc')).toMatchObject({ status: 200, text: OK });
    expect(coordinator.requests).toEqual([
      { kind: 'subscribe', topic: 'orders', url: 'http://s/a?x=1&y=2', remark: 'first' },
      { kind: 'unsubscribe', topic: 'orders', url: 'http://s/a?x=1&y=2' },
      { kind: 'deleteTopic', topic: 'a b/c' },
    ]);
  });

  it('what is missing is named in the words of dtm', async () => {
    const { coordinator, get } = testApi();
    for (const name of ['subscribe', 'unsubscribe']) {
      expect(await get(`/api/dtmsvr/${name}?url=http://s/a`)).toMatchObject({
        status: 500,
        text: '{"message":"empty topic"}',
      });
      expect(await get(`/api/dtmsvr/${name}?topic=orders`)).toMatchObject({
        status: 500,
        text: '{"message":"empty url"}',
      });
    }
    expect(coordinator.requests).toEqual([]);
  });

  it('11.39: what the log says keeps its blank at the end', async () => {
    const { coordinator, get } = testApi();
    coordinator.outcome = applied({ kind: 'error', message: 'no such an url ' });
    expect(await get('/api/dtmsvr/unsubscribe?topic=orders&url=http://s/a')).toMatchObject({
      status: 500,
      text: '{"message":"no such an url "}',
    });
  });

  it('12.13: a URL to which no message could ever be sent is refused', async () => {
    const { coordinator, get } = testApi();
    for (const url of ['nowhere', 'ftp://a/b', 'topic://other', '/x']) {
      const reply = await get(`/api/dtmsvr/subscribe?topic=t&url=${encodeURIComponent(url)}`);
      expect([reply.status, reply.json.message]).toEqual([
        500,
        expect.stringMatching(/^url must be/),
      ]);
    }
    expect((await get('/api/dtmsvr/subscribe?topic=t&url=h:1/p.S/M')).status).toBe(200);
    expect(coordinator.requests).toHaveLength(1);
  });

  it('a name in a path may be as long as a name may be, and no longer', async () => {
    const { coordinator, delete: remove } = testApi();
    expect((await remove(`/api/dtmsvr/topic/${'x'.repeat(256)}`)).status).toBe(200);
    expect((await remove(`/api/dtmsvr/topic/${'x'.repeat(257)}`)).status).toBe(500);
    expect((await remove('/api/dtmsvr/topic/a%00b')).status).toBe(500);
    expect((await remove('/api/dtmsvr/topic/')).status).toBe(500);
    expect((await remove('/api/dtmsvr/topic')).status).toBe(404);
    expect(coordinator.requests).toHaveLength(1);
  });
});

describe('scanKV and queryKV', () => {
  it('show a topic as dtm does (reference Appendix C)', async () => {
    const { coordinator, get } = testApi();
    coordinator.topicPage = { kind: 'value', value: { topics: [TOPIC], nextPosition: 'x1' } };
    expect((await get('/api/dtmsvr/queryKV?cat=topics&key=orders')).text).toBe(`{"kv":[${KV}]}`);
    expect((await get('/api/dtmsvr/scanKV?cat=topics&limit=1&position=x0')).text).toBe(
      `{"kv":[${KV}],"next_position":"x1"}`,
    );
    expect(coordinator.topicFilters).toEqual([
      { name: 'orders', position: '', limit: 1_000 },
      { name: '', position: 'x0', limit: 1 },
    ]);
  });

  it('6: a topic that lost its last subscriber shows an empty array', async () => {
    const { coordinator, get } = testApi();
    const topics = [{ ...TOPIC, version: 2, subscribers: [] }];
    coordinator.topicPage = { kind: 'value', value: { topics, nextPosition: '' } };
    const { json } = await get('/api/dtmsvr/queryKV?cat=topics&key=orders');
    expect(json.kv).toMatchObject([{ v: '[]', version: 2 }]);
  });

  it('1.4: nothing found is [], of a category that nobody uses too', async () => {
    const { coordinator, get } = testApi();
    expect((await get('/api/dtmsvr/queryKV?cat=topics&key=none')).text).toBe('{"kv":[]}');
    expect((await get('/api/dtmsvr/queryKV?cat=other&key=none')).text).toBe('{"kv":[]}');
    expect((await get('/api/dtmsvr/scanKV?cat=other')).text).toBe('{"kv":[],"next_position":""}');
    expect(coordinator.topicFilters).toHaveLength(1);
  });

  it('1.4: an empty category means every one, an empty key all of it, the limit is 100', async () => {
    const { coordinator, get } = testApi();
    await get('/api/dtmsvr/queryKV');
    await get('/api/dtmsvr/scanKV');
    expect(coordinator.topicFilters).toEqual([
      { name: '', position: '', limit: 1_000 },
      { name: '', position: '', limit: 100 },
    ]);
    expect(await get('/api/dtmsvr/scanKV?cat=topics&limit=abc')).toMatchObject({
      status: 500,
      json: { message: 'convert to int error: abc' },
    });
  });

  it('a position that this server did not give out is refused', async () => {
    const { coordinator, get } = testApi();
    coordinator.topicPage = { kind: 'badPosition' };
    expect((await get('/api/dtmsvr/scanKV?cat=topics&position=junk')).status).toBe(500);
  });
});
