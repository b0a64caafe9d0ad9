// Random sagas, answers, changes of leader, lost leases and refused proposals: nothing runs before it
// is recorded (P2), everything ends (P4), and what ran in a saga that failed is compensated.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { BranchCall } from '../../../../src/engine/participants/index.ts';
import type { SchedulerConfig } from '../../../../src/engine/scheduler/index.ts';
import { seededRandom } from '../../../helpers/scheduler-clock.ts';
import { type Plan, SchedulerNode, saga } from '../../../helpers/scheduler-node.ts';

const SAGA_COUNT = 12;

function randomPlan(random: () => number): Plan {
  const draw = random();
  const times = { afterMs: Math.floor(random() * 60), queueMs: Math.floor(random() * 15) };
  if (draw < 0.55) return { kind: 'success', ...times };
  if (draw < 0.65) return { kind: 'failure', detail: 'no', ...times };
  if (draw < 0.75) return { kind: 'ongoing', ...times };
  if (draw < 0.87) return { kind: 'unknown', ...times };
  if (draw < 0.92) return { kind: 'hang', queueMs: times.queueMs };
  return { kind: 'notSent', reason: draw < 0.96 ? 'circuitOpen' : 'queueFull' };
}

interface Ran {
  readonly node: SchedulerNode;
  readonly problems: string[];
  /** Branch ids of the actions that were written, by gid. */
  readonly actions: Map<string, Set<string>>;
}

/** What one seed shows against the promises; empty: nothing. */
async function problemsOf(seed: number, bugs: ReadonlySet<string>): Promise<readonly string[]> {
  const generator = seededRandom(seed);
  const random = (): number => generator.next();
  const ran = await run(random, bugs);
  for (let i = 0; i < SAGA_COUNT; i += 1) {
    checkEnded(ran, `g${i}`);
  }
  const { runningCount, inflightCallCount, readyCount, payloadBytes, resumingCount } =
    ran.node.scheduler.stats();
  const left = [runningCount, inflightCallCount, readyCount, payloadBytes, resumingCount];
  if (left.some((count) => count !== 0)) {
    ran.problems.push(`left in memory: ${left.join(', ')}`);
  }
  return ran.problems;
}

function randomConfig(random: () => number): Partial<SchedulerConfig> {
  return {
    transactionsInFlightMax: random() < 0.3 ? 3 : 1000,
    readyMax: random() < 0.3 ? 2 : 1000,
    dueEntriesMax: random() < 0.3 ? 4 : 1000,
    commitEachResult: random() < 0.3,
    retryIntervalMsMax: 20_000,
    pageSize: 4,
  };
}

async function run(random: () => number, bugs: ReadonlySet<string>): Promise<Ran> {
  const config = randomConfig(random);
  const node = new SchedulerNode({ config, bugs, commitMs: 1 + Math.floor(random() * 10) });
  const ran: Ran = { node, problems: [], actions: new Map() };
  let leading = false;
  node.caller.answer = () => randomPlan(random);
  node.caller.onWrite = (call) => {
    checkWrite(ran, call, leading);
  };
  const lead = (): void => {
    leading = true;
    node.leadAgain();
  };
  lead();
  for (let i = 0; i < SAGA_COUNT; i += 1) {
    const retryLimit = random() < 0.2 ? 1 : 0;
    const timeoutToFailS = random() < 0.3 ? 5 : 0;
    const customData = random() < 0.4 ? '{"concurrent":true}' : '';
    const options = { retryLimit, timeoutToFailS, retryIntervalS: 1 };
    const transaction = saga(`g${i}`, 1 + Math.floor(random() * 4), { customData, options });
    await node.submit(transaction);
    await node.clock.advance(Math.floor(random() * 200));
    node.lease = random() < 0.85;
    node.refusing = random() < 0.1;
    node.deliverForwarded = random() < 0.5;
    if (random() < 0.2) {
      leading = false;
      node.scheduler.stopLeading();
      await node.clock.advance(Math.floor(random() * 100));
      lead();
    }
  }
  node.lease = true;
  node.refusing = false;
  await node.clock.advance(30_000);
  node.caller.answer = () => ({ kind: 'success' });
  await node.clock.advance(200_000);
  return ran;
}

/** P2 and the dispatch lease, at the moment a request is written. */
function checkWrite(ran: Ran, { gid, op, branchId }: BranchCall, leading: boolean): void {
  const status = ran.node.committedNow(gid)?.state.status;
  const wanted = op === 'action' ? 'submitted' : 'aborting';
  if (status !== wanted || !ran.node.lease || !leading) {
    ran.problems.push(`${op} ${branchId} of ${gid} was called while ${String(status)}`);
  }
  if (op === 'action') {
    ran.actions.set(gid, (ran.actions.get(gid) ?? new Set()).add(branchId));
  }
}

function checkEnded(ran: Ran, gid: string): void {
  const transaction = ran.node.committedNow(gid);
  const status = transaction?.state.status ?? 'unknown';
  if (status !== 'succeed' && status !== 'failed') {
    const why = JSON.stringify(ran.node.scheduler.explain(gid));
    ran.problems.push(`${gid} is ${status}: ${why}`);
  }
  for (const [row, progress] of transaction?.state.branches.entries() ?? []) {
    const branch = transaction?.definition.branches[row];
    const id = branch?.branchId ?? '';
    const needed =
      status === 'succeed'
        ? branch?.op === 'action'
        : branch?.op === 'compensate' && ran.actions.get(gid)?.has(id) === true;
    if (needed && progress.status !== 'succeed') {
      ran.problems.push(`${gid} is ${status}, but its row ${row} is ${progress.status}`);
    }
  }
}

it('keeps the promises through changes of leader, lost leases and refused proposals', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      expect(await problemsOf(seed, new Set())).toEqual([]);
    }),
    { numRuns: 100 },
  );
}, 30_000);

it.each([
  'compensateBeforeDecision',
  'compensateOnlyRecorded',
  'decideSucceedEarly',
  'dropHeldOnTimer',
  'ignoreLease',
])('finds the deliberate bug %s', async (bug) => {
  let found = false;
  for (let seed = 1; seed <= 200 && !found; seed += 1) {
    found = (await problemsOf(seed, new Set([bug]))).length > 0;
  }
  expect(found).toBe(true);
});
