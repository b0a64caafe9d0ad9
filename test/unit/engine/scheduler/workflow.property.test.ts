// Random workflow clients that die and are called back; changes of leader, lost leases and refused
// proposals. A workflow ends by its client's word alone, or by a forced stop, and exactly once; every
// one whose client can be reached ends; each step is kept as first recorded; and a client that makes
// progress is left alone.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type {
  AppliedEntry,
  OperationRequest,
  TransactionInput,
} from '../../../../src/engine/machine/index.ts';
import type { BranchCall } from '../../../../src/engine/participants/index.ts';
import { seededRandom } from '../../../helpers/scheduler-clock.ts';
import { NODE_DEFAULTS, type Plan, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const WORKFLOW_COUNT = 8;
const INTERVAL_MS = 1000;

class World {
  readonly node: SchedulerNode;
  readonly problems: string[] = [];
  readonly #random: () => number;
  readonly #ends = new Map<string, string>();
  /** When each workflow last gave a sign of life that the log has. */
  readonly #signs = new Map<string, number>();
  readonly #stepCounts = new Map<string, number>();
  #runs = 0;
  #calm = false;

  constructor(seed: number) {
    const generator = seededRandom(seed);
    this.#random = () => generator.next();
    this.node = new SchedulerNode({
      config: {
        transactionsInFlightMax: this.#chance(0.3) ? 3 : 1000,
        dueEntriesMax: this.#chance(0.3) ? 4 : 1000,
        retryIntervalMsMax: 20_000,
        pageSize: 4,
      },
      commitMs: 1 + Math.floor(this.#random() * 10),
    });
    this.node.caller.answer = () => this.#answer();
    this.node.caller.onWrite = (call) => this.#written(call);
    const { scheduler } = this.node;
    const onApplied = scheduler.onApplied.bind(scheduler);
    scheduler.onApplied = (entry) => {
      this.#applied(entry);
      onApplied(entry);
    };
  }

  async run(): Promise<void> {
    this.node.leadAgain();
    for (let i = 0; i < WORKFLOW_COUNT; i += 1) {
      const gid = `w${i}`;
      this.#stepCounts.set(gid, Math.floor(this.#random() * 5));
      this.#execute(gid);
      await this.node.clock.advance(Math.floor(this.#random() * 2000));
      this.node.lease = this.#chance(0.85);
      this.node.refusing = this.#chance(0.1);
      if (this.#chance(0.2)) {
        this.node.scheduler.stopLeading();
        await this.node.clock.advance(Math.floor(this.#random() * 100));
        this.node.leadAgain();
      }
      if (this.#chance(0.05)) {
        this.#send({ kind: 'forceStop', gid, by: 'ops', reason: '' });
      }
    }
    this.node.lease = true;
    this.node.refusing = false;
    await this.node.clock.advance(30_000);
    this.#calm = true;
    await this.node.clock.advance(300_000);
    for (const gid of this.#stepCounts.keys()) this.#checkEnd(gid);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #send(request: OperationRequest): void {
    this.node.append(this.node.request(request));
  }

  #input(gid: string, more: Partial<TransactionInput> = {}): TransactionInput {
    return saga(gid, 0, {
      type: 'workflow',
      steps: undefined,
      payloads: undefined,
      queryPrepared: 'http://ap/resume',
      customData: '{"name":"buy"}',
      options: { retryIntervalS: INTERVAL_MS / 1000 },
      ...more,
    });
  }

  /** A run of the client: from what is recorded on, one step after another, until it dies or ends. */
  #execute(gid: string): void {
    this.#runs += 1;
    const run = this.#runs;
    const transaction = this.#input(gid);
    this.#send({ kind: 'prepareWorkflow', transaction, defaults: NODE_DEFAULTS });
    const stepCount = this.#stepCounts.get(gid) ?? 0;
    const next = (): void => {
      if (!this.#calm && this.#chance(0.15)) return;
      const recorded = (this.node.committedNow(gid)?.state.branches.length ?? 1) - 1;
      if (recorded >= stepCount) {
        this.#end(gid);
        return;
      }
      // Another run may record the same step first, with another result: the first one stands.
      const registration = { kind: 'workflow', op: 'action', status: 'succeed' } as const;
      const payload = new TextEncoder().encode(`run ${run}`);
      const branchId = String(recorded + 1);
      this.#send({ kind: 'registerBranch', gid, branchId, registration, payload });
      this.node.clock.after(50 + Math.floor(this.#random() * 900), next);
    };
    this.node.clock.after(50 + Math.floor(this.#random() * 900), next);
  }

  #end(gid: string): void {
    const workflowEnd = { status: 'succeed', rollbackReason: '', result: 'eA==' } as const;
    const transaction = this.#input(gid, { workflowEnd });
    this.#send({ kind: 'submit', transaction, defaults: NODE_DEFAULTS });
  }

  #answer(): Plan {
    const draw = this.#calm ? 0 : this.#random();
    const times = { afterMs: Math.floor(this.#random() * 60) };
    if (draw > 0.95) return { kind: 'notSent', reason: 'circuitOpen' };
    if (draw > 0.85) return { kind: 'hang' };
    if (draw > 0.7) return { kind: 'failure', ...times };
    if (draw > 0.5) return { kind: 'unknown', ...times };
    return { kind: draw > 0.4 ? 'ongoing' : 'success', ...times };
  }

  #written({ gid, op }: BranchCall): void {
    const { node } = this;
    const status = node.committedNow(gid)?.state.status;
    const silentMs = node.clock.nowMs - (this.#signs.get(gid) ?? 0);
    if (op !== 'buy' || status !== 'prepared' || !node.lease) {
      this.problems.push(`${gid} is called back with ${op} while ${String(status)}`);
    }
    if (silentMs < INTERVAL_MS) {
      this.problems.push(`${gid} is called back ${silentMs} ms after progress`);
    }
    if (this.#calm || this.#chance(0.7)) this.#execute(gid);
  }

  #applied(entry: AppliedEntry): void {
    const asked = this.node.committed.at(-1)?.command;
    for (const { gid, after, before } of entry.changes) {
      const status = after?.state.status ?? 'gone';
      const request = asked?.kind === 'operation' ? asked.request.kind : asked?.kind;
      if (request === 'registerBranch' || request === 'prepareWorkflow') {
        this.#signs.set(gid, entry.timeMs);
      }
      const ended = this.#ends.get(gid);
      if (ended !== undefined && ended !== status) {
        this.problems.push(`${gid} ended ${ended}, and became ${status}`);
      }
      if (status !== 'succeed' && status !== 'failed') continue;
      if (before === 'prepared' && request !== (status === 'succeed' ? 'submit' : 'forceStop')) {
        this.problems.push(`${gid} became ${status} by ${String(request)}`);
      }
      this.#ends.set(gid, status);
    }
  }

  #checkEnd(gid: string): void {
    const transaction = this.node.committedNow(gid);
    const status = transaction?.state.status;
    if (status !== 'succeed' && status !== 'failed') {
      const why = JSON.stringify(this.node.scheduler.explain(gid));
      this.problems.push(`${gid} is ${String(status)}: ${why}`);
    }
    const steps = transaction?.definition.branches.slice(1).map(({ branchId }) => branchId) ?? [];
    if (status === 'succeed' && steps.length !== this.#stepCounts.get(gid)) {
      this.problems.push(`${gid} succeeded with steps ${steps.join()}`);
    }
    if (new Set(steps).size !== steps.length) {
      this.problems.push(`${gid} has a step twice: ${steps.join()}`);
    }
  }
}

it('ends by the word of its client alone, once, however often the client dies', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      const world = new World(seed);
      await world.run();
      expect(world.problems).toEqual([]);
    }),
    { numRuns: 60 },
  );
}, 30_000);
