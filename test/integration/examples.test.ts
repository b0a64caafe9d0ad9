// Every program in examples/, and every curl of docs/patterns, against three nodes: what the pages say
// that they print is what they print.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { until } from '../../bench/lib/local-cluster.ts';
import { startMariaDb, startPostgreSql } from '../databases/index.ts';
import { blocksOf, pages, ROOT, withoutPorts } from '../helpers/pattern-pages.ts';
import { threeNodes } from './lib/fixture.ts';

const on = threeNodes();
const blocks = pages().flatMap(blocksOf);

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** `onOutput`: called when it prints its first line. */
async function run(
  program: string,
  args: readonly string[],
  onOutput: () => void = () => undefined,
): Promise<Ended> {
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.once('data', onOutput);
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    closed,
  ]);
  return { code, output, errors };
}

async function runExample(name: string, args: readonly string[]): Promise<Ended> {
  return await run(process.execPath, ['--import', 'tsx', `examples/${name}`, ...args]);
}

function shownOutput(name: string): string {
  const block = blocks.find(({ comment }) => comment === `output: examples/${name}`);
  if (block === undefined) throw new Error(`no page shows the output of ${name}`);
  return block.text;
}

const lines = (output: string) => withoutPorts(output).trimEnd().split('\n');

/**
 * Every line of the page, as often as it stands there. On a busy machine a participant may be called
 * once more than on the page, and two participants may speak in the other order.
 */
function expectLines(ended: Ended, page: string): void {
  const printed = lines(ended.output);
  const missing = lines(page).filter((line) => {
    const at = printed.indexOf(line);
    if (at >= 0) printed.splice(at, 1);
    return at < 0;
  });
  expect({ missing, ...ended }).toMatchObject({ missing: [], code: 0 });
}

const httpUrls = () => on.cluster.nodes.flatMap(({ url }) => ['--url', url]);

function grpcUrls(): string[] {
  return on.cluster.nodes.flatMap(({ directory }) => {
    const config = readFileSync(join(directory, 'node.yaml'), 'utf8');
    return ['--url', `127.0.0.1:${/^GrpcPort: (\d+)$/m.exec(config)?.[1] ?? ''}`];
  });
}

describe('the examples print what their pages show, and the money is right', () => {
  it.each(['saga.ts', 'tcc.ts', 'msg.ts', 'workflow.ts'])('%s', async (name) => {
    expectLines(await runExample(name, httpUrls()), shownOutput(name));
  });

  it('grpc-saga.ts', async () => {
    expectLines(await runExample('grpc-saga.ts', grpcUrls()), shownOutput('grpc-saga.ts'));
  });

  it('xa.ts without a database says how to give one', async () => {
    const { code, output } = await runExample('xa.ts', httpUrls());
    expect([code, output]).toEqual([2, expect.stringContaining('--database postgresql://')]);
  });

  it.each([
    ['saga.ts', '--url', 'nonsense'],
    ['grpc-saga.ts', '--url', 'nonsense'],
    ['tcc.ts', '--bogus'],
    ['xa.ts', '--database', 'foo://x'],
  ])('%s with %s %s says in one line what is wrong', async (name, ...args) => {
    const { code, output, errors } = await runExample(name, args);
    expect([code, output, errors]).toEqual([2, '', expect.stringMatching(/^[^\n]+\n$/)]);
  });

  it('xa.ts on PostgreSQL and MariaDB', { timeout: 120_000 }, async ({ skip }) => {
    const servers = await Promise.all([startPostgreSql(), startMariaDb()]);
    try {
      const urls = servers.flatMap((server) => {
        if (server.kind === 'skipped') return skip(server.reason);
        return ['--database', server.url];
      });
      expectLines(await runExample('xa.ts', [...urls, ...httpUrls()]), shownOutput('xa.ts'));
    } finally {
      for (const server of servers) if (server.kind !== 'skipped') await server.stop();
    }
  });
});

describe('the curls of the pages work as pasted', () => {
  const curls = blocks.flatMap((block, at) =>
    block.comment === 'run' ? [{ ...block, prints: blocks[at + 1]?.text ?? '' }] : [],
  );

  it.each(curls.map((curl, at) => [`${curl.page}, ${at + 1}`, curl] as const))(
    '%s',
    async (_name, curl) => {
      const script = curl.text.replaceAll('http://127.0.0.1:36789', on.cluster.node(1).url);
      const ended = await run('bash', ['-c', script]);
      expect(lines(ended.output), ended.errors).toEqual(lines(curl.prints));
    },
  );
});

describe('the money is right when the leader is killed half-way', () => {
  it.each(['saga.ts', 'msg.ts'])('%s', async (name) => {
    const leader = await on.cluster.leader();
    const kill = () => on.cluster.signal(leader.id, 'SIGKILL');
    const args = ['--import', 'tsx', `examples/${name}`, ...httpUrls()];
    const ended = await run(process.execPath, args, kill);
    await on.cluster.start(leader.id);
    await until('the killed node is ready', 30_000, async () =>
      (await fetch(`${leader.url}/readyz`)).status === 200 ? true : undefined,
    );
    expect(ended).toMatchObject({
      code: 0,
      output: expect.stringMatching(/the money is right\n$/) as unknown,
    });
  });
});
