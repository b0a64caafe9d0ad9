// The version of this build, as package.json says it.

import { readFileSync } from 'node:fs';

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return `v${version}`;
}

export const VERSION = readVersion();
