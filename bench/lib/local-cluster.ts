// A cluster of real processes in a temporary folder, for load and for chaos: format, start, kill,
// pause, stop. Ports are free ones; nothing is shared with the cluster of cluster/up.sh.

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopProcess } from './processes.ts';

export interface LocalNode {
  readonly id: number;
  readonly url: string;
  /** host:port of its gRPC API. */
  readonly grpcAddress: string;
  readonly directory: string;
  child: ChildProcess | undefined;
}

export interface LocalClusterOptions {
  readonly nodes: number;
  /** Added to every flush of the log. */
  readonly flushDelayMs?: number;
  /** More YAML for every node's configuration file. */
  readonly extraConfig?: string;
}

export interface NodeReport {
  readonly role: string;
  readonly term: number;
  readonly leaderId: number | null;
  readonly commitIndex: number;
  readonly appliedIndex: number;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

function lastLines(node: LocalNode): string {
  return readFileSync(join(node.directory, 'node.log'), 'utf8').split('\n').slice(-15).join('\n');
}

/** Polls until `probe` yields a value; the condition is the synchronisation, not the pause. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined>,
): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe().catch(() => undefined);
    if (value !== undefined) return value;
    if (performance.now() > giveUpAt) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export class LocalCluster {
  readonly nodes: readonly LocalNode[];
  readonly directory: string;
  readonly #main: string;
  /** For profiles, for example --cpu-prof. */
  readonly #nodeFlags: readonly string[] = (process.env['ASSENT_BENCH_NODE_FLAGS'] ?? '')
    .split(' ')
    .filter((flag) => flag !== '');

  private constructor(directory: string, nodes: readonly LocalNode[], main: string) {
    this.directory = directory;
    this.nodes = nodes;
    this.#main = main;
  }

  static async create(options: LocalClusterOptions): Promise<LocalCluster> {
    const main = join(import.meta.dirname, '../../dist/server/main.js');
    if (!existsSync(main)) throw new Error('dist/ is missing: run npm run build first');
    const directory = mkdtempSync(join(tmpdir(), 'assent-cluster-'));
    const ports = await freePorts(options.nodes * 3);
    const port = (id: number, kind: number) => ports[(id - 1) * 3 + kind] ?? 0;
    const ids = Array.from({ length: options.nodes }, (_, i) => i + 1);
    const peers = ids.map((id) => `    - { id: ${id}, host: 127.0.0.1, port: ${port(id, 2)} }`);
    const nodes = ids.map((id): LocalNode => {
      const nodeDirectory = join(directory, `node-${id}`);
      mkdirSync(nodeDirectory, { recursive: true });
      const config = [
        `HttpPort: ${port(id, 0)}`,
        `GrpcPort: ${port(id, 1)}`,
        `node: { id: ${id}, dataDir: "${nodeDirectory}/data" }`,
        `listen: { host: 127.0.0.1, peerPort: ${port(id, 2)} }`,
        'cluster:',
        '  peers:',
        ...peers,
        ...(options.flushDelayMs ? [`log: { injectedFlushDelayMs: ${options.flushDelayMs} }`] : []),
        options.extraConfig ?? '',
      ];
      writeFileSync(join(nodeDirectory, 'node.yaml'), config.join('\n'));
      return {
        id,
        url: `http://127.0.0.1:${port(id, 0)}`,
        grpcAddress: `127.0.0.1:${port(id, 1)}`,
        directory: nodeDirectory,
        child: undefined,
      };
    });
    const cluster = new LocalCluster(directory, nodes, main);
    const voters = ids.map((id) => `${id}=${randomBytes(8).toString('hex')}`).join(',');
    const clusterId = randomBytes(8).toString('hex');
    await Promise.all(
      nodes.map((node) =>
        cluster.#run(node, ['--format', '--cluster-id', clusterId, '--voters', voters]),
      ),
    );
    return cluster;
  }

  node(id: number): LocalNode {
    const node = this.nodes.find((candidate) => candidate.id === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  async start(id: number): Promise<void> {
    const node = this.node(id);
    const child = this.#spawn(node, []);
    node.child = child;
    const ended = new Promise<never>((_resolve, reject) => {
      child.once('exit', (code, signal) => {
        // Whoever stops or kills a node lets go of it first: this one ended by itself.
        if (node.child !== child) return;
        node.child = undefined;
        const what = `node ${id} ended by itself, exit ${String(code ?? signal)}`;
        console.error(`${what}:\n${lastLines(node)}`);
        reject(new Error(what));
      });
    });
    // It may also end later, when nobody waits for it here.
    ended.catch(() => undefined);
    const answers = until(`node ${id} answers`, 60_000, async () => {
      if (node.child !== child) throw new Error('ended');
      return (await fetch(`${node.url}/livez`)).status === 200 ? true : undefined;
    });
    await Promise.race([answers, ended]);
  }

  async startAll(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.start(node.id)));
    await this.whole();
  }

  /** Resolves once every node is ready and has applied what the leader had committed at the call. */
  async whole(): Promise<void> {
    const leader = await this.leader();
    const { commitIndex } = await this.report(leader.id);
    for (const node of this.nodes) {
      await until(`node ${node.id} is ready`, 30_000, async () => {
        if ((await fetch(`${node.url}/readyz`)).status !== 200) return undefined;
        return (await this.report(node.id)).appliedIndex >= commitIndex ? true : undefined;
      });
    }
  }

  async report(id: number): Promise<NodeReport> {
    const response = await fetch(`${this.node(id).url}/v1/node`, {
      signal: AbortSignal.timeout(1000),
    });
    return (await response.json()) as NodeReport;
  }

  /** The node that leads, of the highest term if two claim to. */
  async leader(timeoutMs = 30_000): Promise<LocalNode> {
    return until('a leader', timeoutMs, async () => {
      const running = this.nodes.filter((node) => node.child !== undefined);
      const reports = await Promise.all(
        running.map((node) =>
          this.report(node.id).then(
            (r) => ({ node, ...r }),
            () => undefined,
          ),
        ),
      );
      const leaders = reports.filter((report) => report?.role === 'leader');
      leaders.sort((a, b) => (b?.term ?? 0) - (a?.term ?? 0));
      return leaders[0]?.node;
    });
  }

  signal(id: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    const node = this.node(id);
    node.child?.kill(signal);
    if (signal === 'SIGKILL') node.child = undefined;
  }

  /** Graceful: SIGTERM, and the time it took. */
  async stop(id: number): Promise<void> {
    const node = this.node(id);
    const child = node.child;
    node.child = undefined;
    if (child !== undefined) await stopProcess(child);
  }

  async destroy(): Promise<void> {
    for (const node of this.nodes) node.child?.kill('SIGCONT');
    await Promise.all(this.nodes.map((node) => this.stop(node.id)));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #spawn(node: LocalNode, args: readonly string[]): ChildProcess {
    const log = openSync(join(node.directory, 'node.log'), 'a');
    const child = spawn(
      process.execPath,
      [...this.#nodeFlags, this.#main, '--config', join(node.directory, 'node.yaml'), ...args],
      {
        stdio: ['ignore', log, log],
        env: { ...process.env, UV_THREADPOOL_SIZE: process.env['UV_THREADPOOL_SIZE'] ?? '16' },
      },
    );
    closeSync(log);
    return child;
  }

  async #run(node: LocalNode, args: readonly string[]): Promise<void> {
    const [code] = (await once(this.#spawn(node, args), 'exit')) as [number | null];
    if (code !== 0)
      throw new Error(
        `node ${node.id} ${args[0] ?? ''}: exit ${String(code)}, see ${node.directory}/node.log`,
      );
  }
}
