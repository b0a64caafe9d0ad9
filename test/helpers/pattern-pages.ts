// The pages of docs/patterns as tests see them: their blocks of code, each with the comment before it
// that says where it comes from.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
const PAGES = join(ROOT, 'docs/patterns');

export interface Block {
  readonly page: string;
  /** `excerpt: FILE NAME`, `output: FILE`, `run`, `prints`; empty: no comment. */
  readonly comment: string;
  readonly language: string;
  readonly text: string;
}

export function pages(): readonly string[] {
  return readdirSync(PAGES).filter((name) => name.endsWith('.md'));
}

export function pageText(page: string): string {
  return readFileSync(join(PAGES, page), 'utf8');
}

export function blocksOf(page: string): readonly Block[] {
  const block = /(?:<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```$/gms;
  return [...pageText(page).matchAll(block)].map(([, comment = '', language = '', text = '']) => ({
    page,
    comment,
    language,
    text,
  }));
}

/** What stands between `// excerpt: NAME` and `// excerpt end`, moved to the left margin. */
export function excerptOf(file: string, name: string): string {
  const source = readFileSync(join(ROOT, file), 'utf8');
  const marked = new RegExp(`^ *// excerpt: ${name}\\n(.*?)^ *// excerpt end$`, 'ms');
  const text = marked.exec(source)?.[1];
  if (text === undefined) throw new Error(`${file} has no excerpt "${name}"`);
  const lines = text.split('\n');
  const margins = lines.filter((line) => line !== '').map((line) => /^ */.exec(line)?.[0].length);
  const margin = Math.min(...margins.map((width) => width ?? 0));
  return lines.map((line) => line.slice(margin)).join('\n');
}

/** Ports differ from run to run. */
export function withoutPorts(text: string): string {
  return text.replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT');
}
