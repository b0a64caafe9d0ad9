// A server of dtm's HTTP routes that answers what the test says, and remembers every request; and a
// service whose branches the client calls.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly method: string;
  readonly route: string;
  readonly query: URLSearchParams;
  readonly text: string;
  /** The body as JSON; an empty object when there is none. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: IncomingMessage['headers'];
}

export interface Reply {
  readonly status?: number;
  readonly body?: unknown;
  /** The connection is closed without an answer. */
  readonly drop?: boolean;
  /** No answer at all. */
  readonly hang?: boolean;
}

export type Responder = (received: Received) => Reply | Promise<Reply>;

export const SUCCESS: Reply = { body: { dtm_result: 'SUCCESS' } };

export function refusal(message: string): Reply {
  return { status: 409, body: { dtm_result: 'FAILURE', message: `${message} FAILURE` } };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}

export class FakeServer {
  readonly received: Received[] = [];
  respond: Responder = () => SUCCESS;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const serve = async () => {
        const url = new URL(request.url ?? '/', 'http://fake');
        const text = await textOf(request);
        const received: Received = {
          method: request.method ?? '',
          route: url.pathname.replace('/api/dtmsvr/', ''),
          query: url.searchParams,
          text,
          body: parsed(text),
          headers: request.headers,
        };
        this.received.push(received);
        const { status = 200, body = '', drop, hang } = await this.respond(received);
        if (hang === true) return;
        if (drop === true) return void request.socket.destroy();
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
      };
      serve().catch(() => response.destroy());
    });
  }

  static async start(respond?: Responder): Promise<FakeServer> {
    const fake = new FakeServer();
    if (respond !== undefined) fake.respond = respond;
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  get routes(): string[] {
    return this.received.map(({ route }) => route);
  }

  /** The only request of `route`. */
  one(route: string): Received {
    const found = this.received.filter((received) => received.route === route);
    if (found.length !== 1) throw new Error(`${found.length} requests of ${route}`);
    return found[0]!;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const running: FakeServer[] = [];

/** Stopped by `stopServers`, which belongs in afterEach. */
export async function startServer(respond?: Responder): Promise<FakeServer> {
  const server = await FakeServer.start(respond);
  running.push(server);
  return server;
}

export async function stopServers(): Promise<void> {
  await Promise.all(running.splice(0).map((server) => server.stop()));
}

/** An address where nobody listens. */
export async function deadUrl(): Promise<string> {
  const server = await FakeServer.start();
  const { url } = server;
  await server.stop();
  return url;
}
