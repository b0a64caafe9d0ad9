// The demonstration: transfers between two banks through every node while the leader is killed, and
// an account of every cent at the end. Exits 1 when anything is lost, doubled or half done.
//
// Usage: transfers.ts --data DIRECTORY --nodes ID:PORT,… --seconds N --clients N --scripts DIRECTORY
// It is an ordinary dtm client: it knows nothing of leaders and repeats a request on another node
// when one does not answer. It sends nothing to a process that is not a node of this cluster, and
// waits for nothing without an end.

import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { Agent, request } from 'undici';
import type { Ledger } from './bank.ts';
import { type DemoNode, nodesOf } from './own-nodes.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: 'cluster/data' },
    nodes: { type: 'string', default: '1:36789,2:36799,3:36809' },
    seconds: { type: 'string', default: '15' },
    clients: { type: 'string', default: '16' },
    scripts: { type: 'string', default: 'cluster' },
  },
});
const nodes = nodesOf(values.data, values.nodes);
const seconds = Number(values.seconds);
const ACCOUNTS = 50;
const OPENING_BALANCE = 10_000;
const ANSWER_TIMEOUT_MS = 10_000;
const GIVE_UP_MS = 60_000;
const BANK_START_TIMEOUT_MS = 30_000;
/** More than the scripts themselves wait for a node. */
const SCRIPT_TIMEOUT_MS = 90_000;
const LEADER_WAIT_MS = 15_000;
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
const seen = { answered: 0, repeats: 0, longestWaitMs: 0, leader: '', settledAt: 0 };

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
  child.once('exit', (code) => {
    if (code !== 0) fail(new Error(`a bank ended by itself, exit ${String(code)}`));
  });
  const lines = createInterface({ input: child.stdout });
  const signal = AbortSignal.timeout(BANK_START_TIMEOUT_MS);
  const [line] = (await once(lines, 'line', { signal }).catch(() => {
    throw new Error(`a bank did not start within ${BANK_START_TIMEOUT_MS / 1000} s`);
  })) as [string];
  return { url: `http://127.0.0.1:${line.split(' ')[1] ?? ''}`, child };
}

/** The banks end with their standard input. */
function fail(error: unknown): never {
  console.error(`\ndemo: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
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

interface Asked {
  readonly node: DemoNode | undefined;
  /** Undefined: nobody answered. */
  readonly answer: { readonly status: number; readonly json: Record<string, unknown> } | undefined;
}

/** Asks a node of ours; of a node that did not answer it is looked again whether it is ours. */
async function ask(
  number: number,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<Asked> {
  const node = nodes[number % nodes.length];
  if (node?.isOurs() !== true) return { node, answer: undefined };
  const answer = await call(method, `${node.url}${path}`, body).catch(() => undefined);
  if (answer === undefined) node.doubt();
  return { node, answer };
}

function saidBy({ node, answer }: Asked): string {
  const who = `node ${String(node?.id)}`;
  if (answer !== undefined) return `${who}: ${answer.status} ${JSON.stringify(answer.json)}`;
  return node?.isOurs() === true
    ? `${who} does not answer`
    : `${who} does not run: nobody, or another process, listens on its port`;
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
    const asked = await ask(first + attempt, 'POST', '/api/dtmsvr/submit', body);
    if (asked.answer?.status === 200 || asked.answer?.status === 409) break;
    seen.repeats += 1;
    if (performance.now() - startedAt > GIVE_UP_MS) {
      throw new Error(
        `no node took transfer ${transfer.gid} within ${GIVE_UP_MS / 1000} s; the last: ${saidBy(asked)}`,
      );
    }
    await delay(20);
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

/** The final status of a transfer, from any node; waits while it runs, and others come to an end. */
async function settle(transfer: Transfer, first: number): Promise<void> {
  for (let attempt = 0; performance.now() - seen.settledAt < GIVE_UP_MS; attempt += 1) {
    const path = `/api/dtmsvr/query?gid=${transfer.gid}`;
    const { answer } = await ask(first + attempt, 'GET', path);
    const found = answer?.json['transaction'] as { status: string } | null | undefined;
    if (found?.status === 'succeed' || found?.status === 'failed') {
      transfer.status = found.status;
      seen.settledAt = performance.now();
      return;
    }
    await delay(100);
  }
}

function progress(startedAt: number): void {
  const elapsed = (performance.now() - startedAt) / 1000;
  const line = `${elapsed.toFixed(1).padStart(5)} s · ${seen.answered} transfers answered · ${seen.repeats} repeated on another node · longest wait ${Math.round(seen.longestWaitMs)} ms${seen.leader}`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}\u001b[K` : `${line}\n`);
}

/** What the script says; its failure is ours, in its words. */
async function runScript(name: string, argument: string): Promise<string> {
  const options = { timeout: SCRIPT_TIMEOUT_MS };
  try {
    return (await promisify(execFile)(`${values.scripts}/${name}`, [argument], options)).stdout;
  } catch (error) {
    const said = (error as { readonly stderr?: string }).stderr?.trim();
    throw new Error(said || `${name} ${argument} did not end within ${SCRIPT_TIMEOUT_MS / 1000} s`);
  }
}

/** Who leads may be in the balance for a moment. */
async function killLeader(): Promise<string> {
  const giveUpAt = performance.now() + LEADER_WAIT_MS;
  for (;;) {
    try {
      return await runScript('kill.sh', 'leader');
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await delay(200);
    }
  }
}

/** Kills the leader after a third of the run and starts that node again after another third. */
async function disturb(thirdMs: number): Promise<void> {
  await delay(thirdMs);
  const node = /node (\d+)/.exec(await killLeader())?.[1] ?? '';
  nodes.find(({ id }) => id === Number(node))?.doubt();
  seen.leader = ` · leader (node ${node}) killed`;
  await delay(thirdMs);
  await runScript('start.sh', node);
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
  // A failure of it counts at the end: what has been submitted is settled and audited first.
  const disturbed = disturb((seconds * 1000) / 3).then(
    () => [],
    (error: unknown) => [String(error instanceof Error ? error.message : error)],
  );
  await Promise.all(
    Array.from({ length: Number(values.clients) }, (_, i) => client(i, urls, until, run)),
  );
  const failures = await disturbed;
  clearInterval(timer);
  progress(startedAt);
  process.stdout.write('\n\nasking every node for every transfer…\n');
  const queue = [...transfers.entries()];
  seen.settledAt = performance.now();
  const settleNext = async (): Promise<void> => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop())
      await settle(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: 32 }, settleNext));
  const ledgers = await Promise.all(
    urls.map(async (url) => (await call('GET', `${url}/ledger`)).json as unknown as Ledger),
  );
  for (const bank of banks) bank.child.stdin?.end();
  return report(ledgers, failures);
}

function report(ledgers: readonly Ledger[], failures: readonly string[]): number {
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
  for (const failure of failures) console.error(`\nbut the demonstration failed: ${failure}`);
  return errors.length === 0 && failures.length === 0 ? 0 : 1;
}

process.exitCode = await main().catch(fail);
await dispatcher.close();
