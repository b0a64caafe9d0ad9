// A service under the test's control: it answers what the test says, and remembers every call.

import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from '../../../bench/lib/local-cluster.ts';

export interface ScriptedAnswer {
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The answer is sent only once this resolves. */
  readonly after?: Promise<unknown>;
  readonly delayMs?: number;
  /** Never answered. */
  readonly hang?: boolean;
}

export interface ReceivedCall {
  readonly name: string;
  readonly method: string;
  /** As on the request line, with its `?`. */
  readonly search: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly atMs: number;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export class Participant {
  readonly calls: ReceivedCall[] = [];
  readonly #answers = new Map<string, ScriptedAnswer[]>();
  readonly #server: Server;
  #url = '';

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<Participant> {
    const participant = new Participant();
    participant.#server.listen(0, '127.0.0.1');
    await once(participant.#server, 'listening');
    const { port } = participant.#server.address() as AddressInfo;
    participant.#url = `http://127.0.0.1:${port}`;
    return participant;
  }

  /** The n-th call of `name` gets the n-th answer; the last one is for all further calls. */
  on(name: string, ...answers: ScriptedAnswer[]): string {
    this.#answers.set(name, answers);
    return this.url(name);
  }

  url(name: string): string {
    return `${this.#url}/${name}`;
  }

  callsOf(...names: string[]): ReceivedCall[] {
    return this.calls.filter(({ name }) => names.includes(name));
  }

  /** The names called, in order of arrival, of those that start with `prefix`. */
  order(prefix: string): string[] {
    return this.calls.map(({ name }) => name).filter((name) => name.startsWith(prefix));
  }

  async called(name: string, count = 1, timeoutMs = 15_000): Promise<readonly ReceivedCall[]> {
    return until(`${count} calls of ${name}`, timeoutMs, async () => {
      const calls = this.callsOf(name);
      return Promise.resolve(calls.length >= count ? calls : undefined);
    });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const atMs = performance.now();
    const url = new URL(request.url ?? '/', this.#url);
    const name = url.pathname.slice(1);
    const call: ReceivedCall = {
      name,
      method: request.method ?? '',
      search: url.search,
      query: url.searchParams,
      headers: request.headers,
      body: await bodyOf(request),
      atMs,
    };
    this.calls.push(call);
    const answers = this.#answers.get(name) ?? [];
    const answer = answers[Math.min(this.callsOf(name).length, answers.length) - 1] ?? {};
    if (answer.hang === true) return;
    if (answer.delayMs !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, answer.delayMs));
    }
    await answer.after;
    response.writeHead(answer.status ?? 200, {
      'content-type': 'application/json',
      ...answer.headers,
    });
    response.end(answer.body ?? '{"dtm_result":"SUCCESS"}');
  }
}

export const FAILURE: ScriptedAnswer = { status: 409, body: '{"dtm_result":"FAILURE"}' };
export const ONGOING: ScriptedAnswer = { status: 425, body: '{"dtm_result":"ONGOING"}' };
export const ERROR: ScriptedAnswer = { status: 500, body: 'out of order' };

/** A promise and the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
