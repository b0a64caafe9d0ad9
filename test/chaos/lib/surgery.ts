// What bad disks do to files, done on purpose.

import { closeSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export function flipBit(path: string, offset: number, bit = 0): void {
  const bytes = readFileSync(path);
  const value = bytes[offset];
  if (value === undefined) throw new Error(`${path} has no byte ${offset}`);
  const file = openSync(path, 'r+');
  writeSync(file, Uint8Array.of(value ^ (1 << bit)), 0, 1, offset);
  closeSync(file);
}

function files(directory: string, pattern: RegExp): readonly string[] {
  return readdirSync(directory)
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => join(directory, name));
}

export function stateDirectory(data: string): string {
  const found = readdirSync(data).filter((name) => /^state-\d+$/.test(name));
  const name = found.sort((a, b) => Number(a.slice(6)) - Number(b.slice(6))).at(-1);
  if (name === undefined) throw new Error(`${data} has no state`);
  return join(data, name);
}

/** Segment files that hold something, oldest first, with the length of what they hold. */
export function usedSegments(
  data: string,
): readonly { readonly path: string; readonly name: string; readonly usedBytes: number }[] {
  return readdirSync(data)
    .filter((name) => /^segment-\d+[.]log$/.test(name))
    .sort()
    .map((name) => {
      const path = join(data, name);
      const bytes = readFileSync(path);
      let usedBytes = bytes.length;
      while (usedBytes > 0 && bytes[usedBytes - 1] === 0) usedBytes -= 1;
      return { path, name, usedBytes };
    })
    .filter(({ usedBytes }) => usedBytes > 0);
}

export const tables = (data: string): readonly string[] =>
  files(stateDirectory(data), /[.](ldb|sst)$/);

/** LevelDB's write-ahead log that holds the most. */
export function writeAheadLog(data: string): { readonly path: string; readonly bytes: number } {
  const all = files(stateDirectory(data), /^\d+[.]log$/).map((path) => ({
    path,
    bytes: statSync(path).size,
  }));
  const largest = all.sort((a, b) => b.bytes - a.bytes)[0];
  if (largest === undefined) throw new Error('no write-ahead log');
  return largest;
}
