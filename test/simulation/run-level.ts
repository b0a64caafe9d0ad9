// One run at either level, and the search for a seed that finds a deliberate bug.

import { runRaftSimulation } from './raft-sim.ts';
import { runReplicaSimulation } from './replica-sim.ts';
import type { Level, RunRequest, RunResult } from './run-result.ts';

/** Every deliberate bug must be found within this many seeds. */
export const SEARCH_SEEDS = 200;

export async function runLevel(level: Level, request: RunRequest): Promise<RunResult> {
  return level === 'raft' ? runRaftSimulation(request) : runReplicaSimulation(request);
}

export function requestOf(seed: number, bug?: string): RunRequest {
  return {
    seed: String(seed),
    nodes: undefined,
    bugs: new Set(bug === undefined ? [] : [bug]),
    print: undefined,
  };
}

export interface BugFound {
  readonly seed: number;
  readonly invariant: string;
  /** What the same seed violates without the bug: then it proves nothing about the bug. */
  readonly cleanFailure: RunResult | undefined;
}

/** The first of `seeds` that fails with the bug; and whether it passes without. */
export async function findBug(
  level: Level,
  bug: string,
  seeds: Iterable<number>,
): Promise<BugFound | undefined> {
  for (const seed of seeds) {
    const { failure } = await runLevel(level, requestOf(seed, bug));
    if (failure !== undefined) {
      const clean = await runLevel(level, requestOf(seed));
      return {
        seed,
        invariant: failure.invariant,
        cleanFailure: clean.failure === undefined ? undefined : clean,
      };
    }
  }
  return undefined;
}

/** `count` seeds from `first` on. */
export function seedRange(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
