// XA: each bank's database prepares its part of the transfer, and all commit or none does. The services
// write plain SQL, without compensations. It needs real databases, PostgreSQL or MariaDB/MySQL:
//
//   1. both prepare                    → both commit
//   2. B refuses after A has prepared  → A rolls back
//
// Run: npx tsx examples/xa.ts --database postgresql://user:password@127.0.0.1:5432/name \
//        [--database mysql://user:password@127.0.0.1:3306/name] [--url http://127.0.0.1:36789 …]
//
// The first database is A's, the second B's; with only one, both banks are in it. The example makes the
// tables xa_example_a, xa_example_b and dtm_barrier.barrier, and drops the first two at its end.

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import {
  type BranchHttpAnswer,
  barrierSchema,
  DtmClient,
  FailureError,
  mysqlXa,
  postgresXa,
  serveBranch,
  type XaResource,
} from 'assent/client';
import { createPool, type PoolConnection } from 'mysql2/promise';
import pg from 'pg';
import { given } from './lib/given.ts';

const { values } = given(() =>
  parseArgs({
    options: {
      url: { type: 'string', multiple: true, default: ['http://127.0.0.1:36789'] },
      database: { type: 'string', multiple: true, default: [] },
    },
  }),
);
const [databaseOfA, databaseOfB = databaseOfA] = values.database;
if (databaseOfA === undefined || databaseOfB === undefined) {
  console.log(`XA needs a real database. Give one or two:
  --database postgresql://user:password@127.0.0.1:5432/name   (max_prepared_transactions above 0)
  --database mysql://user:password@127.0.0.1:3306/name        (MariaDB 10.5 or MySQL 8)`);
  process.exit(2);
}
for (const url of values.database) {
  if (/^(postgres(ql)?|mysql):\/\//.test(url) && URL.canParse(url)) continue;
  console.error(
    `--database must be a postgresql:// or mysql:// URL, not "${url.split('@').at(-1)}"`,
  );
  process.exit(2);
}
const client = given(() => new DtmClient({ endpoints: values.url }));

interface Connection {
  query(sql: string): Promise<unknown>;
}
interface Bank {
  readonly resource: XaResource<Connection>;
  readonly table: string;
  query(sql: string): Promise<unknown>;
  close(): Promise<void>;
}

// excerpt: databases
async function openBank(url: string, table: string, balance: number): Promise<Bank> {
  const bank = url.startsWith('mysql') ? mysqlBank(url, table) : postgresBank(url, table);
  const dialect = url.startsWith('mysql') ? 'mysql' : 'postgres';
  for (const statement of barrierSchema(dialect)) await bank.query(statement);
  await bank.query(`DROP TABLE IF EXISTS ${table}`);
  await bank.query(`CREATE TABLE ${table} (balance INT)`);
  await bank.query(`INSERT INTO ${table} VALUES (${balance})`);
  return bank;
}

function postgresBank(url: string, table: string): Bank {
  const pool = new pg.Pool({ connectionString: url });
  return {
    table,
    resource: postgresXa<pg.PoolClient>(pool),
    query: (sql) => pool.query(sql),
    close: () => pool.end(),
  };
}

function mysqlBank(url: string, table: string): Bank {
  const pool = createPool(url);
  return {
    table,
    resource: mysqlXa<PoolConnection>(pool),
    query: (sql) => pool.query(sql),
    close: () => pool.end(),
  };
}
// excerpt end

/** The balance as `connection` sees it. pg answers {rows}, mysql2 [rows, fields]. */
async function balanceOf(connection: Connection, { table }: Bank): Promise<number> {
  const answer = (await connection.query(`SELECT balance FROM ${table}`)) as
    | { readonly rows: readonly { readonly balance: number }[] }
    | readonly [readonly { readonly balance: number }[]];
  const [row] = 'rows' in answer ? answer.rows : answer[0];
  if (row === undefined) throw new Error(`${table} is empty`);
  return row.balance;
}

const a = await openBank(databaseOfA, 'xa_example_a', 100);
const b = await openBank(databaseOfB, 'xa_example_b', 0);

// excerpt: participant
/** Both phases arrive here: op action from the initiator, commit or rollback from the coordinator. */
async function serve(requestUrl: string, body: string): Promise<BranchHttpAnswer> {
  return await serveBranch(requestUrl, async (branch) => {
    const [name, bank, sign] = requestUrl.startsWith('/out') ? ['A', a, -1] : ['B', b, 1];
    await client.xaLocal(branch, bank.resource, async (connection) => {
      const { amount } = JSON.parse(body) as { readonly amount: number };
      if (name === 'B' && amount > 50) throw new FailureError(`B refuses ${amount}`);
      await connection.query(`UPDATE ${bank.table} SET balance = balance + (${sign * amount})`);
      const balance = await balanceOf(connection, bank);
      if (balance < 0) throw new FailureError(`A has less than ${amount}`);
    });
    console.log(`   ${name}: ${branch.op} done`);
  });
}
// excerpt end

const server = createServer((request, response) => {
  const answer = text(request).then((body) => serve(request.url ?? '', body));
  void answer.then(({ status, headers, body }) => response.writeHead(status, headers).end(body));
});
await once(server.listen(0, '127.0.0.1'), 'listening');
const services = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

// excerpt: initiator
async function transfer(amount: number): Promise<void> {
  await client.xa(
    async (xa) => {
      await xa.callBranch({ url: `${services}/out`, payload: { amount } });
      console.log(`   A has prepared; others still see ${await balanceOf(a, a)}`);
      await xa.callBranch({ url: `${services}/in`, payload: { amount } });
    },
    { waitResult: true },
  );
}
// excerpt end

let mistakes = 0;
async function expectBalances(wantedA: number, wantedB: number): Promise<void> {
  const [balanceA, balanceB] = [await balanceOf(a, a), await balanceOf(b, b)];
  const good = balanceA === wantedA && balanceB === wantedB;
  if (!good) mistakes += 1;
  console.log(`   A ${balanceA}, B ${balanceB}${good ? '' : ', WRONG'}\n`);
}

try {
  console.log('1. A pays 30 to B');
  await transfer(30);
  await expectBalances(70, 30);

  console.log('2. A pays 60 to B, which takes at most 50 at once');
  try {
    await transfer(60);
    mistakes += 1;
  } catch (error) {
    if (!(error instanceof FailureError)) throw error;
    console.log('   rolled back: B refused');
  }
  await expectBalances(70, 30);

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  server.close();
  server.closeAllConnections();
  for (const bank of [a, b]) {
    await bank.query(`DROP TABLE ${bank.table}`);
    await bank.close();
  }
}
