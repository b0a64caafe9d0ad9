// What needs a real connection: bytes that are no request, limits of receiving, closing.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { saga, type TestApi, testApi } from '../fakes.ts';

const open: TestApi[] = [];

async function listening(flags: Readonly<Record<string, string>> = {}) {
  const test = testApi({ flags });
  open.push(test);
  const { port } = await test.api.listen({ host: '127.0.0.1', port: 0 });
  return { ...test, port };
}

afterEach(async () => {
  for (const { api } of open.splice(0)) await api.close();
});

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  // A reset after the answer is the server's right.
  socket.on('error', () => undefined);
  return socket;
}

/** Everything the server says until it closes. */
async function spoken(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(socket, 'close');
  return text;
}

const HEAD = 'POST /api/dtmsvr/submit HTTP/1.1\r\nHost: a\r\n';

describe('abuse of connections', () => {
  it('2: a body one byte too long is 413 and the connection is closed', async () => {
    const { port, coordinator, metrics } = await listening({
      'api.transactionBytesMax': '1024',
      'api.bodyBytesMax': '2048',
    });
    const declared = dial(port);
    declared.write(`${HEAD}Content-Length: 2049\r\n\r\n${'x'.repeat(100)}`);
    const reply = await spoken(declared);
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
    expect(reply).toMatch(/connection: close/i);
    expect(reply).toContain('"code":"BODY_TOO_LARGE"');
    const chunked = dial(port);
    chunked.write(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    chunked.write(`801\r\n${'x'.repeat(2_049)}\r\n`);
    expect(await spoken(chunked)).toMatch(/^HTTP\/1\.1 413 /);
    expect(coordinator.requests).toEqual([]);
    expect(await metrics.text()).toMatch(/assent_api_inflight_bytes 0\n/);
  });

  it('3, 4: a request that does not arrive is 408, and others are served meanwhile', async () => {
    const flags = { 'api.receiveTimeoutMs': '200', 'api.headersTimeoutMs': '200' };
    const { port, get } = await listening(flags);
    const slow = Array.from({ length: 20 }, (_, i) => {
      const socket = dial(port);
      socket.write(
        i % 2 === 0 ? `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n` : 'GET / HTTP/1.1\r\nA',
      );
      return spoken(socket);
    });
    expect((await get('/readyz')).status).toBe(200);
    for (const reply of await Promise.all(slow)) {
      expect(reply).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
      expect(reply).toContain('"code":"RECEIVE_TIMEOUT"');
    }
  });

  it('5: headers that are too long are 431', async () => {
    const { port } = await listening();
    const socket = dial(port);
    socket.write(`${HEAD}X: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(await spoken(socket)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it.each([
    [
      '6: both Content-Length and Transfer-Encoding',
      `${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`,
    ],
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n'],
    ['a missing Host', 'GET /api/ping HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a malformed path', 'GET /api/%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'],
  ])('%s is 400', async (_name, bytes) => {
    const { port } = await listening();
    const socket = dial(port);
    socket.write(bytes);
    expect(await spoken(socket)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('a client that goes away in the middle of a body leaves nothing behind', async () => {
    const { port, api, metrics, coordinator } = await listening();
    const socket = dial(port);
    socket.write(`${HEAD}Content-Length: 100\r\n\r\n{"gid"`);
    const inflight = async () => /inflight_bytes (\d+)/.exec(await metrics.text())?.[1];
    while ((await inflight()) !== '6') await new Promise(setImmediate);
    socket.destroy();
    while ((await inflight()) !== '0') await new Promise(setImmediate);
    expect(await metrics.text()).toMatch(/assent_api_inflight_requests 0\n/);
    expect(coordinator.requests).toEqual([]);
    expect(await api.drain(0)).toBe(0);
  });

  it('bodies of all requests together are bounded', async () => {
    const { port } = await listening({
      'api.transactionBytesMax': '1MiB',
      'api.bodyBytesMax': '1MiB',
      'api.inflightBytesMax': '1MiB',
    });
    const first = dial(port);
    first.write(`${HEAD}Content-Length: 900000\r\n\r\n${'x'.repeat(899_999)}`);
    const second = dial(port);
    second.write(`${HEAD}Content-Length: 900000\r\n\r\n${'x'.repeat(900_000)}`);
    const replies = Promise.race([spoken(first), spoken(second)]);
    expect(await replies).toContain('"code":"OVERLOADED"');
    first.destroy();
    second.destroy();
  });

  it('keeps a connection for many requests, and ends it while draining', async () => {
    const { port, health } = await listening();
    const body = JSON.stringify(saga());
    const request = `${HEAD}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const socket = dial(port);
    let replies = '';
    socket.on('data', (chunk: Buffer) => {
      replies += chunk.toString();
    });
    for (const count of [1, 2]) {
      socket.write(request);
      while (replies.split('SUCCESS').length <= count) await new Promise(setImmediate);
    }
    health.drain();
    socket.write(request);
    await once(socket, 'close');
    expect(replies.split('HTTP/1.1 200').length).toBe(4);
  });
});

describe('metrics and logs of hostile input', () => {
  it('58: 2 000 unknown paths and gids add one series', async () => {
    const { get, metrics, post } = testApi();
    const series = async () => (await metrics.text()).match(/^(dtm|assent)_/gm)?.length ?? 0;
    await get('/warm-up');
    await post('submit', saga());
    const before = await series();
    for (let i = 0; i < 1_000; i += 1) {
      await get(`/path-${i}?x=${i}`);
      await post('submit', saga({ gid: `gid-${i}` }));
    }
    expect((await series()) - before).toBeLessThanOrEqual(1);
  });
});
