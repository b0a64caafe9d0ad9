// A service's part of an XA transaction.
//
// Source: dtm reference §10.1, §10.4.

import type { Branch } from '../branch.ts';
import type { Coordinator } from '../coordinator/coordinator.ts';
import { UsageError } from '../errors.ts';
import type { XaResource } from './resource.ts';

export async function xaLocal<Connection>(
  coordinator: Coordinator,
  branch: Branch,
  resource: XaResource<Connection>,
  business: (connection: Connection) => Promise<void>,
): Promise<void> {
  const { gid, branchId, op, phase2Url } = branch;
  if (branch.transactionType !== 'xa') {
    throw new UsageError(`${gid} is a ${branch.transactionType}, no xa`);
  }
  switch (op) {
    case 'commit':
    case 'rollback':
      await resource.finish(branch, op);
      return;
    case 'action': {
      if (phase2Url === '') throw new UsageError('the request has no phase2_url');
      const fields = { url: phase2Url };
      await resource.prepare(branch, async (connection) => {
        await business(connection);
        const payload = undefined;
        await coordinator.registerBranch({ gid, transactionType: 'xa', branchId, payload, fields });
      });
      return;
    }
    default:
      throw new UsageError(`an xa branch has no op "${op}"`);
  }
}
