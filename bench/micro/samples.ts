// What the micro-benchmarks work on: a two-step saga as it travels and as it is stored.

import type { Command } from '../../src/engine/machine/index.ts';
import { encodeCommand } from '../../src/engine/machine/index.ts';
import type { Configuration, Entry, NodeLog } from '../../src/raft/index.ts';
import { systemClock } from '../../src/server/system-ports.ts';

const NODE_ID = 1;
const INCARNATION = 1;
const MS_PER_DAY = 24 * 3600 * 1000;

export const clock = systemClock;
export const silent: NodeLog = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
export const fatal = (error: Error): never => {
  throw error;
};

const payload = new TextEncoder().encode('{"amount":30,"account":"a1"}');

export const openSession: Command = {
  kind: 'openSession',
  nodeId: NODE_ID,
  incarnation: INCARNATION,
};

/** The command that submits saga number `seq`. */
export function submitOf(seq: number): Command {
  const url = (path: string) => `http://127.0.0.1:8080/${path}`;
  return {
    kind: 'operation',
    opId: { nodeId: NODE_ID, incarnation: INCARNATION, seq },
    lowestOpenSeq: Math.max(1, seq - 64),
    request: {
      kind: 'submit',
      transaction: {
        gid: gidOf(seq),
        type: 'saga',
        steps: [
          { action: url('out'), compensate: url('outUndo') },
          { action: url('in'), compensate: url('inUndo') },
        ],
        payloads: [payload, payload],
        queryPrepared: undefined,
        protocol: undefined,
        customData: undefined,
        rollbackReason: undefined,
        options: { waitResult: true },
      },
      defaults: {
        timeoutToFailMs: 35_000,
        retryIntervalMs: 10_000,
        requestTimeoutMs: 3_000,
        retentionMs: 7 * MS_PER_DAY,
        preparedExpiryMs: 7 * MS_PER_DAY,
        strictResubmit: false,
      },
    },
  };
}

/** The command that records both results of saga number `seq` and its end. */
export function advanceOf(seq: number, atMs: number): Command {
  const result = (row: number) => ({
    row,
    attempt: 1,
    term: 1,
    atMs,
    durationMs: 2,
    outcome: 'success' as const,
    detail: '{"dtm_result":"SUCCESS"}',
    retryAtMs: undefined,
    intervalMs: 10_000,
  });
  return {
    kind: 'advance',
    gid: gidOf(seq),
    expectStatus: 'submitted',
    results: [result(1), result(3)],
    decision: { to: 'succeed' },
    retries: 0,
  };
}

export function gidOf(seq: number): string {
  return `bench-2f6c1a9b-${seq}`;
}

export function entryOf(index: number, commandCount: number): Entry {
  const commands = Array.from({ length: commandCount }, (_, i) =>
    encodeCommand(submitOf(index * commandCount + i)),
  );
  return { kind: 'commands', index, term: 1, timeMs: 1_700_000_000_000 + index, commands };
}

export function configurationOf(nodeIds: readonly number[]): Configuration {
  return {
    voters: nodeIds,
    outgoing: [],
    learners: [],
    learnersNext: [],
    members: nodeIds.map((nodeId) => ({ nodeId, birthId: `birth-${nodeId}` })),
  };
}
