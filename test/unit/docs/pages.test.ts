// The pages outside docs/patterns against what they speak of: their links, and the routes of docs/api.md.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../helpers/pattern-pages.ts';

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'examples/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** As the places that show Markdown make them of headings; and those that a page names itself. */
function anchorsOf(page: string): ReadonlySet<string> {
  const text = read(page).replace(/^```.*?^```$/gms, '');
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
  const named = [...text.matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id);
  return new Set([...headings, ...named]);
}

describe.each(PAGES)('%s', (page) => {
  it('links to files and headings that exist', () => {
    const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
    for (const link of links) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = '', anchor = ''] = link.split('#');
      const target = path === '' ? page : join(dirname(page), path);
      expect(existsSync(join(ROOT, target)), link).toBe(true);
      if (anchor !== '') expect([...anchorsOf(target)], link).toContain(anchor);
    }
  });
});

describe('docs/api.md', () => {
  const text = read('docs/api.md');
  const sourceOf = (name: string) => read(`src/server/${name}`);

  it('names every route', () => {
    const sources = ['transactions', 'queries', 'topics'].map((name) =>
      sourceOf(`api/routes-${name}.ts`),
    );
    const written = sources
      .join('')
      .matchAll(/route\('(?:GET|POST|DELETE)', '([^/']+)|Route\('(\w+)'/gi);
    const names = [...written].map(([, routed, alone]) => routed ?? alone ?? '');
    expect(names.length).toBeGreaterThan(15);
    for (const name of names) expect(text).toMatch(new RegExp(`[\`/]${name}[\`/]`));
    for (const [, path = ''] of sourceOf('api/operator-routes.ts').matchAll(/'(\/[\w/]+)'/g)) {
      expect(text).toContain(`${path}\``);
    }
  });

  it('names every key of a transaction and of a branch', () => {
    const lists = sourceOf('api/transaction-body.ts').matchAll(/^const \w*NAMES = \[(.*?)\] as/gms);
    const keys = [...lists].flatMap(([, list = '']) => [...list.matchAll(/'(\w+)'/g)]);
    expect(keys.length).toBeGreaterThan(20);
    for (const [, key = ''] of keys) expect(text).toContain(`\`${key}\``);
  });

  it('names every method of gRPC', () => {
    for (const [, name = ''] of read('proto/dtmgimp.proto').matchAll(/rpc (\w+)/g)) {
      expect(text).toContain(`\`${name}\``);
    }
  });
});
