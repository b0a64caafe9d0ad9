// A plain HTTP client that spreads its requests over all nodes, and holds every answer to P7: a
// condition of the cluster never uses the words and codes of a business failure.

import { expect } from 'vitest';
import { type LocalCluster, until } from '../../../bench/lib/local-cluster.ts';

export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly headers: Headers;
  readonly nodeId: number;
  /** The body as JSON; fails when it is none. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface TransactionView extends Readonly<Record<string, unknown>> {
  readonly gid: string;
  readonly status: string;
  readonly rollback_reason?: string;
}
export interface BranchView extends Readonly<Record<string, unknown>> {
  readonly branch_id: string;
  readonly op: string;
  readonly status: string;
}
export interface QueryView {
  readonly transaction: TransactionView | null;
  readonly branches: readonly BranchView[];
}

export const SUCCESS_TEXT = '{"dtm_result":"SUCCESS"}';
export const JSON_TYPE = 'application/json; charset=utf-8';
export const NOT_FINISHED =
  '{"dtm_result":"FAILURE","message":"wait result not return success: FAILURE"}';

export function failureText(message: string): string {
  return JSON.stringify({ dtm_result: 'FAILURE', message });
}

function holdToP7(status: number, text: string): void {
  if (status === 409) expect(text).toMatch(/^\{"dtm_result":"FAILURE","message":".*FAILURE"\}$/);
  else if (status === 425) expect(text).toMatch(/^\{"dtm_result":"ONGOING"/);
  else if (status !== 200) expect(text).not.toMatch(/FAILURE|ONGOING/);
}

let gids = 0;
const run = Date.now().toString(36);

/** A gid that no other test uses. */
export function freshGid(name = 'it'): string {
  gids += 1;
  return `${name}-${run}-${process.pid}-${gids}`;
}

export class Client {
  readonly #cluster: LocalCluster;
  #turn = 0;

  constructor(cluster: LocalCluster) {
    this.#cluster = cluster;
  }

  /** To the node of `nodeId`, or the next one in turn. */
  async send(method: string, path: string, body?: string, nodeId?: number): Promise<Reply> {
    const { nodes } = this.#cluster;
    this.#turn += 1;
    const id = nodeId ?? 1 + (this.#turn % nodes.length);
    const response = await fetch(this.#cluster.node(id).url + path, {
      method,
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    if (path.startsWith('/api/dtmsvr/')) holdToP7(response.status, text);
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      text,
      headers: response.headers,
      nodeId: id,
      get json() {
        return JSON.parse(text) as Readonly<Record<string, unknown>>;
      },
    };
  }

  get(path: string, nodeId?: number): Promise<Reply> {
    return this.send('GET', `/api/dtmsvr/${path}`, undefined, nodeId);
  }

  /** `body`: sent as it is when it is text. */
  post(route: string, body: unknown, nodeId?: number): Promise<Reply> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return this.send('POST', `/api/dtmsvr/${route}`, text, nodeId);
  }

  /** Sends to every node, in turn. */
  async postToAll(route: string, body: unknown): Promise<Reply[]> {
    const replies: Reply[] = [];
    for (const { id } of this.#cluster.nodes) replies.push(await this.post(route, body, id));
    return replies;
  }

  async query(gid: string, nodeId?: number): Promise<QueryView> {
    const reply = await this.get(`query?gid=${encodeURIComponent(gid)}`, nodeId);
    expect(reply.status).toBe(200);
    return reply.json as unknown as QueryView;
  }

  async transaction(gid: string, nodeId?: number): Promise<TransactionView> {
    const { transaction } = await this.query(gid, nodeId);
    if (transaction === null) throw new Error(`${gid} is unknown`);
    return transaction;
  }

  /** The statuses of the branches in order of creation. */
  async branches(gid: string): Promise<readonly string[]> {
    return (await this.query(gid)).branches.map(({ status }) => status);
  }

  ended(gid: string, status: string, timeoutMs = 20_000): Promise<TransactionView> {
    return until(`${gid} is ${status}`, timeoutMs, async () => {
      const transaction = await this.transaction(gid);
      return transaction.status === status ? transaction : undefined;
    });
  }
}

export type StepView = Readonly<Record<string, string>>;

export interface SagaBody extends Readonly<Record<string, unknown>> {
  readonly gid: string;
}

/** A saga with a payload for each step. */
export function saga(gid: string, steps: readonly StepView[], more: object = {}): SagaBody {
  const payloads = steps.map((_, step) => JSON.stringify({ amount: step + 1 }));
  return { gid, trans_type: 'saga', steps, payloads, ...more };
}

export const NO_CALLS: StepView = { action: '', compensate: '' };
