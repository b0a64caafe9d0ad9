// The demonstration: transfers between two banks through every node while the leader is killed, and
// an account of every cent at the end. Exits 1 when anything is lost, doubled or half done.
//
// Usage: transfers.ts --nodes PORT,PORT,… --seconds N --clients N --kill-script FILE --start-script FILE
// It is an ordinary dtm client: it knows nothing of leaders and repeats a request on another node
// when one does not answer.

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Agent, request } from 'undici';
import type { Ledger } from './bank.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '36789,36799,36809' },
    seconds: { type: 'string', default: '15' },
    clients: { type: 'string', default: '16' },
    'kill-script': { type: 'string' },
    'start-script': { type: 'string' },
  },
});
const nodes = values.nodes.split(',').map((port) => `http://127.0.0.1:${port}`);
const seconds = Number(values.seconds);
const ACCOUNTS = 50;
const OPENING_BALANCE = 10_000;
const ANSWER_TIMEOUT_MS = 10_000;
const GIVE_UP_MS = 60_000;
const dispatcher = new Agent({ connections: 64, connectTimeout: 1000 });

interface Transfer {
  readonly gid: string;
  /** The bank that pays: 0 or 1; the other one receives. */
  readonly payer: number;
  readonly from: string;
  readonly to: string;
  readonly amount: number;
  status: string;
}
const transfers: Transfer[] = [];
const seen = { answered: 0, repeats: 0, longestWaitMs: 0, leader: '' };

async function startBank(): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      `${import.meta.dirname}/bank-process.ts`,
      '--accounts',
      String(ACCOUNTS),
      '--balance',
      String(OPENING_BALANCE),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return { url: `http://127.0.0.1:${line.split(' ')[1] ?? ''}`, child };
}

