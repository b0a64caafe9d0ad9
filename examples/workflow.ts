// A workflow: an ordinary function whose steps are recorded. When it does not reach its end, the
// coordinator calls the program back; the function runs again, and recorded steps are not repeated.
//
//   1. both banks agree                        → the result is stored with the transaction
//   2. asked again with the same gid           → the stored result, nothing runs
//   3. B refuses                               → the rollback of A's step runs
//   4. the run dies between its two steps      → resumed: A is not called again
//
// Run: npx tsx examples/workflow.ts [--url http://127.0.0.1:36789 …]

import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer, json } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  type BranchHttpAnswer,
  barrierSchema,
  DtmClient,
  FailureError,
  newGid,
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

const STATEMENTS: Readonly<Record<string, string>> = {
  '/out': 'UPDATE account SET balance = balance - :amount WHERE balance >= :amount',
  '/outUndo': 'UPDATE account SET balance = balance + :amount',
  '/in': 'UPDATE account SET balance = balance + :amount WHERE :amount <= 50',
};

class Bank {
  readonly #name: string;
  readonly #database = new Database(':memory:');
  readonly #barrier = sqliteBarrier(this.#database);

  constructor(name: string, openingBalance: number) {
    this.#name = name;
    for (const statement of barrierSchema('sqlite')) this.#database.exec(statement);
    this.#database.exec('CREATE TABLE account (balance INTEGER)');
    this.#database.prepare('INSERT INTO account VALUES (?)').run(openingBalance);
  }

  get balance(): number {
    const row = this.#database.prepare('SELECT balance FROM account').get();
    return (row as { readonly balance: number }).balance;
  }

  // excerpt: participant
  async serve(path: string, request: IncomingMessage): Promise<BranchHttpAnswer> {
    return await serveBranch(request.url ?? '', async (branch) => {
      const { amount } = (await json(request)) as { readonly amount: number };
      const statement = STATEMENTS[path];
      if (statement === undefined) throw new Error(`no such path: ${path}`);
      // A step whose answer was lost is called again: at most once for this gid, branch and op.
      const result = this.#barrier.call(branch, (database) => {
        const { changes } = database.prepare(statement).run({ amount });
        if (changes === 0) throw new FailureError(`${this.#name} refuses ${amount}`);
      });
      console.log(`   ${this.#name}: ${branch.op} ${amount}: ${result.kind}`);
    });
  }
  // excerpt end
}

const a = new Bank('A', 100);
const b = new Bank('B', 0);
let dies = false;

const server = createServer((request, response) => {
  void answerTo(request).then(({ status, headers, body }) =>
    response.writeHead(status, headers).end(body),
  );
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const program = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

// excerpt: workflow
const workflows = client.workflows({ callback: `${program}/resume` });

workflows.register(
  'transfer',
  async (run, data) => {
    const { amount } = JSON.parse(Buffer.from(data).toString()) as { readonly amount: number };
    const out = run.newBranch();
    out.onRollback(async (branch) => {
      await out.callInPhase2(branch, { url: `${program}/a/outUndo`, payload: { amount } });
    });
    await out.call({ url: `${program}/a/out`, payload: { amount } });
    if (dies) {
      dies = false;
      throw new Error('the run dies here');
    }
    await run.newBranch().call({ url: `${program}/b/in`, payload: { amount } });
    return `moved ${amount}`;
  },
  // Called back after a second without a step; the default is 10 s.
  { transaction: { retryIntervalSeconds: 1 } },
);

async function answerTo(request: IncomingMessage): Promise<BranchHttpAnswer> {
  const { pathname } = new URL(request.url ?? '/', program);
  if (pathname === '/resume') {
    console.log('   called back');
    return await workflows.serveCallback(request.url ?? '', await buffer(request));
  }
  const bank = pathname.startsWith('/a/') ? a : b;
  return await bank.serve(pathname.slice(2), request);
}
// excerpt end

// excerpt: start
async function transfer(gid: string, amount: number): Promise<void> {
  try {
    const result = await workflows.execute('transfer', gid, JSON.stringify({ amount }));
    console.log(`   result: ${Buffer.from(result).toString()}`);
  } catch (error) {
    // Rolled back, and recorded so. Any other error: it goes on by the coordinator's callback.
    if (error instanceof FailureError) console.log('   rolled back');
    else console.log(`   interrupted: ${String(error)}`);
  }
}
// excerpt end

/** The final status. A workflow reaches it as long as its program can be called back. */
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

try {
  console.log('1. A pays 30 to B');
  const first = newGid();
  await transfer(first, 30);
  expectBalances(await ended(first), 70, 30);

  console.log('2. The same again, with the same gid');
  await transfer(first, 30);
  expectBalances(await ended(first), 70, 30);

  console.log('3. A pays 60 to B, which takes at most 50 at once');
  const third = newGid();
  await transfer(third, 60);
  expectBalances(await ended(third), 70, 30);

  console.log('4. A pays 20 to B, and the run dies half-way');
  dies = true;
  const fourth = newGid();
  await transfer(fourth, 20);
  expectBalances(await ended(fourth), 50, 50);

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  server.close();
  server.closeAllConnections();
}
