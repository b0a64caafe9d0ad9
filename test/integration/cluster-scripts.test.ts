// The scripts of cluster/: they believe only their own nodes, leave nothing half done, and say in one
// line what is wrong.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const SCRIPTS = join(import.meta.dirname, '../../cluster');
const folder = mkdtempSync(join(tmpdir(), 'assent-scripts-'));
const data = join(folder, 'cluster');
// Below the ports that systems give to whoever asks for any.
const basePort = 20_000 + 50 * Math.floor(Math.random() * 200);

function run(file: string, words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const options = {
    env: { ...process.env, ASSENT_CLUSTER_DATA: data, ...env },
    timeout: 120_000,
  };
  return new Promise((resolve) => {
    const child = execFile(file, words, options, (_error, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    );
  });
}

const script = (line: string, env: NodeJS.ProcessEnv = {}): Promise<Ran> => {
  const [name = '', ...words] = line.split(' ');
  return run(join(SCRIPTS, name), words, env);
};

/** What listens on a port of ours without being ours; counts who comes. */
async function foreigner(port: number): Promise<{ visits: () => number; leave(): Promise<void> }> {
  let visits = 0;
  const server = createServer((socket) => {
    visits += 1;
    socket.destroy();
  });
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return {
    visits: () => visits,
    leave: async () => {
      await once(server.close(), 'close');
    },
  };
}

describe(`the cluster scripts, on the ports from ${basePort}`, () => {
  const own = { ASSENT_BASE_PORT: String(basePort) };
  const lock = join(folder, 'lock');

  beforeAll(async () => {
    // The caller holds a lock on a descriptor of its own.
    const line = `exec 9>'${lock}'; flock 9; '${SCRIPTS}/up.sh'`;
    const up = await run('bash', ['-c', line], own);
    expect(up.code, up.err).toBe(0);
    expect(up.out).toContain(`127.0.0.1:${basePort}  127.0.0.1:${basePort + 1}`);
  }, 120_000);
  afterAll(async () => {
    await script('resume.sh leader');
    await script('wipe.sh');
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it('leave no descriptor of the caller open in a node', async () => {
    expect((await run('flock', ['--nonblock', lock, 'true'])).code).toBe(0);
  });

  it('refuse ports that another cluster has, before anything is formatted', async () => {
    const other = join(folder, 'other');
    for (const [base, purpose] of [
      [basePort, 'HTTP'],
      [basePort - 1, 'gRPC'],
    ] as const) {
      const env = { ASSENT_CLUSTER_DATA: other, ASSENT_BASE_PORT: String(base) };
      const up = await script('up.sh', env);
      expect(up.code).toBe(1);
      expect(up.err).toContain(
        `up.sh: node 1 cannot listen on 127.0.0.1:${basePort} (${purpose}): EADDRINUSE`,
      );
      expect(up.err).toContain('set ASSENT_BASE_PORT');
      expect(up.err.trim().split('\n')).toHaveLength(1);
      expect(existsSync(other)).toBe(false);
    }
  });

  it.each([
    ['up.sh', { NODES: '2', ASSENT_CLUSTER_DATA: '/nowhere' }, 'must be 1, 3 or 5'],
    ['format.sh 4', { ASSENT_CLUSTER_DATA: '/nowhere' }, 'must be 1, 3 or 5'],
    ['up.sh', { NODES: '5' }, 'holds a cluster of 3 nodes'],
    ['up.sh', { ASSENT_BASE_PORT: 'abc' }, "from 1024 to 65399, got 'abc'"],
    ['up.sh', { ASSENT_BASE_PORT: '46789' }, `on the ports from ${basePort}`],
    ['up.sh 3', {}, 'too many arguments'],
    ['start.sh 4', {}, 'there is no node 4'],
    ['start.sh', {}, 'expected a node number'],
    ['demo.sh', { SECONDS_OF_LOAD: 'x' }, 'a number of seconds from 1 to 3600'],
  ])('refuse %s with %o', async (line, env, said) => {
    const { code, err } = await script(line, env);
    expect([code, err]).toEqual([1, expect.stringContaining(said)]);
  });

  it('say of a paused node that it is paused, and what wakes it', async () => {
    const paused = /node (\d)/.exec((await script('pause.sh leader')).out)?.[1] ?? '';
    const start = await script(`start.sh ${paused}`);
    expect(start.code).toBe(1);
    expect(start.err).toMatch(/is paused \(pid \d+\); wake it with cluster\/resume\.sh \d/);
    expect((await script('status.sh')).out).toMatch(new RegExp(`^${paused} +paused`, 'm'));
    expect((await script(`resume.sh ${paused}`)).code).toBe(0);
  });

  it('ask nothing of whoever took the port of a node that is down', async () => {
    await script('kill.sh 3');
    const stranger = await foreigner(basePort + 20);
    const start = await script('start.sh 3');
    expect(start.code).toBe(1);
    expect(start.err).toMatch(/^start\.sh: node 3 ended by itself: .*EADDRINUSE/);
    expect(start.err).toContain('node.log');
    expect(start.err).not.toMatch(/^\s+at /m);
    const up = await script('up.sh');
    expect([up.code, up.err]).toEqual([1, expect.stringContaining('node 3 cannot listen')]);
    expect((await script('status.sh')).out).toMatch(/^3 +down/m);
    expect(stranger.visits()).toBe(0);
    await stranger.leave();
    expect((await script('up.sh')).code).toBe(0);
  });

  it('end at once where a node lost its data, and let the majority serve', async () => {
    await script('stop.sh 2');
    rmSync(join(data, 'node-2/data'), { recursive: true });
    const started = performance.now();
    const up = await script('up.sh');
    expect(performance.now() - started).toBeLessThan(25_000);
    expect(up.code).toBe(1);
    expect(up.err).toContain('cannot be admitted again yet');
    expect(up.err).toContain('node 2 does not serve; the others are a majority and do');
    expect(up.out).toMatch(/^2 +down/m);
    expect(up.out).toMatch(/^[13] +up +leader/m);
  });
});
