// Money under chaos: clients that transfer between two banks through every node, repeat what was not
// answered on another node, and in the end account for every gid and every cent.

import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'undici';
import type { LocalCluster } from '../../../bench/lib/local-cluster.ts';
import { until } from '../../../bench/lib/local-cluster.ts';
import { Bank, bankServer } from '../../../cluster/demo/bank.ts';

const ACCOUNTS = 40;
const OPENING_BALANCE = 100_000;
const RETRYABLE = new Set([502, 503, 504, 429]);

interface Transfer {
  readonly gid: string;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
  answeredMs: number;
  waitedMs: number;
}

export interface RunSummary {
  readonly transfers: number;
  readonly succeeded: number;
  readonly compensated: number;
  readonly repeats: number;
  readonly longestWaitMs: number;
}

interface RunningBank {
  readonly bank: Bank;
  readonly server: Server;
  readonly url: string;
}

export class TransferRun {
  readonly #cluster: LocalCluster;
  readonly #banks: readonly RunningBank[];
  readonly #dispatcher = new Agent({ connections: 64, connectTimeout: 1000 });
  readonly #transfers: Transfer[] = [];
  /** Answers that no client may ever see: neither success, nor business failure, nor retryable. */
  readonly wrongAnswers: string[] = [];
  readonly #name = Date.now().toString(36);
  #repeats = 0;
  #stopped = false;
  #clients: Promise<void>[] = [];

  private constructor(cluster: LocalCluster, banks: readonly RunningBank[]) {
    this.#cluster = cluster;
    this.#banks = banks;
  }

  static async start(cluster: LocalCluster, clients: number): Promise<TransferRun> {
    const banks = await Promise.all(
      [0, 1].map(async () => {
        const bank = new Bank(ACCOUNTS, OPENING_BALANCE);
        const server = bankServer(bank).listen(0, '127.0.0.1');
        await once(server, 'listening');
        return { bank, server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
      }),
    );
    const run = new TransferRun(cluster, banks);
    run.#clients = Array.from({ length: clients }, (_, i) => run.#client(i));
    return run;
  }

  get answered(): number {
    return this.#transfers.filter((transfer) => transfer.answeredMs > 0).length;
  }

  /** Resolves when `count` more transfers have been answered. */
  async progress(count: number, timeoutMs: number): Promise<void> {
    const wanted = this.answered + count;
    await until(`${count} more transfers`, timeoutMs, () =>
      Promise.resolve(this.answered >= wanted ? true : undefined),
    );
  }

  /** Stops the clients, waits for every transfer to end, and checks every cent. */
  async finish(): Promise<RunSummary> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    const statuses = new Map<string, string>();
    const queue = [...this.#transfers];
    const settle = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        statuses.set(next.gid, await this.#finalStatus(next.gid));
      }
    };
    await Promise.all(Array.from({ length: 16 }, settle));
    this.#checkLedgers(statuses);
    const of = (status: string) => [...statuses.values()].filter((s) => s === status).length;
    return {
      transfers: this.#transfers.length,
      succeeded: of('succeed'),
      compensated: of('failed'),
      repeats: this.#repeats,
      longestWaitMs: Math.round(Math.max(0, ...this.#transfers.map((t) => t.waitedMs))),
    };
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#clients);
    await this.#dispatcher.close();
    for (const { server } of this.#banks) {
      server.closeAllConnections();
      server.close();
    }
  }

  async #client(number: number): Promise<void> {
    for (let i = 0; !this.#stopped; i += 1) {
      const pick = () => `a${1 + Math.floor(Math.random() * ACCOUNTS)}`;
      const transfer: Transfer = {
        gid: `chaos-${this.#name}-${number}-${i}`,
        from: pick(),
        to: Math.random() < 0.15 ? 'nobody' : pick(),
        amount: 1 + Math.floor(Math.random() * 300),
        answeredMs: 0,
        waitedMs: 0,
      };
      this.#transfers.push(transfer);
      await this.#submit(transfer, number);
    }
  }

  async #submit(transfer: Transfer, first: number): Promise<void> {
    const { nodes } = this.#cluster;
    const step = (bank: number, op: string) => ({
      action: `${this.#banks[bank]?.url ?? ''}/${op}`,
      compensate: `${this.#banks[bank]?.url ?? ''}/${op}Undo`,
    });
    const payload = (account: string) => JSON.stringify({ account, amount: transfer.amount });
    const body = JSON.stringify({
      gid: transfer.gid,
      trans_type: 'saga',
      steps: [step(0, 'out'), step(1, 'in')],
      payloads: [payload(transfer.from), payload(transfer.to)],
      wait_result: true,
      retry_interval: 1,
    });
    const startedAt = performance.now();
    for (let attempt = 0; performance.now() - startedAt < 90_000; attempt += 1) {
      const node = nodes[(first + attempt) % nodes.length];
      const answer = await this.#call('POST', `${node?.url ?? ''}/api/dtmsvr/submit`, body);
      if (answer?.status === 200 || answer?.status === 409) {
        this.#judge(transfer, answer);
        transfer.answeredMs = performance.now();
        transfer.waitedMs = transfer.answeredMs - startedAt;
        return;
      }
      if (answer !== undefined && !RETRYABLE.has(answer.status)) {
        this.wrongAnswers.push(`${transfer.gid}: ${answer.status} ${answer.text.slice(0, 200)}`);
        return;
      }
      this.#repeats += 1;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.wrongAnswers.push(`${transfer.gid}: no answer within 90 s`);
  }

  /** A 409 must be about the transaction: the account that does not exist, or not finished yet. */
  #judge(transfer: Transfer, answer: { readonly status: number; readonly text: string }): void {
    if (answer.status === 200 && transfer.to === 'nobody') {
      this.wrongAnswers.push(`${transfer.gid}: success although its second step must fail`);
    }
    const expected = /cannot pay|not return success|cannot sumbmit/;
    if (answer.status === 409 && !expected.test(answer.text)) {
      this.wrongAnswers.push(`${transfer.gid}: 409 ${answer.text.slice(0, 200)}`);
    }
  }

