// TCC: try reserves, confirm uses what was reserved, cancel gives it free. Bank A reserves the money that
// is to go, bank B the room for what is to come; nobody sees a half-done transfer.
//
//   1. both tries succeed              → both are confirmed, the last one first
//   2. B refuses to reserve            → both are cancelled; B has nothing to cancel
//   3. B is too slow, and tries late   → cancelled before its try, which then must do nothing
//
// Run: npx tsx examples/tcc.ts [--url http://127.0.0.1:36789 …]

import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import {
  BranchError,
  barrierSchema,
  DtmClient,
  FailureError,
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
// A try that takes longer is given up, and the transaction with it.
const client = given(() => new DtmClient({ endpoints: values.url, branchTimeoutMs: 1_000 }));

// excerpt: statements
/** `reserved`: in A what is about to go, in B what is about to come. */
const STATEMENTS: Readonly<Record<string, string>> = {
  '/out/try':
    'UPDATE account SET reserved = reserved + :amount WHERE balance - reserved >= :amount',
  '/out/confirm': 'UPDATE account SET balance = balance - :amount, reserved = reserved - :amount',
  '/out/cancel': 'UPDATE account SET reserved = reserved - :amount',
  '/in/try': 'UPDATE account SET reserved = reserved + :amount WHERE :amount <= 50',
  '/in/confirm': 'UPDATE account SET balance = balance + :amount, reserved = reserved - :amount',
  '/in/cancel': 'UPDATE account SET reserved = reserved - :amount',
};
// excerpt end

class Bank {
  readonly #name: string;
  readonly #database = new Database(':memory:');
  readonly #barrier = sqliteBarrier(this.#database);
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly served = new EventEmitter();
  /** A try waits for it. */
  delay: Promise<unknown> = Promise.resolve();

  constructor(name: string, openingBalance: number) {
    this.#name = name;
    for (const statement of barrierSchema('sqlite')) this.#database.exec(statement);
    this.#database.exec('CREATE TABLE account (balance INTEGER, reserved INTEGER)');
    this.#database.prepare('INSERT INTO account VALUES (?, 0)').run(openingBalance);
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
      if (branch.op === 'try') await this.delay;
      // At most once for this gid, branch and op; and no try after its cancel.
      const result = this.#barrier.call(branch, (database) => {
        const { changes } = database.prepare(statement).run({ amount });
        if (changes === 0) throw new FailureError(`${this.#name} refuses ${amount}`);
      });
      const what = result.kind === 'done' ? 'done' : `skipped, ${result.why}`;
      const { balance, reserved } = this.account;
      this.#log(`${branch.op} ${amount}: ${what}, balance ${balance}, reserved ${reserved}`);
      this.served.emit(branch.op);
    });
    if (answer.status === 409) this.#log('refused');
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }
  // excerpt end

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get account(): { readonly balance: number; readonly reserved: number } {
    const row = this.#database.prepare('SELECT balance, reserved FROM account').get();
    return row as { readonly balance: number; readonly reserved: number };
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
async function transfer(amount: number): Promise<void> {
  const payload = { amount };
  const branch = (url: string) => ({
    try: `${url}/try`,
    confirm: `${url}/confirm`,
    cancel: `${url}/cancel`,
    payload,
  });
  // Returns once all are confirmed. An error inside cancels what was tried, and is thrown.
  await client.tcc(
    async (tcc) => {
      await tcc.callBranch(branch(`${a.url}/out`));
      await tcc.callBranch(branch(`${b.url}/in`));
    },
    { waitResult: true, retryIntervalSeconds: 1 },
  );
}
// excerpt end

let mistakes = 0;
function expectBalances(wantedA: number, wantedB: number): void {
  const [accountA, accountB] = [a.account, b.account];
  const balances = accountA.balance === wantedA && accountB.balance === wantedB;
  const good = balances && accountA.reserved === 0 && accountB.reserved === 0;
  if (!good) mistakes += 1;
  console.log(`   A ${accountA.balance}, B ${accountB.balance}${good ? '' : ', WRONG'}\n`);
}

const a = await new Bank('A', 100).open();
const b = await new Bank('B', 0).open();
try {
  console.log('1. A pays 30 to B');
  await transfer(30);
  expectBalances(70, 30);

  console.log('2. A pays 60 to B, which takes at most 50 at once');
  try {
    await transfer(60);
    mistakes += 1;
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    console.log('   cancelled: B refused');
  }
  expectBalances(70, 30);

  console.log('3. A pays 20 to B, whose try hangs until after its cancel');
  const lateTry = once(b.served, 'try');
  b.delay = once(b.served, 'cancel');
  try {
    await transfer(20);
    mistakes += 1;
  } catch (error) {
    if (!(error instanceof BranchError)) throw error;
    console.log('   cancelled: no answer in time');
  }
  await lateTry;
  expectBalances(70, 30);

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  a.close();
  b.close();
}
