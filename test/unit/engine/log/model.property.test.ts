// The log against the simplest thing that could be one: an array.
//
// Goal: after any sequence of appends, truncations, votes, flush marks, compactions, installed
// snapshots, idle times, clean closes and power cuts (also in the middle of a write, with any sectors
// kept), the log and the model agree. Method: fast-check makes the sequence; a failing one is shrunk
// and printed with its seed.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Entry, HardState, LogBatch, SnapshotMeta } from '../../../../src/raft/index.ts';
import {
  append,
  batch,
  CONFIG,
  entry,
  formatted,
  hard,
  IDENTITY,
  open,
  readAll,
  settle,
  summary,
} from './fixture.ts';

const SMALL = { ...CONFIG, segmentBytes: 3_072, tailBytesMax: 500 };

const CONFIGURATION = {
  voters: [1, 2, 3],
  outgoing: [],
  learners: [],
  learnersNext: [],
  members: IDENTITY.voters,
};

interface Model {
  baseIndex: number;
  baseTerm: number;
  entries: readonly Entry[];
  hardState: HardState;
  appliedIndex: number;
  generation: number;
}

type Action =
  | { readonly kind: 'append'; readonly count: number; readonly bytes: number }
  | { readonly kind: 'truncate'; readonly back: number; readonly count: number }
  | { readonly kind: 'vote'; readonly vote: number }
  | { readonly kind: 'flush'; readonly ahead: number }
  | { readonly kind: 'compact' }
  | { readonly kind: 'install'; readonly ahead: number }
  | { readonly kind: 'idle' }
  | { readonly kind: 'close' }
  | { readonly kind: 'crash' }
  | { readonly kind: 'crashInWrite'; readonly turns: number; readonly keep: number };

const actions = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        count: fc.integer({ min: 1, max: 4 }),
        bytes: fc.integer({ min: 0, max: 900 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('truncate' as const),
        back: fc.integer({ min: 0, max: 6 }),
        count: fc.integer({ min: 0, max: 3 }),
      }),
    },
    fc.record({ kind: fc.constant('vote' as const), vote: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant('flush' as const), ahead: fc.integer({ min: 0, max: 12 }) }),
    fc.constant({ kind: 'compact' as const }),
    fc.record({ kind: fc.constant('install' as const), ahead: fc.integer({ min: 0, max: 20 }) }),
    fc.constant({ kind: 'idle' as const }),
    fc.constant({ kind: 'close' as const }),
    fc.constant({ kind: 'crash' as const }),
    fc.record({
      kind: fc.constant('crashInWrite' as const),
      turns: fc.integer({ min: 0, max: 12 }),
      keep: fc.nat(),
    }),
  ),
  { minLength: 5, maxLength: 40 },
);

const lastIndex = (model: Model): number => model.baseIndex + model.entries.length;

function lastTerm(model: Model): number {
  return model.entries.at(-1)?.term ?? model.baseTerm;
}

function applied(model: Model, parts: Partial<LogBatch>): Model {
  const kept = model.entries.filter((one) => one.index < (parts.truncateFrom ?? Infinity));
  return {
    ...model,
    entries: [...kept, ...(parts.entries ?? [])],
    hardState: parts.hardState ?? model.hardState,
  };
}

function made(from: number, count: number, term: number, bytes: number): Entry[] {
  return Array.from({ length: count }, (_, at) =>
    entry(from + at, term, String.fromCharCode(97 + (from % 26)).repeat(bytes)),
  );
}

/** A batch that the model allows. */
function batchFor(
  model: Model,
  action: { readonly kind: 'append' | 'truncate' | 'vote' | 'crashInWrite' } & Partial<{
    count: number;
    bytes: number;
    back: number;
    vote: number;
  }>,
): Partial<LogBatch> {
  const term = Math.max(lastTerm(model), model.hardState.term, 1);
  if (action.kind === 'vote') return { hardState: hard(term + 1, action.vote ?? 1) };
  const next = lastIndex(model) + 1;
  if (action.kind !== 'truncate') {
    return { entries: made(next, action.count ?? 2, term, action.bytes ?? 300) };
  }
  const floor = Math.max(model.baseIndex, model.appliedIndex) + 1;
  const from = Math.max(floor, next - (action.back ?? 0));
  return {
    hardState: hard(term + 1),
    truncateFrom: from,
    entries: made(from, action.count ?? 0, term + 1, 120),
  };
}

class Run {
  files = formatted(SMALL);
  fixture = this.files.then((files) => open(files, SMALL));
  model: Model = {
    baseIndex: 0,
    baseTerm: 0,
    entries: [],
    hardState: hard(0),
    appliedIndex: 0,
    generation: 0,
  };

