// A program that sends a message with its local transaction, and then hangs where its argument says,
// to be killed there: `before-commit` or `after-commit`.

import { DtmClient } from '../../../src/client/index.ts';
import type { SqlServer } from '../index.ts';
import { add, connectLedger } from './ledger.ts';

export interface MessageClientConfig {
  readonly database: Pick<SqlServer, 'kind' | 'url'>;
  readonly endpoints: readonly string[];
  readonly protocol: 'http' | 'grpc';
  readonly gid: string;
  readonly serviceUrl: string;
  readonly account: number;
  readonly hangsAt: 'before-commit' | 'after-commit';
}

const config = JSON.parse(process.argv[2] ?? '') as MessageClientConfig;
const { database, endpoints, protocol, gid, serviceUrl, account, hangsAt } = config;
const client = new DtmClient({ endpoints, protocol });
const ledger = connectLedger(database);

async function hang(): Promise<never> {
  process.stdout.write(`${hangsAt}\n`);
  return await new Promise<never>(() => setInterval(() => undefined, 60_000));
}

await client
  .msg({ gid, timeoutToFailSeconds: 2, retryIntervalSeconds: 1 })
  .add({ action: `${serviceUrl}/deliver`, payload: account })
  .doAndSubmit(`${serviceUrl}/check`, async (branch) => {
    await ledger.barrier.call(branch, async (teller) => {
      await add(teller, account, -30);
      if (hangsAt === 'before-commit') await hang();
    });
    await hang();
  });
