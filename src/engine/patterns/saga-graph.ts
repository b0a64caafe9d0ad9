// The order of a saga's steps, forward and backward, and where a step's rows are.
//
// Steps are numbered from 0. Each has two rows: compensate, then action (dtm reference §5.2).
// Sequential mode adds to `orders` that each step waits for the one before (§5.7).

import type { TransactionDefinition } from '../machine/index.ts';

export function compensateRow(step: number): number {
  return 2 * step;
}

export function actionRow(step: number): number {
  return 2 * step + 1;
}

export function stepOfRow(row: number): number {
  return row >> 1;
}

export function isActionRow(row: number): boolean {
  return row % 2 === 1;
}

type Adjacency = readonly (readonly number[])[];

interface Graph {
  readonly predecessors: Adjacency;
  readonly followers: Adjacency;
}

/** A definition never changes, and is asked for its graph at every step of its transaction. */
const graphs = new WeakMap<TransactionDefinition, Graph>();

export function graphOf(definition: TransactionDefinition): Graph {
  const known = graphs.get(definition);
  if (known !== undefined) return known;
  const { branches, concurrent, orders } = definition;
  const predecessors = predecessorsOf({ stepCount: branches.length >> 1, concurrent, orders });
  const graph = { predecessors, followers: followersOf(predecessors) };
  graphs.set(definition, graph);
  return graph;
}

/** For each step, the steps that must have succeeded before it starts. No duplicates. */
export function predecessorsOf(saga: {
  readonly stepCount: number;
  readonly concurrent: boolean;
  readonly orders: ReadonlyMap<number, readonly number[]>;
}): Adjacency {
  const predecessors: (readonly number[])[] = [];
  for (let step = 0; step < saga.stepCount; step += 1) {
    const before = saga.orders.get(step) ?? [];
    const previous = step - 1;
    const chained = !saga.concurrent && previous >= 0 && !before.includes(previous);
    predecessors.push(chained ? [...before, previous] : before);
  }
  return predecessors;
}

/** For each step, the steps that wait for it. */
function followersOf(predecessors: Adjacency): Adjacency {
  const followers = predecessors.map((): number[] => []);
  for (const [step, before] of predecessors.entries()) {
    for (const number of before) followers[number]?.push(step);
  }
  return followers;
}

/**
 * How many levels of uncommitted successes lie under a step whose predecessors have all succeeded:
 * 0 when all of them are committed, 2 or more when one that is held was itself started on a held one.
 */
export function heldLevels(step: number, adjacency: Adjacency, isHeld: (step: number) => boolean) {
  let levels = 0;
  for (const before of adjacency[step] ?? []) {
    if (!isHeld(before)) continue;
    levels = Math.max(levels, (adjacency[before] ?? []).some(isHeld) ? 2 : 1);
  }
  return levels;
}