  async #call(
    method: 'GET' | 'POST',
    url: string,
    body?: string,
  ): Promise<{ readonly status: number; readonly text: string } | undefined> {
    try {
      const response = await request(url, {
        method,
        dispatcher: this.#dispatcher,
        headersTimeout: 12_000,
        bodyTimeout: 12_000,
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body }),
      });
      return { status: response.statusCode, text: await response.body.text() };
    } catch {
      return undefined;
    }
  }

  async #finalStatus(gid: string): Promise<string> {
    let attempt = 0;
    return until(`${gid} ends`, 90_000, async () => {
      attempt += 1;
      const node = this.#cluster.nodes[attempt % this.#cluster.nodes.length];
      const answer = await this.#call('GET', `${node?.url ?? ''}/api/dtmsvr/query?gid=${gid}`);
      if (answer?.status !== 200) return undefined;
      const { transaction } = JSON.parse(answer.text) as { transaction: { status: string } | null };
      if (transaction === null) throw new Error(`${gid} is missing`);
      return ['succeed', 'failed'].includes(transaction.status) ? transaction.status : undefined;
    });
  }

  #checkLedgers(statuses: ReadonlyMap<string, string>): void {
    const expected = this.#banks.map(({ bank }) =>
      Object.fromEntries(Object.keys(bank.ledger().balances).map((a) => [a, OPENING_BALANCE])),
    );
    const add = (bank: number, account: string, cents: number) => {
      const sums = expected[bank];
      if (sums !== undefined) sums[account] = (sums[account] ?? 0) + cents;
    };
    for (const transfer of this.#transfers) {
      if (statuses.get(transfer.gid) !== 'succeed') continue;
      add(0, transfer.from, -transfer.amount);
      add(1, transfer.to, transfer.amount);
    }
    for (const [i, { bank }] of this.#banks.entries()) {
      for (const [account, held] of Object.entries(bank.ledger().balances)) {
        const wanted = expected[i]?.[account] ?? 0;
        if (held !== wanted) {
          this.wrongAnswers.push(`bank ${i + 1}, ${account}: holds ${held}, expected ${wanted}`);
        }
      }
    }
  }
}
