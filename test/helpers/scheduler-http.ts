// Real loopback services for tests of HTTP participants.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type {
  BranchCall,
  CallOutcome,
  ParticipantCaller,
} from '../../src/engine/participants/index.ts';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface TestService {
  readonly origin: string;
  readonly port: number;
  readonly seen: SeenRequest[];
  readonly connectionCount: () => number;
  close(): Promise<void>;
}

export type Answer = (request: SeenRequest, response: ServerResponse) => void;

export async function startService(answer: Answer, port = 0): Promise<TestService> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one: SeenRequest = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(one);
      answer(one, response);
    });
  });
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('close', () => {
      connections -= 1;
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${address.port}`,
    port: address.port,
    seen,
    connectionCount: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

export function branchCall(url: string, over: Partial<BranchCall> = {}): BranchCall {
  return {
    gid: 'g1',
    type: 'saga',
    branchId: '01',
    op: 'action',
    url,
    protocol: 'http',
    payload: new Uint8Array(),
    headers: {},
    timeoutMs: 2000,
    ...over,
  };
}

export function callOnce(
  caller: ParticipantCaller,
  call: BranchCall,
  mayWrite: () => boolean = () => true,
): Promise<CallOutcome> {
  return new Promise((resolve) => {
    caller.call(call, mayWrite, resolve);
  });
}

/** Polls a condition on real time; rejects after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 3000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) {
      throw new Error('the condition did not come true in time');
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
