// What the barrier on MySQL refuses before it asks the database; the barrier itself runs against a real
// server in test/databases.

import { describe, expect, it } from 'vitest';
import { Branch, mysqlBarrier } from '../../../src/client/index.ts';

describe('the barrier on MySQL', () => {
  it.each([
    ['order ', '01'],
    ['order', '01 '],
  ])(
    'refuses gid %j with branch %j: MySQL would take it for the one without the blank',
    async (gid, branchId) => {
      const statements: string[] = [];
      const released: string[] = [];
      const barrier = mysqlBarrier({
        getConnection: () =>
          Promise.resolve({
            query: (sql: string): Promise<[unknown, unknown]> => {
              statements.push(sql);
              return Promise.resolve([{}, undefined]);
            },
            release: () => released.push('release'),
            destroy: () => released.push('destroy'),
          }),
      });
      const branch = new Branch({ gid, transactionType: 'saga', branchId, op: 'action' });
      const run = barrier.call(branch, () => Promise.reject(new Error('it ran')));
      await expect(run).rejects.toMatchObject({ code: 'USAGE', outcome: 'none' });
      expect(statements).toEqual(['START TRANSACTION', 'ROLLBACK']);
      expect(released).toEqual(['release']);
    },
  );
});
