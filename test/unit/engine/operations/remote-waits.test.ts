import { describe, expect, it } from 'vitest';
import type {
  AppliedEntry,
  Command,
  Transaction,
  TransactionStatus,
} from '../../../../src/engine/machine/index.ts';
import { RemoteWaits } from '../../../../src/engine/operations/index.ts';

const SELF = 1;

function entry(
  gid: string,
  status: TransactionStatus,
  by: { readonly nodeId: number; readonly waitResult?: boolean } | undefined,
): AppliedEntry {
  const after = {
    definition: { options: { waitResult: by?.waitResult ?? true } },
    state: { status },
  } as unknown as Transaction;
  const opId = by === undefined ? undefined : { nodeId: by.nodeId, incarnation: 1, seq: 1 };
  return { changes: [{ gid, before: undefined, after, opId }] } as unknown as AppliedEntry;
}

function advance(gid: string, more: object): Command {
  return {
    kind: 'advance',
    gid,
    expectStatus: 'submitted',
    results: [],
    decision: undefined,
    retries: 0,
    ...more,
  };
}
const decided = (gid: string) => advance(gid, { decision: { to: 'succeed' } });
const answered = (gid: string, outcome: string) => advance(gid, { results: [{ row: 1, outcome }] });

function remoteWaits() {
  const told: string[] = [];
  const waits = new RemoteWaits(SELF, (peer, index) => told.push(`${peer}@${index}`));
  return { waits, told };
}

describe('waits of other nodes', () => {
  it('tells the node of the client of what may end its wait, and of nothing else', () => {
    const { waits, told } = remoteWaits();
    waits.applied(entry('a', 'submitted', { nodeId: 2 }));
    waits.appended(answered('a', 'success'), 5);
    waits.appended(decided('b'), 6);
    waits.appended(answered('a', 'ongoing'), 7);
    waits.appended(decided('a'), 8);
    expect(told).toEqual(['2@7', '2@8']);
  });

  it('tells nobody of a client of this node, of one that does not wait, or before a submit', () => {
    const { waits, told } = remoteWaits();
    waits.applied(entry('own', 'submitted', { nodeId: SELF }));
    waits.applied(entry('gone', 'submitted', { nodeId: 2, waitResult: false }));
    waits.applied(entry('prepared', 'prepared', { nodeId: 3 }));
    for (const gid of ['own', 'gone', 'prepared']) waits.appended(decided(gid), 9);
    expect(told).toEqual([]);
  });

  it('forgets what is final, and everything when it stops leading', () => {
    const { waits, told } = remoteWaits();
    waits.applied(entry('a', 'submitted', { nodeId: 2 }));
    waits.applied(entry('a', 'aborting', undefined));
    waits.appended(decided('a'), 3);
    waits.applied(entry('a', 'failed', undefined));
    waits.appended(decided('a'), 4);
    waits.applied(entry('b', 'submitted', { nodeId: 2 }));
    waits.clear();
    waits.appended(decided('b'), 5);
    expect(told).toEqual(['2@3']);
  });
});
