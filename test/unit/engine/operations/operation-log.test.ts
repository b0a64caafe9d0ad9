// Operations of a node: one answer each, from its own apply, whoever leads meanwhile.

import { describe, expect, it } from 'vitest';
import type {
  AppliedEntry,
  OperationId,
  OperationRequest,
  TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import { decodeCommand } from '../../../../src/engine/machine/index.ts';
import {
  decodeForward,
  decodeForwardReply,
  encodeForwardReply,
} from '../../../../src/engine/operations/forward-codec.ts';
import type { ForwardTransport } from '../../../../src/engine/operations/forward-port.ts';
import { OperationLog } from '../../../../src/engine/operations/operation-log.ts';
import type { Consensus, Leadership } from '../../../../src/engine/operations/ports.ts';
import type { OperationOutcome } from '../../../../src/engine/operations/types.ts';
import type { ProposeResult } from '../../../../src/raft/index.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';

const CONFIG = { openOperationsMax: 3, waitLeaderMs: 5000, retryMs: 20 };
const ABORT: OperationRequest = { kind: 'abort', gid: 'g', type: 'saga', rollbackReason: '' };

const SUBSCRIBE: OperationRequest = { kind: 'subscribe', topic: 't', url: 'u', remark: '' };
const BARE: TransactionInput = {
  gid: 'g',
  type: 'tcc',
  steps: undefined,
  payloads: undefined,
  queryPrepared: undefined,
  protocol: undefined,
  customData: undefined,
  rollbackReason: undefined,
  options: {},
};
const DEFAULTS = {
  timeoutToFailMs: 35_000,
  retryIntervalMs: 10_000,
  requestTimeoutMs: 3000,
  retentionMs: 86_400_000,
  preparedExpiryMs: 604_800_000,
  strictResubmit: false,
};

type Answer = (result: ProposeResult | 'notSent' | 'lost') => void;

/** A node whose consensus and peers answer when the test says so. */
class Harness {
  readonly clock = new ManualClock();
  readonly offered: {
    readonly seq: number;
    readonly to: number;
    readonly lane: string;
    readonly answer: Answer;
  }[] = [];
  leadershipNow: Leadership = { term: 1, leaderId: 2, isLeader: false, recovering: false };
  readonly log: OperationLog;

  constructor() {
    const offer = (command: Uint8Array, lane: string, to: number, answer: Answer) => {
      const decoded = decodeCommand(command);
      if (decoded.kind === 'openSession') answer({ accepted: true, term: 1, index: 1 });
      else if (decoded.kind === 'operation') {
        this.offered.push({ seq: decoded.opId.seq, to, lane, answer });
      }
    };
    const consensus: Consensus = {
      propose: (command, lane, done) =>
        offer(command, lane, 1, (r) => typeof r !== 'string' && done(r)),
      readIndex: () => Promise.resolve(0),
      commitInterest: () => undefined,
      leadership: () => this.leadershipNow,
    };
    const forward: ForwardTransport = {
      forward: (to, request, done) => {
        const { command, lane } = decodeForward(request);
        offer(command, lane, to, (r) =>
          done(
            typeof r === 'string' ? { kind: r } : { kind: 'reply', bytes: encodeForwardReply(r) },
          ),
        );
      },
      onForward: () => undefined,
      notify: () => undefined,
      onNotify: () => undefined,
    };
    this.log = new OperationLog(
      { nodeId: 1, incarnation: 7 },
      { consensus, forward, clock: this.clock },
      CONFIG,
    );
    this.log.start();
    this.log.sessionOpened(1, 7);
  }

  apply(seq: number, over: Partial<OperationId> = {}): void {
    const entry: AppliedEntry = {
      index: 9,
      term: 1,
      timeMs: 1,
      changes: [],
      operations: [
        {
          opId: { nodeId: 1, incarnation: 7, seq, ...over },
          result: { kind: 'failure', message: `result of ${seq}` },
        },
      ],
      refusedOperations: [],
      sessionsOpened: [],
      divergence: undefined,
    };
    this.log.applied(entry);
  }

  elect(term: number, leaderId: number | undefined): Promise<void> {
    this.leadershipNow = { term, leaderId, isLeader: leaderId === 1, recovering: false };
    this.log.leadershipChanged();
    return this.clock.advance(0);
  }
}

const accepted = (term: number): ProposeResult => ({ accepted: true, term, index: 5 });
const settled = async (promise: Promise<OperationOutcome>): Promise<OperationOutcome | undefined> =>
  Promise.race([
    promise,
    new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined))),
  ]);

