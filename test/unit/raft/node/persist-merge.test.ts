import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Entry, HardState, LogBatch, PersistEffect } from '../../../../src/raft/index.ts';
import { mergePersists } from '../../../../src/raft/node/persist-merge.ts';

interface Model {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
  readonly recovered: boolean;
}

function write(model: Model, batch: LogBatch): Model {
  const { truncateFrom } = batch;
  const last = model.entries.length;
  if (truncateFrom !== undefined && truncateFrom > last) {
    throw new Error(`truncation from ${truncateFrom} of a log that ends at ${last}`);
  }
  const entries =
    truncateFrom === undefined ? [...model.entries] : model.entries.slice(0, truncateFrom - 1);
  for (const entry of batch.entries) {
    if (entry.index !== entries.length + 1) {
      throw new Error(`entry ${entry.index} written after ${entries.length}`);
    }
    entries.push(entry);
  }
  return {
    hardState: batch.hardState ?? model.hardState,
    entries,
    recovered: model.recovered || batch.recovered,
  };
}

/** Effects as a core emits them: truncations name existing entries, entries follow the last. */
function effects(
  durable: number,
  choices: readonly { readonly cut: number; readonly add: number; readonly vote: boolean }[],
): PersistEffect[] {
  let last = durable;
  return choices.map(({ cut, add, vote }, position) => {
    const term = position + 2;
    const truncateFrom = cut > 0 && last > 0 ? Math.max(1, last - cut + 1) : undefined;
    if (truncateFrom !== undefined) last = truncateFrom - 1;
    const entries: Entry[] = [];
    for (let i = 0; i < add; i++) entries.push({ kind: 'noop', index: ++last, term, timeMs: last });
    return {
      kind: 'persist',
      writeId: position,
      hardState: vote ? { term, vote: 1 } : undefined,
      truncateFrom,
      entries,
      recovered: position % 5 === 4,
      release: [],
    };
  });
}

const anyChoices = fc.array(
  fc.record({ cut: fc.nat({ max: 6 }), add: fc.nat({ max: 5 }), vote: fc.boolean() }),
  { minLength: 1, maxLength: 8 },
);

describe('merging persist effects', () => {
  it('leaves the log as writing them one by one would', () => {
    fc.assert(
      fc.property(fc.nat({ max: 8 }), anyChoices, (durable, choices) => {
        const start: Model = {
          hardState: { term: 1, vote: undefined },
          entries: Array.from({ length: durable }, (_, i) => ({
            kind: 'noop' as const,
            index: i + 1,
            term: 1,
            timeMs: i,
          })),
          recovered: false,
        };
        const queued = effects(durable, choices);
        const oneByOne = queued.reduce(write, start);
        expect(write(start, mergePersists(queued))).toEqual(oneByOne);
      }),
      { numRuns: 2000, verbose: true },
    );
  });

  it('refuses to write entries with a gap', () => {
    const [first, second] = effects(0, [
      { cut: 0, add: 1, vote: false },
      { cut: 0, add: 1, vote: false },
    ]);
    if (first === undefined || second === undefined) throw new Error('two effects expected');
    const gap: PersistEffect = {
      ...second,
      entries: [{ kind: 'noop', index: 7, term: 3, timeMs: 1 }],
    };
    expect(() => mergePersists([first, gap])).toThrow(/entry 7 .* where 2 belongs/);
  });
});