async function call(
  method: 'GET' | 'POST',
  url: string,
  body?: unknown,
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await request(url, {
    method,
    dispatcher,
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return {
    status: response.statusCode,
    json: (await response.body.json()) as Record<string, unknown>,
  };
}

/** Repeats on the next node until one answers about the transaction (200 or 409). */
async function submit(transfer: Transfer, banks: readonly string[], first: number): Promise<void> {
  const outBank = banks[transfer.payer] ?? '';
  const inBank = banks[1 - transfer.payer] ?? '';
  const step = (bank: string, op: string) => ({
    action: `${bank}/${op}`,
    compensate: `${bank}/${op}Undo`,
  });
  const body = {
    gid: transfer.gid,
    trans_type: 'saga',
    steps: [step(outBank, 'out'), step(inBank, 'in')],
    payloads: [
      JSON.stringify({ account: transfer.from, amount: transfer.amount }),
      JSON.stringify({ account: transfer.to, amount: transfer.amount }),
    ],
    wait_result: true,
  };
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt += 1) {
    const node = nodes[(first + attempt) % nodes.length] ?? '';
    const answer = await call('POST', `${node}/api/dtmsvr/submit`, body).catch(() => undefined);
    if (answer?.status === 200 || answer?.status === 409) break;
    seen.repeats += 1;
    if (performance.now() - startedAt > GIVE_UP_MS)
      throw new Error(`${transfer.gid}: no answer within ${GIVE_UP_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  seen.answered += 1;
  seen.longestWaitMs = Math.max(seen.longestWaitMs, performance.now() - startedAt);
}

async function client(
  number: number,
  banks: readonly string[],
  until: number,
  run: string,
): Promise<void> {
  for (let i = 0; performance.now() < until; i += 1) {
    const pick = () => `a${1 + Math.floor(Math.random() * ACCOUNTS)}`;
    const transfer = {
      gid: `demo-${run}-${number}-${i}`,
      payer: Math.random() < 0.5 ? 0 : 1,
      from: pick(),
      // One in ten goes to an account that does not exist: its first step must be undone.
      to: Math.random() < 0.1 ? 'nobody' : pick(),
      amount: 1 + Math.floor(Math.random() * 500),
      status: '',
    };
    transfers.push(transfer);
    await submit(transfer, banks, number + i);
  }
}

/** The final status of every transfer, from any node; waits for those that still run. */
async function settle(transfer: Transfer, first: number): Promise<void> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  for (let attempt = 0; performance.now() < giveUpAt; attempt += 1) {
    const node = nodes[(first + attempt) % nodes.length] ?? '';
    const answer = await call('GET', `${node}/api/dtmsvr/query?gid=${transfer.gid}`).catch(
      () => undefined,
    );
    const found = answer?.json['transaction'] as { status: string } | null | undefined;
    if (found?.status === 'succeed' || found?.status === 'failed') {
      transfer.status = found.status;
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function progress(startedAt: number): void {
  const elapsed = (performance.now() - startedAt) / 1000;
  const line = `${elapsed.toFixed(1).padStart(5)} s · ${seen.answered} transfers answered · ${seen.repeats} repeated on another node · longest wait ${Math.round(seen.longestWaitMs)} ms${seen.leader}`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}\u001b[K` : `${line}\n`);
}

async function runScript(script: string | undefined, argument: string): Promise<string> {
  if (script === undefined) return '';
  const child = spawn(script, [argument], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return line;
}

/** Kills the leader after a third of the run and starts that node again after another third. */
async function disturb(thirdMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, thirdMs));
  const said = await runScript(values['kill-script'], 'leader');
  const node = /node (\d+)/.exec(said)?.[1];
  if (node === undefined) return;
  seen.leader = ` · leader (node ${node}) killed`;
  await new Promise((resolve) => setTimeout(resolve, thirdMs));
  await runScript(values['start-script'], node);
  seen.leader += ', started again';
}

/** What each account must hold, given what the cluster says of every transfer. */
function errorsIn(ledgers: readonly Ledger[]): string[] {
  const expected = ledgers.map(() => new Map<string, number>());
  for (const sums of expected)
    for (let i = 1; i <= ACCOUNTS; i += 1) sums.set(`a${i}`, OPENING_BALANCE);
  const add = (bank: number, account: string, cents: number) =>
    expected[bank]?.set(account, (expected[bank].get(account) ?? 0) + cents);
  const errors = transfers.filter((t) => t.status === '').map((t) => `${t.gid} did not end`);
  for (const transfer of transfers.filter((t) => t.status === 'succeed')) {
    add(transfer.payer, transfer.from, -transfer.amount);
    add(1 - transfer.payer, transfer.to, transfer.amount);
  }
  ledgers.forEach((ledger, bank) => {
    for (const [account, balance] of Object.entries(ledger.balances)) {
      const wanted = expected[bank]?.get(account);
      if (wanted !== balance)
        errors.push(`bank ${bank + 1}, ${account}: holds ${balance}, expected ${String(wanted)}`);
    }
  });
  return errors;
}

async function main(): Promise<number> {
  const banks = await Promise.all([startBank(), startBank()]);
  const urls = banks.map((bank) => bank.url);
  const run = Date.now().toString(36);
  const startedAt = performance.now();
  const until = startedAt + seconds * 1000;
  const timer = setInterval(() => progress(startedAt), process.stdout.isTTY ? 200 : 1000);
  const disturbed = disturb((seconds * 1000) / 3);
  await Promise.all(
    Array.from({ length: Number(values.clients) }, (_, i) => client(i, urls, until, run)),
  );
  await disturbed;
  clearInterval(timer);
  progress(startedAt);
  process.stdout.write('\n\nasking every node for every transfer…\n');
  const queue = [...transfers.entries()];
  const settleNext = async (): Promise<void> => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop())
      await settle(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: 32 }, settleNext));
  const ledgers = await Promise.all(
    urls.map(async (url) => (await call('GET', `${url}/ledger`)).json as unknown as Ledger),
  );
  for (const bank of banks) bank.child.stdin?.end();
  return report(ledgers);
}

function report(ledgers: readonly Ledger[]): number {
  const total = (ledger: Ledger) =>
    Object.values(ledger.balances).reduce((sum, cents) => sum + cents, 0);
  const sums = ledgers.map(total);
  const opening = ledgers.length * ACCOUNTS * OPENING_BALANCE;
  const held = sums.reduce((a, b) => a + b, 0);
  const of = (status: string) => transfers.filter((t) => t.status === status).length;
  const cents = (n: number) => (n / 100).toFixed(2);
  console.log('the ledger');
  for (const [i, sum] of sums.entries()) {
    console.log(`  bank ${i + 1}                 ${cents(sum).padStart(12)}`);
  }
  console.log(
    `  together               ${cents(held).padStart(12)}   opened with ${cents(opening)}`,
  );
  console.log(`  transfers              ${String(transfers.length).padStart(12)}`);
  console.log(`  succeeded              ${String(of('succeed')).padStart(12)}`);
  console.log(`  compensated            ${String(of('failed')).padStart(12)}`);
  console.log(
    `  longest wait of a client ${String(Math.round(seen.longestWaitMs)).padStart(10)} ms`,
  );
  const errors = errorsIn(ledgers);
  if (held !== opening) errors.push(`${cents(opening - held)} is missing`);
  for (const error of errors.slice(0, 20)) console.error(`WRONG: ${error}`);
  console.log(errors.length === 0 ? '\nnot a cent is missing.' : `\n${errors.length} errors.`);
  return errors.length === 0 ? 0 : 1;
}

process.exitCode = await main();
await dispatcher.close();
