// A small bank: accounts in memory, and the four branch endpoints of a transfer behind a barrier.
//
//   POST /out /outUndo /in /inUndo   body {"account":"a1","amount":30}
//   GET  /ledger                     {"balances":{…},"applied":n,"skipped":n,"refused":n}
//
// Usage: bank.ts --accounts N --balance CENTS. Prints "listening PORT" and serves until its standard
// input closes, so that it never outlives whoever started it.

import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    accounts: { type: 'string', default: '50' },
    balance: { type: 'string', default: '10000' },
  },
});
const balances = new Map<string, number>();
for (let i = 1; i <= Number(values.accounts); i += 1) balances.set(`a${i}`, Number(values.balance));

/** The branch barrier: rows (gid, branch, op) that have had their effect, or must never have it. */
const barrier = new Set<string>();
const counts = { applied: 0, skipped: 0, refused: 0 };

/** Runs `effect` once for this operation; a compensation without its action does nothing (and
 * forbids the late action). False: the business refuses. */
function behindBarrier(query: URLSearchParams, effect: () => boolean): boolean {
  const row = (op: string) => `${query.get('gid')}/${query.get('branch_id')}/${op}`;
  const op = query.get('op') ?? '';
  const emptyCompensation = op === 'compensate' && !barrier.has(row('action'));
  if (op === 'compensate') barrier.add(row('action'));
  if (emptyCompensation || barrier.has(row(op))) {
    barrier.add(row(op));
    counts.skipped += 1;
    return true;
  }
  if (!effect()) {
    counts.refused += 1;
    return false;
  }
  barrier.add(row(op));
  counts.applied += 1;
  return true;
}

function move(account: string, cents: number): boolean {
  const balance = balances.get(account);
  if (balance === undefined || balance + cents < 0) return false;
  balances.set(account, balance + cents);
  return true;
}

const SIGNS: Readonly<Record<string, number>> = {
  '/out': -1,
  '/outUndo': 1,
  '/in': 1,
  '/inUndo': -1,
};

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

const server = createServer((request, response) => {
  void (async () => {
    const url = new URL(request.url ?? '/', 'http://bank');
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (url.pathname === '/ledger') {
      answer(200, { balances: Object.fromEntries(balances), ...counts });
      return;
    }
    const sign = SIGNS[url.pathname];
    if (sign === undefined) {
      answer(404, { message: `no such endpoint: ${url.pathname}` });
      return;
    }
    const { account, amount } = JSON.parse(await bodyOf(request)) as {
      account: string;
      amount: number;
    };
    const done = behindBarrier(url.searchParams, () => move(account, sign * amount));
    if (done) answer(200, { dtm_result: 'SUCCESS' });
    else answer(409, { dtm_result: 'FAILURE', message: `${account} cannot pay ${amount}` });
  })();
});
server.listen(0, '127.0.0.1', () => {
  console.log(`listening ${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().on('end', () => process.exit(0));
