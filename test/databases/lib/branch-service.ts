// A service of branches over HTTP: its routes are functions, and a test may stop a request at the door.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Branch, branchFromQuery, serveBranch } from '../../../src/client/index.ts';

export type BranchRoute = (branch: Branch, body: string) => Promise<unknown>;

export interface BranchService {
  readonly url: string;
  /** Awaited before a request is executed. */
  door: (branch: Branch) => Promise<void>;
  readonly seen: Branch[];
  stop(): Promise<void>;
}

export async function startBranchService(
  routes: Readonly<Record<string, BranchRoute>>,
): Promise<BranchService> {
  const server = createServer((request, response) => {
    const serve = async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const url = request.url ?? '';
      const branch = branchFromQuery(url);
      service.seen.push(branch);
      await service.door(branch);
      const route = routes[new URL(url, 'http://service').pathname];
      if (route === undefined) throw new Error(`no route ${url}`);
      const answer = await serveBranch(url, (own) => route(own, Buffer.concat(chunks).toString()));
      response.writeHead(answer.status, answer.headers).end(answer.body);
    };
    serve().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const service: BranchService = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    door: () => Promise.resolve(),
    seen: [],
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return service;
}