describe('operations', () => {
  it('answers from its own apply, not from the append', async () => {
    const h = new Harness();
    const outcome = h.log.execute(ABORT, 7000);
    h.offered[0]?.answer(accepted(1));
    expect(await settled(outcome)).toBeUndefined();
    h.apply(1);
    expect(await outcome).toEqual({
      kind: 'applied',
      result: { kind: 'failure', message: 'result of 1' },
    });
  });

  it('offers the same operation id to the next leader when the term changes', async () => {
    const h = new Harness();
    const outcome = h.log.execute(ABORT, 7000);
    h.offered[0]?.answer(accepted(1));
    await h.elect(2, 3);
    expect(h.offered.map(({ seq, to }) => [seq, to])).toEqual([
      [1, 2],
      [1, 3],
    ]);
    h.apply(1);
    expect((await outcome).kind).toBe('applied');
  });

  it('offers again what a hanging leader never answered for', async () => {
    const h = new Harness();
    void h.log.execute(ABORT, 7000);
    await h.elect(2, 3);
    expect(h.offered.map(({ to }) => to)).toEqual([2, 3]);
  });

  it('O2: says unknown, not refused, once an attempt may have been appended', async () => {
    const h = new Harness();
    const outcome = h.log.execute(ABORT, 7000);
    h.offered[0]?.answer('lost');
    await h.elect(2, 3);
    h.offered[1]?.answer({ accepted: false, reason: 'overloaded', term: 2, leaderId: 3 });
    expect(await settled(outcome)).toBeUndefined();
    await h.clock.advance(7100);
    expect((await outcome).kind).toBe('unknown');
  });

  it('O2: a late answer to an earlier offer keeps the outcome unknown', async () => {
    const h = new Harness();
    const outcome = h.log.execute(ABORT, 7000);
    await h.elect(2, 3);
    h.offered[1]?.answer('notSent');
    h.offered[0]?.answer(accepted(1));
    await h.elect(3, undefined);
    await h.clock.advance(7100);
    expect((await outcome).kind).toBe('unknown');
  });

  it('refuses within waitLeaderMs when no leader ever took it', async () => {
    const h = new Harness();
    await h.elect(2, undefined);
    const outcome = h.log.execute(ABORT, 7000);
    await h.clock.advance(5100);
    expect(await outcome).toMatchObject({ kind: 'refused', code: 'NO_LEADER' });
  });

  it('refuses what the leader refuses for load or for space, and only before any append', async () => {
    const h = new Harness();
    const overloaded = h.log.execute(ABORT, 7000);
    h.offered[0]?.answer({ accepted: false, reason: 'overloaded', term: 1, leaderId: 2 });
    expect(await overloaded).toMatchObject({ kind: 'refused', code: 'OVERLOADED' });
    const full = h.log.execute(ABORT, 7000);
    h.offered[1]?.answer({ accepted: false, reason: 'admissionClosed', term: 1, leaderId: 2 });
    expect(await full).toMatchObject({ kind: 'refused', code: 'NO_SPACE' });
  });

  it('P8: refuses beyond openOperationsMax, at once; progress has a tenth more room', async () => {
    const h = new Harness();
    for (let i = 0; i < CONFIG.openOperationsMax; i += 1) void h.log.execute(SUBSCRIBE, 7000);
    const refused = { kind: 'refused', code: 'OVERLOADED' };
    expect(await h.log.execute(SUBSCRIBE, 7000)).toMatchObject(refused);
    const letIn = h.log.execute(ABORT, 7000);
    expect(await settled(letIn)).toBeUndefined();
    expect(await h.log.execute(ABORT, 7000)).toMatchObject(refused);
  });

  it('only new work is offered as admission, here and over the link', async () => {
    const h = new Harness();
    const gid = 'g';
    const input = { ...BARE, gid, type: 'msg' } as const;
    const registration = { kind: 'tcc', confirm: '', cancel: '' } as const;
    const payload = new Uint8Array();
    const requests: readonly (readonly [OperationRequest, string])[] = [
      [{ kind: 'prepare', transaction: input, defaults: DEFAULTS }, 'admission'],
      [{ kind: 'submit', transaction: input, defaults: DEFAULTS }, 'admission'],
      [SUBSCRIBE, 'admission'],
      [ABORT, 'progress'],
      [{ kind: 'forceStop', gid, by: 'ops', reason: '' }, 'progress'],
      [{ kind: 'registerBranch', gid, branchId: '01', registration, payload }, 'progress'],
      [{ kind: 'resetNextCronTime', gids: [gid], mustExist: true }, 'progress'],
      ...(['tcc', 'xa', 'workflow'] as const).map((type): readonly [OperationRequest, string] => [
        { kind: 'submit', transaction: { ...input, type }, defaults: DEFAULTS },
        'progress',
      ]),
    ];
    for (const isLeader of [true, false]) {
      h.leadershipNow = { ...h.leadershipNow, leaderId: isLeader ? 1 : 2, isLeader };
      for (const [request, lane] of requests) {
        void h.log.execute(request, 7000);
        const offer = h.offered.at(-1);
        expect([request.kind, offer?.lane]).toEqual([request.kind, lane]);
        h.apply(offer?.seq ?? 0);
      }
    }
    expect(h.offered).toHaveLength(2 * requests.length);
  });

  it('takes no answer that belongs to another incarnation or node', async () => {
    const h = new Harness();
    const outcome = h.log.execute(ABORT, 7000);
    h.apply(1, { incarnation: 6 });
    h.apply(1, { nodeId: 2 });
    expect(await settled(outcome)).toBeUndefined();
  });

  it('answers every open operation when it stops', async () => {
    const h = new Harness();
    const handed = h.log.execute(ABORT, 7000);
    h.offered[0]?.answer(accepted(1));
    h.log.stop();
    expect((await handed).kind).toBe('unknown');
    expect(await h.log.execute(ABORT, 7000)).toMatchObject({ kind: 'refused', code: 'DRAINING' });
  });

  it('writes and reads every reply of the forwarding lane', () => {
    const replies: ProposeResult[] = [
      accepted(3),
      { accepted: false, reason: 'notLeader', term: 3, leaderId: 2 },
      { accepted: false, reason: 'transferring', term: 3, leaderId: undefined },
      { accepted: false, reason: 'overloaded', term: 3, leaderId: 1 },
      { accepted: false, reason: 'admissionClosed', term: 3, leaderId: 1 },
    ];
    for (const reply of replies)
      expect(decodeForwardReply(encodeForwardReply(reply))).toEqual(reply);
  });
});
