// The gate: a checker that never saw a violation proves nothing. Each deliberate bug must be found
// within 200 seeds, and the same seeds without the bug must pass.
//
// A search starts at the seed that is known to find the bug, so that it is over at once; when the
// code has changed so much that this seed no longer does, the search goes on through the others.

import { describe, expect, test } from 'vitest';
import { runRaftSimulation } from './raft-sim.ts';
import { runReplicaSimulation } from './replica-sim.ts';
import type { RunRequest, RunResult } from './run-result.ts';

const SEEDS = 200;

function request(seed: number, bug?: string): RunRequest {
  return {
    seed: String(seed),
    nodes: undefined,
    bugs: new Set(bug === undefined ? [] : [bug]),
    print: undefined,
  };
}

/** The first seed from `known` on, around the circle, that fails with the bug and not without. */
async function search(
  run: (request: RunRequest) => RunResult | Promise<RunResult>,
  bug: string,
  known: number,
): Promise<number | undefined> {
  for (let i = 0; i < SEEDS; i++) {
    const seed = ((known - 1 + i) % SEEDS) + 1;
    const result = await run(request(seed, bug));
    if (result.failure !== undefined) {
      const clean = await run(request(seed));
      expect(clean.failure, `seed ${seed} fails without ${bug} too`).toBeUndefined();
      return seed;
    }
  }
  return undefined;
}

describe('cores', () => {
  test.each([
    ['forgetVote', 1],
    ['voteWhileRecovering', 1],
    ['commitOldTermByCounting', 1],
    ['dropOwnTermNoop', 1],
    ['ackBeforeFsync', 1],
    ['countSelfBeforeFsync', 1],
    ['truncateAlways', 1],
    ['staleAckAccepted', 40],
    ['readWithoutQuorum', 4],
    ['noStickiness', 165],
  ])('%s is found within 200 seeds', async (bug, known) => {
    expect(await search(runRaftSimulation, bug, known)).toBeDefined();
  });

  test('the same seed gives the same trace', () => {
    expect(runRaftSimulation(request(7)).hash).toBe(runRaftSimulation(request(7)).hash);
  });
});

describe('whole replicas', () => {
  test.each([
    ['compensateOnlyRecorded', 6],
    ['callBeforeCommit', 1],
    ['compensateBeforeDecision', 1],
    ['decideSucceedEarly', 1],
    ['dropHeldOnTimer', 1],
    ['resubmitReruns', 1],
    ['forgetOperationResult', 1],
    ['ignoreLease', 34],
    ['doneBeforeSync', 2],
    ['releaseBeforePersist', 62],
    ['treatDamageAsTorn', 44],
    ['appliedIndexNotInBatch', 49],
  ])('%s is found within 200 seeds', async (bug, known) => {
    expect(await search(runReplicaSimulation, bug, known)).toBeDefined();
  });

  test('the same seed gives the same trace', async () => {
    const first = await runReplicaSimulation(request(3));
    expect((await runReplicaSimulation(request(3))).hash).toBe(first.hash);
  });
});
