// A small bank: accounts in memory, and the four branch endpoints of a transfer behind a barrier.
//
//   POST /out /outUndo /in /inUndo   body {"account":"a1","amount":30}
//   GET  /ledger                     {"balances":{…},"applied":n,"skipped":n,"refused":n}

import type { IncomingMessage, Server } from 'node:http';
import { createServer } from 'node:http';

export interface Ledger {
  readonly balances: Readonly<Record<string, number>>;
  /** Effects that happened; repeats and empty compensations that did not; business refusals. */
  readonly applied: number;
  readonly skipped: number;
  readonly refused: number;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const SIGNS: Readonly<Record<string, number>> = {
  '/out': -1,
  '/outUndo': 1,
  '/in': 1,
  '/inUndo': -1,
};

export class Bank {
  readonly #balances = new Map<string, number>();
  /** The branch barrier: rows (gid, branch, op) that have had their effect, or must never have it. */
  readonly #barrier = new Set<string>();
  #applied = 0;
  #skipped = 0;
  #refused = 0;

  constructor(accounts: number, openingBalance: number) {
    for (let i = 1; i <= accounts; i += 1) this.#balances.set(`a${i}`, openingBalance);
  }

  ledger(): Ledger {
    return {
      balances: Object.fromEntries(this.#balances),
      applied: this.#applied,
      skipped: this.#skipped,
      refused: this.#refused,
    };
  }

  handle(url: URL, text: string): Answer {
    if (url.pathname === '/ledger') return { status: 200, body: this.ledger() };
    const sign = SIGNS[url.pathname];
    if (sign === undefined) return { status: 404, body: { message: 'no such endpoint' } };
    const { account, amount } = JSON.parse(text) as { account: string; amount: number };
    if (this.#behindBarrier(url.searchParams, () => this.#move(account, sign * amount))) {
      return { status: 200, body: { dtm_result: 'SUCCESS' } };
    }
    const message = `${account} cannot pay ${amount}`;
    return { status: 409, body: { dtm_result: 'FAILURE', message } };
  }

  /** Runs `effect` once for this operation. A compensation without its action does nothing, and
   * forbids the action that comes late. False: the business refuses. */
  #behindBarrier(query: URLSearchParams, effect: () => boolean): boolean {
    const row = (op: string) => `${query.get('gid')}/${query.get('branch_id')}/${op}`;
    const op = query.get('op') ?? '';
    const emptyCompensation = op === 'compensate' && !this.#barrier.has(row('action'));
    if (op === 'compensate') this.#barrier.add(row('action'));
    if (emptyCompensation || this.#barrier.has(row(op))) {
      this.#barrier.add(row(op));
      this.#skipped += 1;
      return true;
    }
    if (!effect()) {
      this.#refused += 1;
      return false;
    }
    this.#barrier.add(row(op));
    this.#applied += 1;
    return true;
  }

  #move(account: string, cents: number): boolean {
    const balance = this.#balances.get(account);
    if (balance === undefined || balance + cents < 0) return false;
    this.#balances.set(account, balance + cents);
    return true;
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

export function bankServer(bank: Bank): Server {
  return createServer((request, response) => {
    void bodyOf(request).then((text) => {
      const answer = bank.handle(new URL(request.url ?? '/', 'http://bank'), text);
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    });
  });
}
