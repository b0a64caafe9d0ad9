// The pages of docs/patterns quote the examples; what they quote is what is there.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blocksOf, excerptOf, pages, pageText, ROOT } from '../../helpers/pattern-pages.ts';

const MARKED = new Map([
  ['ts', /^excerpt: /],
  ['sh', /^run$/],
  ['text', /^(prints|output: .*)$/],
]);

describe.each(pages())('docs/patterns/%s', (page) => {
  const blocks = blocksOf(page);

  it('quotes the examples word for word', () => {
    for (const { comment, text } of blocks) {
      const [kind, file = '', name = ''] = comment.split(' ');
      if (kind === 'excerpt:') expect(text).toBe(excerptOf(file, name));
    }
  });

  it('has no code that nothing tests', () => {
    for (const { language, comment, text } of blocks) {
      if (language === 'mermaid') continue;
      expect(comment, `${language}: ${text.slice(0, 60)}`).toMatch(MARKED.get(language) ?? /^$/);
    }
  });

  it('says of every curl what it prints', () => {
    blocks.forEach(({ comment }, at) => {
      if (comment === 'run') expect(blocks[at + 1]?.comment).toBe('prints');
    });
  });

  it('links to files that exist', () => {
    const links = [...pageText(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)];
    for (const [, target = ''] of links) {
      expect(existsSync(join(ROOT, 'docs/patterns', target)), target).toBe(true);
    }
  });
});

it('every example is run by a page that shows its output', () => {
  const outputs = pages().flatMap((page) => blocksOf(page).map(({ comment }) => comment));
  const examples = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));
  for (const name of examples) expect(outputs).toContain(`output: examples/${name}`);
});
