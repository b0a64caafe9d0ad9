// A bank as a process: prints "listening PORT" and serves until its standard input closes, so that it
// never outlives whoever started it. Usage: bank-process.ts --accounts N --balance CENTS

import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Bank, bankServer } from './bank.ts';

const { values } = parseArgs({
  options: {
    accounts: { type: 'string', default: '50' },
    balance: { type: 'string', default: '10000' },
  },
});
const server = bankServer(new Bank(Number(values.accounts), Number(values.balance)));
server.listen(0, '127.0.0.1', () => {
  console.log(`listening ${(server.address() as AddressInfo).port}`);
});
process.stdin.resume().on('end', () => process.exit(0));
