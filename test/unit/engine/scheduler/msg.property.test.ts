// Random clients of two-phase messages, some of which die before or after their local commit; random
// answers, changes of leader, lost leases and refused proposals. A message is delivered if and only if
// its local transaction was committed, which is if and only if it was submitted or its check-back
// succeeded; it ends exactly once, and nothing is called before it is recorded (P2, P3, P4).

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type {
  AppliedEntry,
  Command,
  TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import type { BranchCall } from '../../../../src/engine/participants/index.ts';
import { seededRandom } from '../../../helpers/scheduler-clock.ts';
import { NODE_DEFAULTS, type Plan, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const MESSAGE_COUNT = 10;
const TIMEOUT_S = 5;

/** A client's database: the barrier row makes a commit and a refused check-back exclude each other. */
type Local = 'open' | 'committed' | 'refused';

class World {
  readonly node: SchedulerNode;
  readonly problems: string[] = [];
  readonly local = new Map<string, Local>();
  readonly #ends = new Map<string, string>();
  readonly #called = new Map<string, Set<string>>();
  readonly #random: () => number;
  #calm = false;
  #leading = false;

  constructor(seed: number) {
    const generator = seededRandom(seed);
    this.#random = () => generator.next();
    this.node = new SchedulerNode({
      config: {
        transactionsInFlightMax: this.#chance(0.3) ? 3 : 1000,
        readyMax: this.#chance(0.3) ? 2 : 1000,
        dueEntriesMax: this.#chance(0.3) ? 4 : 1000,
        commitEachResult: this.#chance(0.3),
        retryIntervalMsMax: 20_000,
        pageSize: 4,
      },
      commitMs: 1 + Math.floor(this.#random() * 10),
    });
    this.node.caller.answer = (call) => this.#answer(call);
    this.node.caller.onWrite = (call) => this.#written(call);
    const { scheduler } = this.node;
    const onApplied = scheduler.onApplied.bind(scheduler);
    scheduler.onApplied = (entry) => {
      this.#applied(entry);
      onApplied(entry);
    };
  }

  async run(): Promise<void> {
    this.#lead();
    for (let i = 0; i < MESSAGE_COUNT; i += 1) {
      const gid = `g${i}`;
      this.local.set(gid, 'open');
      this.#client(gid);
      await this.node.clock.advance(Math.floor(this.#random() * 2000));
      this.node.lease = this.#chance(0.85);
      this.node.refusing = this.#chance(0.1);
      this.node.deliverForwarded = this.#chance(0.5);
      if (this.#chance(0.2)) {
        this.#leading = false;
        this.node.scheduler.stopLeading();
        await this.node.clock.advance(Math.floor(this.#random() * 100));
        this.#lead();
      }
    }
    this.node.lease = true;
    this.node.refusing = false;
    await this.node.clock.advance(30_000);
    this.#calm = true;
    await this.node.clock.advance(300_000);
    for (const gid of this.local.keys()) this.#checkEnd(gid);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #lead(): void {
    this.#leading = true;
    this.node.leadAgain();
  }

  /** prepare → local transaction → submit or abort; it may die anywhere in between. */
  #client(gid: string): void {
    const transaction = this.#message(gid);
    const send = (command: Command): void => {
      this.node.append(command);
    };
    const { clock } = this.node;
    send(this.node.request({ kind: 'prepare', transaction, defaults: NODE_DEFAULTS }));
    const localMs = 20 + Math.floor(this.#random() * 8000);
    if (this.#chance(0.25)) return;
    clock.after(localMs, () => {
      if (this.local.get(gid) === 'refused') return;
      if (this.#chance(0.2)) {
        this.local.set(gid, 'refused');
        send(this.node.request({ kind: 'abort', gid, type: 'msg', rollbackReason: '' }));
        return;
      }
      this.local.set(gid, 'committed');
      if (this.#chance(0.35)) return;
      const submit = { kind: 'submit', transaction, defaults: NODE_DEFAULTS } as const;
      clock.after(Math.floor(this.#random() * 3000), () => send(this.node.request(submit)));
      if (this.#chance(0.2)) clock.after(4000, () => send(this.node.request(submit)));
    });
  }

  #message(gid: string): TransactionInput {
    return saga(gid, 1 + Math.floor(this.#random() * 3), {
      type: 'msg',
      queryPrepared: 'http://ap/check',
      customData: this.#chance(0.2) ? '{"delay":4}' : undefined,
      options: {
        retryIntervalS: 1,
        timeoutToFailS: TIMEOUT_S,
        concurrent: this.#chance(0.4),
      },
    });
  }

  #answer({ gid, op }: BranchCall): Plan {
    const draw = this.#calm ? 0 : this.#random();
    const times = { afterMs: Math.floor(this.#random() * 60), queueMs: this.#calm ? 0 : 5 };
    if (draw > 0.95) return { kind: 'notSent', reason: 'queueFull' };
    if (draw > 0.9) return { kind: 'hang' };
    if (draw > 0.75) return { kind: 'unknown', ...times };
    if (draw > 0.6) return { kind: 'ongoing', ...times };
    if (op !== 'msg') return { kind: draw > 0.5 ? 'failure' : 'success', ...times };
    // The check-back looks at, and settles, the local transaction when it is answered.
    if (this.local.get(gid) === 'committed') return { kind: 'success', ...times };
    this.local.set(gid, 'refused');
    return { kind: 'failure', detail: 'rolled back', ...times };
  }

  /** P2, at the moment a request is written. */
  #written({ gid, op, branchId }: BranchCall): void {
    const { node } = this;
    const status = node.committedNow(gid)?.state.status;
    if (status !== (op === 'msg' ? 'prepared' : 'submitted') || !node.lease || !this.#leading) {
      this.problems.push(`${op} ${branchId} of ${gid} was called while ${String(status)}`);
    }
    if (op === 'msg') return;
    this.#called.set(gid, (this.#called.get(gid) ?? new Set()).add(branchId));
    if (this.local.get(gid) !== 'committed') {
      this.problems.push(`${gid} is delivered, but was not committed`);
    }
  }

  #applied(entry: AppliedEntry): void {
    for (const { gid, after } of entry.changes) {
      const status = after?.state.status ?? 'gone';
      const ended = this.#ends.get(gid);
      if (ended !== undefined && ended !== status) {
        this.problems.push(`${gid} ended ${ended}, and became ${status}`);
      }
      if (status === 'succeed' || status === 'failed') this.#ends.set(gid, status);
    }
  }

  #checkEnd(gid: string): void {
    const transaction = this.node.committedNow(gid);
    const status = transaction?.state.status;
    const committed = this.local.get(gid) === 'committed';
    if (status !== (committed ? 'succeed' : 'failed')) {
      const why = JSON.stringify(this.node.scheduler.explain(gid));
      this.problems.push(`${gid} is ${String(status)}, locally ${this.local.get(gid)}: ${why}`);
    }
    const calledCount = this.#called.get(gid)?.size ?? 0;
    const rowCount = (transaction?.state.branches.length ?? 1) - 1;
    if (calledCount !== (committed ? rowCount : 0)) {
      this.problems.push(`${gid} was sent to ${calledCount} of ${rowCount}`);
    }
    if (!committed && transaction?.state.rollbackReason === '') {
      this.problems.push(`${gid} failed without a reason`);
    }
  }
}

it('delivers a message if and only if its local transaction was committed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      const world = new World(seed);
      await world.run();
      expect(world.problems).toEqual([]);
      const { runningCount, inflightCallCount, readyCount, payloadBytes, resumingCount } =
        world.node.scheduler.stats();
      expect([runningCount, inflightCallCount, readyCount, payloadBytes, resumingCount]).toEqual([
        0, 0, 0, 0, 0,
      ]);
    }),
    { numRuns: 60 },
  );
}, 30_000);
