// An operation runs once, however often its command is committed.

import { describe, expect, test } from 'vitest';
import type { Command } from '../../../../src/engine/machine/index.ts';
import { Machine } from '../../../../src/engine/machine/index.ts';
import { DEFAULTS, MemoryState, Replica, START_MS, sagaInput } from './fixtures.ts';

function prepare(gid: string, seq: number, lowestOpenSeq = seq, incarnation = 1): Command {
  return {
    kind: 'operation',
    opId: { nodeId: 1, incarnation, seq },
    lowestOpenSeq,
    request: { kind: 'prepare', transaction: sagaInput(gid, 1), defaults: DEFAULTS },
  };
}

describe('operation sessions', () => {
  test('an operation of a session that is not open is refused and never runs', () => {
    const replica = new Replica();
    const applied = replica.apply(prepare('a', 1, 1, 2));
    expect(applied.refusedOperations).toEqual([{ nodeId: 1, incarnation: 2, seq: 1 }]);
    expect(applied.operations).toEqual([]);
    expect(replica.find('a')).toBeUndefined();
  });

  test('a repeated operation gives its stored result, in one entry and in another', () => {
    const replica = new Replica();
    replica.submit(sagaInput('a', 1));
    const command = prepare('a', 7, 5);
    const first = replica.apply(command, command);
    const request = { kind: 'forceStop', gid: 'a', by: '', reason: '' } as const;
    const opId = { nodeId: 1, incarnation: 1, seq: 8 };
    replica.apply({ kind: 'operation', opId, lowestOpenSeq: 5, request });
    const again = replica.apply({ ...command, lowestOpenSeq: 1 } as Command);
    expect(first.operations).toHaveLength(2);
    expect(again.operations).toEqual([first.operations[0]]);
    expect(again.changes).toEqual([]);
  });

  test('a sequence below the lowest open one is ignored, and its result forgotten', () => {
    const replica = new Replica();
    replica.apply(prepare('a', 3, 1));
    replica.apply(prepare('b', 40, 20));
    expect([...replica.state.values.keys()].filter((key) => key.startsWith('\x08'))).toHaveLength(
      1,
    );
    const late = replica.apply(prepare('c', 3, 1), prepare('d', 19, 1));
    expect(late).toMatchObject({ operations: [], refusedOperations: [], changes: [] });
    expect(replica.find('d')).toBeUndefined();
  });

  test('a newer session ends the older one and forgets its results', () => {
    const replica = new Replica();
    for (let seq = 1; seq <= 50; seq += 1) replica.apply(prepare(`g${seq}`, seq, 1));
    const opened = replica.apply({ kind: 'openSession', nodeId: 1, incarnation: 4 });
    expect(opened.sessionsOpened).toEqual([{ nodeId: 1, incarnation: 4 }]);
    expect([...replica.state.values.keys()].filter((key) => key.startsWith('\x08'))).toEqual([]);
    expect(replica.apply(prepare('g1', 1, 1)).refusedOperations).toHaveLength(1);
    expect(replica.apply(prepare('new', 1, 1, 4)).operations).toHaveLength(1);
  });

  test('an older session cannot be opened again, and the open one stays as it is', () => {
    const replica = new Replica();
    replica.apply({ kind: 'openSession', nodeId: 1, incarnation: 4 });
    replica.apply(prepare('a', 1, 1, 4));
    const older = replica.apply({ kind: 'openSession', nodeId: 1, incarnation: 3 });
    expect(older.sessionsOpened).toEqual([]);
    const same = replica.apply({ kind: 'openSession', nodeId: 1, incarnation: 4 });
    expect(same.sessionsOpened).toHaveLength(1);
    expect(replica.apply(prepare('a', 1, 1, 4)).changes).toEqual([]);
  });

  test('results are bounded by what is open: ten thousand operations leave one key', () => {
    const replica = new Replica();
    for (let seq = 1; seq <= 10_000; seq += 1) {
      replica.seq = seq;
      const opId = { nodeId: 1, incarnation: 1, seq };
      const request = { kind: 'abort', gid: 'x', type: '', rollbackReason: '' } as const;
      replica.apply({ kind: 'operation', opId, lowestOpenSeq: seq, request });
    }
    expect([...replica.state.values.keys()].filter((key) => key.startsWith('\x08'))).toHaveLength(
      1,
    );
  });

  test('a sender with impossibly many open sequences is refused', () => {
    const replica = new Replica();
    expect(replica.apply(prepare('a', 2 ** 40, 1)).refusedOperations).toHaveLength(1);
  });

  test('bug switch forgetOperationResult: a repeated operation runs again', () => {
    const replica = new Replica(new Set(['forgetOperationResult']));
    const applied = replica.apply(prepare('a', 1), {
      ...(prepare('a', 1) as Extract<Command, { kind: 'operation' }>),
      request: { kind: 'forceStop', gid: 'a', by: '', reason: '' },
    });
    expect(applied.changes).toHaveLength(2);
  });
});

describe('the digest command', () => {
  const entry = { index: 9, term: 1, timeMs: START_MS };
  const commands = [{ kind: 'digest', index: 5, digest: 7n }] as const;

  test('reports a replica that differs, and nothing when it agrees or has forgotten', () => {
    const machine = new Machine();
    const at = (digest: bigint | undefined) =>
      machine.applyEntry({ ...entry, commands }, new MemoryState(), () => digest).divergence;
    expect(at(8n)).toEqual({ index: 5, expected: 7n });
    expect(at(7n)).toBeUndefined();
    expect(at(undefined)).toBeUndefined();
  });
});
