// The lists of the documentation against the code. Settings, metrics and error codes are compared where
// their tables are tested (config, metrics, api/parts); here what has no table in the code.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../../src/server/exit.ts';

function read(path: string): string {
  return readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
}
function numbers(text: string, pattern: RegExp): readonly number[] {
  const found = [...text.matchAll(pattern)].map(([, digits = '']) =>
    Number(digits.replaceAll('_', '')),
  );
  return [...new Set(found)].sort((a, b) => a - b);
}

describe('docs/errors.md', () => {
  it('lists every code that the process ends with', () => {
    expect(numbers(read('docs/errors.md'), /^\| (\d+) \|/gm)).toEqual(
      Object.values(EXIT).sort((a, b) => a - b),
    );
  });

  it('lists every code of JSON-RPC', () => {
    expect(numbers(read('docs/errors.md'), /^\| (-32\d+) \|/gm)).toEqual(
      numbers(read('src/server/api/json-rpc.ts'), /^const \w+ = (-32_\d+);/gm),
    );
  });
});

describe('docs/configuration.md', () => {
  it('shows the payload of an alert with the keys that are sent', () => {
    const shown = /^\{"branch".*\}$/m.exec(read('docs/configuration.md'))?.[0] ?? '{}';
    expect(Object.keys(JSON.parse(shown) as object)).toEqual([
      'branch',
      'error',
      'gid',
      'retry_count',
      'status',
    ]);
  });
});
