// A failing run, told so that it can be understood and repeated: the last events, the options that
// the seed drew, the nodes, the invariant, and the line that reproduces it.
//
// Owns: the text. The end of it is what a terminal still shows, so the most important comes last.

import type { Level, RunResult } from './run-result.ts';

export interface Reproduction {
  readonly level: Level;
  readonly nodes: number | undefined;
  readonly bug: string | undefined;
}

export function describeFailure(result: RunResult, run: Reproduction): string[] {
  const { failure } = result;
  if (failure === undefined) {
    return [];
  }
  const indented = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
  return [
    `seed ${result.seed} FAILED after ${(result.virtualMs / 1000).toFixed(1)} virtual seconds`,
    `last ${failure.lastEvents.length} events`,
    ...indented(failure.lastEvents),
    'options',
    ...indented(result.options),
    'nodes',
    ...indented(failure.table),
    `violated ${failure.invariant} by seed ${result.seed}`,
    ...indented(failure.message.split('\n')),
    `again: ${reproduceLine(result.seed, run)}`,
  ];
}

function reproduceLine(seed: string, { level, nodes, bug }: Reproduction): string {
  const parts = [`npm run sim -- --level ${level} --seed ${seed}`];
  if (nodes !== undefined) {
    parts.push(`--nodes ${nodes}`);
  }
  if (bug !== undefined) {
    parts.push(`--bug ${bug}`);
  }
  return parts.join(' ');
}
