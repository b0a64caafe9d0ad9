// A two-phase message: bank A commits a local transaction, and whoever must hear of it does, if and only
// if it committed. This program is bank A; bank B and an auditor are services.
//
//   1. A pays                                   → the message is delivered
//   2. A has not enough                         → nothing is delivered
//   3. A dies after its commit                  → the coordinator asks A, and delivers
//   4. A dies before its commit                 → the coordinator asks A, and drops the message
//   5. A pays, and publishes to a topic         → every subscriber gets it
//
// Run: npx tsx examples/msg.ts [--url http://127.0.0.1:36789 …]

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  Branch,
  type BranchHttpAnswer,
  barrierSchema,
  DtmClient,
  DuplicateError,
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

function openAccount(balance: number) {
  const database = new Database(':memory:');
  for (const statement of barrierSchema('sqlite')) database.exec(statement);
  database.exec('CREATE TABLE account (balance INTEGER)');
  database.prepare('INSERT INTO account VALUES (?)').run(balance);
  return { database, barrier: sqliteBarrier(database) };
}

function balanceOf(database: Database.Database): number {
  const row = database.prepare('SELECT balance FROM account').get();
  return (row as { readonly balance: number }).balance;
}

const a = openAccount(100);
const b = openAccount(0);
const audited: number[] = [];

// excerpt: participants
const ROUTES: Readonly<Record<string, (branch: Branch, amount: number) => void>> = {
  // Bank A, asked by the coordinator. "No" is final: A's barrier refuses a commit that comes later.
  '/a/committed': (branch) => {
    try {
      a.barrier.queryPrepared(branch);
      console.log('   A is asked: it committed');
    } catch (error) {
      if (error instanceof FailureError) console.log('   A is asked: it did not commit');
      throw error;
    }
  },
  // Bank B. A message is called until it succeeds: there is no way to refuse.
  '/b/in': (branch, amount) => {
    const result = b.barrier.call(branch, (database) => {
      database.prepare('UPDATE account SET balance = balance + ?').run(amount);
    });
    console.log(`   B: ${amount} arrives: ${result.kind}`);
  },
  // The auditor. It may note twice: it has no barrier.
  '/auditor/note': (_branch, amount) => {
    audited.push(amount);
    console.log(`   auditor: notes ${amount}`);
  },
};
// excerpt end

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://services');
  const serve = async (): Promise<BranchHttpAnswer> =>
    await serveBranch(url, async (branch) => {
      const route = ROUTES[url.pathname];
      if (route === undefined) throw new Error(`no such path: ${url.pathname}`);
      const body = request.method === 'GET' ? { amount: 0 } : await json(request);
      route(branch, (body as { readonly amount: number }).amount);
    });
  void serve().then(({ status, headers, body }) => response.writeHead(status, headers).end(body));
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const services = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

// excerpt: initiator
/** The local transaction of A. The barrier's row commits with it: that is what is asked for later. */
function pay(branch: Branch, amount: number): void {
  a.barrier.call(branch, (database) => {
    const { changes } = database
      .prepare('UPDATE account SET balance = balance - :amount WHERE balance >= :amount')
      .run({ amount });
    if (changes === 0) throw new FailureError(`A has less than ${amount}`);
  });
  console.log(`   A: pays ${amount}, committed`);
}

function message(gid: string) {
  // Asked for after 2 s without a submit; the default is 35 s.
  return client.msg({ gid, timeoutToFailSeconds: 2, retryIntervalSeconds: 1 });
}

async function transfer(amount: number): Promise<string> {
  const gid = newGid();
  const msg = message(gid).add({ action: `${services}/b/in`, payload: { amount } });
  try {
    await msg.doAndSubmit(`${services}/a/committed`, async (branch) => pay(branch, amount));
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    console.log(`   A: ${error.message}`);
  }
  return await ended(gid);
}
// excerpt end

/** What doAndSubmit does, up to a crash. */
async function transferAndDie(amount: number, when: 'before' | 'after'): Promise<string> {
  const gid = newGid();
  const msg = message(gid).add({ action: `${services}/b/in`, payload: { amount } });
  await msg.prepare(`${services}/a/committed`);
  const branch = new Branch({ gid, transactionType: 'msg', branchId: '00', op: 'msg' });
  if (when === 'after') pay(branch, amount);
  console.log(`   A: dies ${when} its commit`);
  const status = await ended(gid);
  // It may only have slept, and go on now.
  if (when === 'before') commitLate(branch, amount);
  return status;
}

function commitLate(branch: Branch, amount: number): void {
  try {
    pay(branch, amount);
  } catch (error) {
    if (!(error instanceof DuplicateError)) throw error;
    console.log('   A: wakes up, and may not commit any more');
  }
}

// excerpt: topic
async function publish(amount: number): Promise<string> {
  const topic = `paid-${newGid()}`;
  await client.subscribe({ topic, url: `${services}/b/in` });
  await client.subscribe({ topic, url: `${services}/auditor/note` });
  const gid = newGid();
  const msg = message(gid).addTopic(topic, { amount });
  await msg.doAndSubmit(`${services}/a/committed`, async (branch) => pay(branch, amount));
  const status = await ended(gid);
  await client.deleteTopic(topic);
  return status;
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
  const [balanceA, balanceB] = [balanceOf(a.database), balanceOf(b.database)];
  const good = balanceA === wantedA && balanceB === wantedB;
  if (!good) mistakes += 1;
  console.log(`   ${status}: A ${balanceA}, B ${balanceB}${good ? '' : ', WRONG'}\n`);
}

try {
  console.log('1. A pays 30 to B');
  expectBalances(await transfer(30), 70, 30);

  console.log('2. A pays 200 to B');
  expectBalances(await transfer(200), 70, 30);

  console.log('3. A pays 20 to B, and dies');
  expectBalances(await transferAndDie(20, 'after'), 50, 50);

  console.log('4. A pays 20 to B, and dies earlier');
  expectBalances(await transferAndDie(20, 'before'), 50, 50);

  console.log('5. A pays 10, for all who subscribed');
  expectBalances(await publish(10), 40, 60);
  if (!audited.includes(10)) mistakes += 1;

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  server.close();
  server.closeAllConnections();
}
