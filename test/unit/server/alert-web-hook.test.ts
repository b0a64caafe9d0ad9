// The adapter of alerts: one POST per attempt, against a real socket on loopback.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Alert, AlertOutcome } from '../../../src/engine/index.ts';
import { AlertWebHook, alertBody } from '../../../src/server/alert-web-hook.ts';

const ALERT: Alert = {
  gid: 'pay-7',
  row: 1,
  url: 'http://b/in?a=1&b=2',
  status: 'submitted',
  detail: 'no route',
  retryCount: 3,
};

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly type: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

const opened: { hook?: AlertWebHook; server?: Server } = {};

afterEach(async () => {
  await opened.hook?.close();
  opened.server?.closeAllConnections();
  opened.server?.close();
});

async function serve(answer: (response: ServerResponse) => void) {
  const seen: Seen[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const { 'content-type': type = '', authorization } = headers;
      seen.push({ method, path, type, authorization, body: Buffer.concat(chunks).toString() });
      answer(response);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.server = server;
  return { seen, port: (server.address() as AddressInfo).port };
}

function send(url: string, timeoutMs = 2_000): Promise<AlertOutcome> {
  const hook = new AlertWebHook({ url, timeoutMs, connectionsMax: 2 });
  opened.hook = hook;
  return new Promise((resolve) => hook.send(ALERT, resolve));
}

function answering(status: number, body = ''): (response: ServerResponse) => void {
  return (response) => response.writeHead(status).end(body);
}

describe('the alert web hook (dtm reference §9)', () => {
  it("writes dtm's keys in dtm's order, escaped as Go does", () => {
    expect(alertBody(ALERT)).toBe(
      '{"branch":"http://b/in?a=1\\u0026b=2","error":"your http/grpc result should be specified as in:\\nhttps://dtm.pub/summary/arch.html#http\\nunkown result will be retried: no route","gid":"pay-7","retry_count":3,"status":"submitted"}',
    );
  });

  it('posts JSON to the URL, its query included', async () => {
    const { seen, port } = await serve(answering(200));
    expect(await send(`http://127.0.0.1:${port}/a/b?token=x`)).toEqual({ delivered: true });
    expect(seen).toEqual([
      {
        method: 'POST',
        path: '/a/b?token=x',
        type: 'application/json',
        authorization: undefined,
        body: alertBody(ALERT),
      },
    ]);
  });

  it('takes credentials from the URL', async () => {
    const { seen, port } = await serve(answering(204));
    expect(await send(`http://u%40x:p@127.0.0.1:${port}/`)).toEqual({ delivered: true });
    expect(seen[0]?.authorization).toBe(`Basic ${Buffer.from('u@x:p').toString('base64')}`);
  });

  it.each([302, 404, 500])('status %d is not delivered', async (status) => {
    const { port } = await serve(answering(status, 'x'.repeat(100_000)));
    expect(await send(`http://127.0.0.1:${port}/`)).toEqual({
      delivered: false,
      reason: `status ${status}`,
    });
  });

  it('gives up after its own limit, also when the answer never ends', async () => {
    const silent = await serve(() => undefined);
    expect((await send(`http://127.0.0.1:${silent.port}/`, 50)).delivered).toBe(false);
    await opened.hook?.close();
    opened.server?.closeAllConnections();
    opened.server?.close();
    // Its status has said that it was delivered; nobody waits for more.
    const endless = await serve((response) => response.writeHead(200).write('…'));
    expect(await send(`http://127.0.0.1:${endless.port}/`, 50)).toEqual({ delivered: true });
  });

  it('a closed port is not delivered', async () => {
    const { port } = await serve(answering(200));
    opened.server?.close();
    const outcome = await send(`http://127.0.0.1:${port}/`);
    expect(outcome.delivered ? '' : outcome.reason).toContain('ECONNREFUSED');
  });
});
