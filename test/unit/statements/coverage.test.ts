// Every statement of the dtm reference has a test whose name carries its number.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { STATEMENTS } from './statements.ts';
import { testNames } from './test-names.ts';

const TESTS = fileURLToPath(new URL('../..', import.meta.url));
const NUMBER = /(?<![\d.])(?:5|11|12)\.\d+(?:\.\d+)?(?![\d.]\d)/g;

/** Without the scenarios of consensus, whose numbers are of papers. */
function numbersInNames(names: readonly string[]): ReadonlySet<string> {
  const numbers = new Set<string>();
  for (const name of names) {
    if (/\((?:paper|thesis) §/.test(name)) continue;
    for (const [number] of name.matchAll(NUMBER)) numbers.add(number);
  }
  return numbers;
}

describe('statements of the dtm reference', () => {
  const named = numbersInNames(testNames(TESTS));

  it('each has a test that carries its number', () => {
    const missing = [...STATEMENTS].filter(([number]) => !named.has(number));
    expect(missing.map(([number, title]) => `${number} ${title}`)).toEqual([]);
  });

  it('no test carries the number of a statement that does not exist', () => {
    const sections = new Set([...STATEMENTS.keys()].map((number) => number.replace(/\.\d+$/, '')));
    const strange = [...named].filter((number) => !STATEMENTS.has(number) && !sections.has(number));
    expect(strange).toEqual([]);
  });

  it('the list has every number of §11 and §12, and every section of §5', () => {
    const upTo = (chapter: number, last: number): string[] =>
      Array.from({ length: last }, (_, at) => `${chapter}.${at + 1}`);
    const top = new Set([...STATEMENTS.keys()].map((number) => number.split('.', 2).join('.')));
    expect([...top]).toEqual([...upTo(5, 12), ...upTo(11, 40), ...upTo(12, 41)]);
  });
});
