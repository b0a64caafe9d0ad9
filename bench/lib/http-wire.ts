// dtm's HTTP API for load, as cheap as Node can: pooled connections, bodies encoded once.

import type { Dispatcher } from 'undici';
import { Pool } from 'undici';
import type { Body, BranchCall, Route, Send, Wire } from './wire.ts';

const PREFIX = '/api/dtmsvr';
const PAYLOAD = '{"amount":30,"account":"a1"}';

export class HttpWire implements Wire {
  readonly #pool: Pool;
  readonly #prefix: string;

  constructor(url: string, connections: number) {
    const { origin, pathname } = new URL(url);
    this.#pool = new Pool(origin, { connections });
    this.#prefix = pathname === '/' ? PREFIX : pathname;
  }

  toServer(route: Route, body: Body): Send {
    const path = `${this.#prefix}/${route}`;
    const rest = JSON.stringify(body).slice(1);
    return (gid) => this.#post(path, `{"gid":"${gid}",${rest}`);
  }

  toBranch({ url, type, branchId, op }: BranchCall): Send {
    const path = `${new URL(url).pathname}?branch_id=${branchId}&op=${op}&trans_type=${type}&gid=`;
    return (gid) => this.#post(path + gid, PAYLOAD);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  #post(path: string, body: string): Promise<boolean> {
    return new Promise((resolve) => {
      let status = 0;
      const handler: Dispatcher.DispatchHandler = {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, statusCode) => {
          status = statusCode;
        },
        onResponseData: () => undefined,
        onResponseEnd: () => resolve(status === 200),
        onResponseError: () => resolve(false),
      };
      const headers = { 'content-type': 'application/json' };
      this.#pool.dispatch({ method: 'POST', path, body, headers }, handler);
    });
  }
}
