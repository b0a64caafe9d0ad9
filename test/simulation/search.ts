// `npm run sim:search`: looks for every deliberate bug, and prints the table of docs/testing.md.
//
//   npm run sim:search -- --jobs 2 --only skipSlots
//
// Owns: the distribution over processes; each runs `run.ts --bug`. Exit code 1: one was not found.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DELIBERATE_BUGS, type DeliberateBug } from './deliberate-bugs.ts';
import { SEARCH_SEEDS } from './run-level.ts';

const RUN = fileURLToPath(new URL('run.ts', import.meta.url));
const OUTPUT_BYTES_MAX = 8 * 1024 * 1024;

interface Row {
  readonly bug: DeliberateBug;
  readonly seed: string;
  readonly invariant: string;
  readonly seconds: number;
}

function search(bug: DeliberateBug): Promise<Row> {
  const beganMs = performance.now();
  const words = ['--level', bug.level, '--bug', bug.name, '--seeds', String(SEARCH_SEEDS)];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', RUN, ...words],
      { maxBuffer: OUTPUT_BYTES_MAX },
      (error, stdout, stderr) => {
        const found = /found by seed (\d+) \((.+)\)/.exec(stdout);
        const isProof = error === null && found !== null;
        if (!isProof) {
          process.stderr.write(`${stdout}${stderr}`);
        }
        resolve({
          bug,
          seed: isProof ? (found[1] ?? '') : `none in ${SEARCH_SEEDS}`,
          invariant: isProof ? (found[2] ?? '') : '',
          seconds: (performance.now() - beganMs) / 1_000,
        });
      },
    );
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { jobs: { type: 'string', default: '2' }, only: { type: 'string', multiple: true } },
  });
  const wanted = DELIBERATE_BUGS.filter(({ name }) => values.only?.includes(name) ?? true);
  const queue = [...wanted];
  const rows = new Map<DeliberateBug, Row>();
  const worker = async (): Promise<void> => {
    for (let bug = queue.shift(); bug !== undefined; bug = queue.shift()) {
      rows.set(bug, await search(bug));
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
  process.stdout.write(
    '| bug | level | first seed | violates | seconds |\n|---|---|---|---|---|\n',
  );
  for (const bug of wanted) {
    const row = rows.get(bug);
    process.stdout.write(
      `| \`${bug.name}\` | ${bug.level} | ${row?.seed} | ${row?.invariant} | ${row?.seconds.toFixed(0)} |\n`,
    );
  }
  return [...rows.values()].every((row) => row.invariant !== '') ? 0 : 1;
}

process.exitCode = await main();
