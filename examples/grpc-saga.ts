// The saga of saga.ts over gRPC: the client talks gRPC to the coordinator, the coordinator calls the
// banks by gRPC. Ids travel as metadata, so the messages of the services stay what they are.
//
//   1. both agree   → both moved
//   2. B refuses    → A gives the money back
//
// Run: npx tsx examples/grpc-saga.ts [--url 127.0.0.1:36790 …]

import { EventEmitter, once } from 'node:events';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import {
  barrierSchema,
  DtmClient,
  FailureError,
  grpcBranchHandler,
  RefusedError,
  sqliteBarrier,
} from 'assent/client';
import Database from 'libsql';
import { given } from './lib/given.ts';

const { values } = given(() =>
  parseArgs({
    options: { url: { type: 'string', multiple: true, default: ['127.0.0.1:36790'] } },
  }),
);
const client = given(() => new DtmClient({ endpoints: values.url, protocol: 'grpc' }));

interface Transfer {
  readonly amount: number;
}
const definition = loadSync(`${import.meta.dirname}/bank.proto`)['bank.Bank'] as ServiceDefinition;

const STATEMENTS = {
  Out: 'UPDATE account SET balance = balance - :amount WHERE balance >= :amount',
  OutUndo: 'UPDATE account SET balance = balance + :amount',
  In: 'UPDATE account SET balance = balance + :amount WHERE :amount <= 50',
  InUndo: 'UPDATE account SET balance = balance - :amount',
} as const;

class Bank {
  readonly #name: string;
  readonly #database = new Database(':memory:');
  readonly #barrier = sqliteBarrier(this.#database);
  readonly #server = new Server();
  readonly served = new EventEmitter();
  target = '';

  constructor(name: string, openingBalance: number) {
    this.#name = name;
    for (const statement of barrierSchema('sqlite')) this.#database.exec(statement);
    this.#database.exec('CREATE TABLE account (balance INTEGER)');
    this.#database.prepare('INSERT INTO account VALUES (?)').run(openingBalance);
    this.#server.addService(definition, {
      Out: this.#handler(STATEMENTS.Out),
      OutUndo: this.#handler(STATEMENTS.OutUndo),
      In: this.#handler(STATEMENTS.In),
      InUndo: this.#handler(STATEMENTS.InUndo),
    });
  }

  // excerpt: participant
  /** A FailureError becomes ABORTED; any other error UNKNOWN, and the call is repeated. */
  #handler(statement: string) {
    return grpcBranchHandler(async (branch, { amount }: Transfer) => {
      // At most once for this gid, branch and op; and not at all after its compensation.
      const result = this.#barrier.call(branch, (database) => {
        const { changes } = database.prepare(statement).run({ amount });
        if (changes === 0) throw new FailureError(`${this.#name} refuses ${amount}`);
      });
      const what = result.kind === 'done' ? 'done' : `skipped, ${result.why}`;
      console.log(`   ${this.#name}: ${branch.op} ${amount}: ${what}, balance ${this.balance}`);
      this.served.emit(branch.op);
      return {};
    });
  }
  // excerpt end

  async open(): Promise<this> {
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    this.target = `127.0.0.1:${port}`;
    return this;
  }

  get balance(): number {
    const row = this.#database.prepare('SELECT balance FROM account').get();
    return (row as { readonly balance: number }).balance;
  }

  close(): void {
    this.#server.forceShutdown();
    this.#database.close();
  }
}

// excerpt: initiator
/** The payload is the encoded request of the method; the coordinator passes it on byte by byte. */
function encoded(transfer: Transfer): Uint8Array {
  const { Out } = definition;
  if (Out === undefined) throw new Error('bank.proto has no method Out');
  return Out.requestSerialize(transfer);
}

async function transfer(amount: number): Promise<void> {
  const payload = encoded({ amount });
  const [out, into] = [`${a.target}/bank.Bank/Out`, `${b.target}/bank.Bank/In`];
  await client
    .saga({ waitResult: true, retryIntervalSeconds: 1 })
    .add({ action: out, compensate: `${out}Undo`, payload })
    .add({ action: into, compensate: `${into}Undo`, payload })
    .submit();
}
// excerpt end

let mistakes = 0;
function expectBalances(wantedA: number, wantedB: number): void {
  const good = a.balance === wantedA && b.balance === wantedB;
  if (!good) mistakes += 1;
  console.log(`   A ${a.balance}, B ${b.balance}${good ? '' : ', WRONG'}\n`);
}

const a = await new Bank('A', 100).open();
const b = await new Bank('B', 0).open();
try {
  console.log('1. A pays 30 to B');
  await transfer(30);
  expectBalances(70, 30);

  console.log('2. A pays 60 to B, which takes at most 50 at once');
  // gRPC has no query: the compensation of the first step is the last thing to happen.
  const compensated = once(a.served, 'compensate', { signal: AbortSignal.timeout(30_000) });
  try {
    await transfer(60);
    mistakes += 1;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    console.log(`   answer: ${error.message}`);
  }
  await compensated;
  expectBalances(70, 30);

  console.log(mistakes === 0 ? 'the money is right' : 'the money is WRONG');
  process.exitCode = mistakes === 0 ? 0 : 1;
} finally {
  client.close();
  a.close();
  b.close();
}