  async step(action: Action): Promise<void> {
    const { log, clock } = await this.fixture;
    const { model } = this;
    switch (action.kind) {
      case 'append':
      case 'truncate':
      case 'vote': {
        const parts = batchFor(model, action);
        await append(log, parts);
        this.model = applied(model, parts);
        return;
      }
      case 'flush': {
        const appliedIndex = Math.min(model.appliedIndex + action.ahead, lastIndex(model));
        await log.flushMark({ appliedIndex, ledger: appliedIndex, digest: BigInt(appliedIndex) });
        this.model = { ...model, appliedIndex };
        return;
      }
      case 'compact': {
        const base = await log.compact(model.appliedIndex);
        expect(base.index).toBeLessThanOrEqual(Math.max(model.appliedIndex, model.baseIndex));
        this.model = {
          ...model,
          baseIndex: base.index,
          baseTerm: base.term,
          entries: model.entries.filter((one) => one.index > base.index),
        };
        return;
      }
      case 'install':
        await this.#install(action.ahead);
        return;
      case 'idle':
        clock.advance(200);
        await settle();
        return;
      case 'close':
        await log.close();
        await this.reopen([this.model]);
        return;
      case 'crash':
        (await this.files).crash();
        await this.reopen([this.model]);
        return;
      case 'crashInWrite': {
        const parts = batchFor(
          model,
          action.keep % 2 === 0 ? { kind: 'truncate', back: 2 } : action,
        );
        const write = { done: false };
        log.append(batch(parts), () => {
          write.done = true;
        });
        for (let turn = 0; turn < action.turns; turn += 1) await Promise.resolve();
        const keepSector = (_: string, sector: number): boolean =>
          ((action.keep >> (sector % 16)) & 1) === 1;
        (await this.files).crash({ keepSector, keepNames: () => action.keep % 3 !== 0 });
        await this.reopen(write.done ? [applied(model, parts)] : [model, applied(model, parts)]);
        return;
      }
    }
  }

  async #install(ahead: number): Promise<void> {
    const { log } = await this.fixture;
    const { model } = this;
    const index = Math.max(model.appliedIndex, model.baseIndex) + ahead;
    const held = model.entries.find((one) => one.index === index);
    const keep = held !== undefined && ahead % 2 === 0;
    const term = keep ? held.term : Math.max(lastTerm(model), model.hardState.term) + 1;
    const meta: SnapshotMeta = { index, term, timeMs: index, configuration: CONFIGURATION };
    const generation = model.generation + 1;
    await log.installed(meta, generation);
    this.model = {
      ...model,
      baseIndex: index,
      baseTerm: term,
      entries: keep ? model.entries.filter((one) => one.index > index) : [],
      appliedIndex: index,
      generation,
    };
  }

  /** Opens again; the log must be one of `candidates`, and becomes the model. */
  async reopen(candidates: readonly Model[]): Promise<void> {
    const files = await this.files;
    this.fixture = open(files, SMALL);
    const { log, opened } = await this.fixture;
    expect(opened.recovering).toBeUndefined();
    const found = summary(await readAll(log));
    const { base, hardState } = opened.recovered;
    const match = candidates.find((one) => summary(one.entries).join() === found.join());
    if (match === undefined) expect(found).toEqual(summary(candidates[0]?.entries ?? []));
    expect(candidates.map((one) => one.hardState)).toContainEqual(hardState);
    this.model = { ...(match ?? this.model), hardState };
    expect(base.index).toBe(this.model.baseIndex);
    await this.check();
  }

  async check(): Promise<void> {
    const { log, fatal } = await this.fixture;
    const { model } = this;
    expect(fatal).toEqual([]);
    const { recovered } = log.opened();
    expect(recovered).toMatchObject({
      lastIndex: lastIndex(model),
      hardState: model.hardState,
      base: { index: model.baseIndex, term: model.baseTerm },
    });
    expect(log.marks().generation).toBe(model.generation);
    const all = summary(await readAll(log));
    expect(all).toEqual(summary(model.entries));
    const tail = summary(recovered.tail);
    expect(tail).toEqual(tail.length === 0 ? [] : all.slice(-tail.length));
    const runs = recovered.termRuns;
    for (const one of model.entries) {
      expect(runs.findLast((run) => run.first <= one.index)?.term).toBe(one.term);
    }
  }
}

it('agrees with an array after any sequence of operations and power cuts', async () => {
  await fc.assert(
    fc.asyncProperty(actions, async (sequence) => {
      const run = new Run();
      for (const action of sequence) {
        await run.step(action);
        await run.check();
      }
      await run.step({ kind: 'crash' });
    }),
    {
      numRuns: 150,
      // A segment begun above a snapshot that was installed behind it, and kept as the first one.
      examples: [
        [
          [
            { kind: 'append', count: 3, bytes: 247 },
            { kind: 'append', count: 3, bytes: 71 },
            { kind: 'install', ahead: 2 },
            { kind: 'flush', ahead: 4 },
            { kind: 'compact' },
            { kind: 'close' },
          ],
        ],
      ],
    },
  );
}, 60_000);
