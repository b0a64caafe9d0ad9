// A saga: money moves from bank A to bank B. Each bank is a service with a database of its own.
//
//   1. both agree                      → both moved
//   2. B refuses                       → A gives the money back
//   3. A's answer is lost on its way   → A is called again, and pays once
//
// Run: npx tsx examples/saga.ts [--url http://127.0.0.1:36789 …]

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  barrierSchema,
  DtmClient,
  FailureError,
  newGid,
  RefusedError,
  serveBranch,
  sqliteBarrier,
} from 'assent/client';
import Database from 'libsql';
import { given } from './lib/given.ts';

const { values } = given(() =>
  parseArgs({
    options: { url: { type: 'string', multiple: true, default: ['http://127.0.0.1:36789'] } },
  }),
);
const client = given(() => new DtmClient({ endpoints: values.url }));

// excerpt: statements
const STATEMENTS: Readonly<Record<string, string>> = {
  '/out': 'UPDATE account SET balance = balance - :amount WHERE balance >= :amount',
  '/outUndo': 'UPDATE account SET balance = balance + :amount',
  '/in': 'UPDATE account SET balance = balance + :amount WHERE :amount <= 50',
  '/inUndo': 'UPDATE account SET balance = balance - :amount',
};
// excerpt end

class Bank {
  readonly #name: string;
  readonly #database = new Database(':memory:');
  readonly #barrier = sqliteBarrier(this.#database);
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  losesNextAnswer = false;

  constructor(name: string, openingBalance: number) {
    this.#name = name;
    for (const statement of barrierSchema('sqlite')) this.#database.exec(statement);
    this.#database.exec('CREATE TABLE account (balance INTEGER)');
    this.#database.prepare('INSERT INTO account VALUES (?)').run(openingBalance);
  }

  async open(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return this;
  }

  // excerpt: participant
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://bank');
    const answer = await serveBranch(url, async (branch) => {
      const { amount } = (await json(request)) as { readonly amount: number };
      const statement = STATEMENTS[url.pathname];
      if (statement === undefined) throw new Error(`no such path: ${url.pathname}`);
      // At most once for this gid, branch and op; and not at all after its compensation.
      const result = this.#barrier.call(branch, (database) => {
        const { changes } = database.prepare(statement).run({ amount });
        if (changes === 0) throw new FailureError(`${this.#name} refuses ${amount}`);
      });
      const what = result.kind === 'done' ? 'done' : `skipped, ${result.why}`;
      this.#log(`${branch.op} ${amount}: ${what}, balance ${this.balance}`);
    });
    if (answer.status === 409) this.#log('refused');
    if (this.losesNextAnswer) {
      this.losesNextAnswer = false;
      this.#log('the answer is lost');
      response.destroy();
      return;
    }
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }
  // excerpt end

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get balance(): number {
    const row = this.#database.prepare('SELECT balance FROM account').get();
    return (row as { readonly balance: number }).balance;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#database.close();
  }

  #log(text: string): void {
    console.log(`   ${this.#name}: ${text}`);
  }
}

// excerpt: initiator
async function transfer(amount: number): Promise<string> {
  const gid = newGid();
  const saga = client
    .saga({ gid, waitResult: true, retryIntervalSeconds: 1 })
    .add({ action: `${a.url}/out`, compensate: `${a.url}/outUndo`, payload: { amount } })
    .add({ action: `${b.url}/in`, compensate: `${b.url}/inUndo`, payload: { amount } });
  try {
    await saga.submit();
  } catch (error) {
    // Not finished, or to be compensated: the coordinator goes on with it. Anything else is an error.
    if (!(error instanceof RefusedError)) throw error;
    console.log(`   answer: ${error.message}`);
  }
  return await ended(gid);
}
// excerpt end

/** The final status, which every accepted transaction reaches. */
async function ended(gid: string): Promise<string> {
  const signal = AbortSignal.timeout(30_000);
  for (;;) {
    const status = await client.queryStatus(gid, { signal });
    if (status === 'succeed' || status === 'failed') return status;
    await pause(50, undefined, { signal });
  }
}

let mistakes = 0;
function expectBalances(status: string, wantedA: number, wantedB: number): void {
  const good = a.balance === wantedA && b.balance === wantedB;
  if (!good) mistakes += 1;
  console.log(`   ${status}: A ${a.balance}, B ${b.balance}${good ? '' : ', WRONG'}\n`);
}

const a = await new Bank('A', 100).open();
const b = await new Bank('B', 0).open();
try {
  console.log('1. A pays 30 to B');
  expectBalances(await transfer(30), 70, 30);

  console.log('2. A pays 60 to B, which takes at most 50 at once');
  expectBalances(await transfer(60), 70, 30);

  console.log('3. A pays 20 to B, and the answer of A is lost');
  a.losesNextAnswer = true;
  expectBalances(await transfer(20), 50, 50);

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  a.close();
  b.close();
}
