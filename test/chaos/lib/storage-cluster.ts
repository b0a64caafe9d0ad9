// A cluster of real processes whose disks can be hurt: full, flipped, cut, wiped.
//
// Owns: running nodes under a supervisor that restarts them on exit 75, as cluster/start.sh does;
// small disks (tmpfs) under a node's data; sagas, and the comparison of what every node says of them.
// Does not own: formatting, ports and signals (bench/lib/local-cluster.ts).

import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalNode } from '../../../bench/lib/local-cluster.ts';
import { LocalCluster, until } from '../../../bench/lib/local-cluster.ts';

const MAIN = join(import.meta.dirname, '../../../dist/server/main.js');
const RESTART_DELAY_MS = 200;

export const SMALL_FILES = [
  'log: { segmentBytes: 1048576, ballastBytes: 0, freeSpaceFloorBytes: 4194304 }',
  'store: { flushIntervalMs: 50 }',
  'raft: { trailingEntries: 100 }',
  'api: { transactionBytesMax: 262144, operationTimeoutMs: 2500 }',
].join('\n');

export interface NodeView {
  readonly role?: string;
  readonly term?: number;
  readonly leaderId?: number | null;
  readonly commitIndex?: number;
  readonly appliedIndex?: number;
  readonly firstIndex?: number;
  readonly lastIndex?: number;
  readonly admissionOpen?: boolean;
  readonly recovering?: {
    readonly reason: string;
    readonly file: string;
    readonly offset: number;
    readonly lostFromIndex: number;
  } | null;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export interface SagaSpec {
  readonly gid: string;
  readonly steps?: readonly { readonly action: string; readonly compensate: string }[];
  readonly payloadBytes?: number;
  readonly wait?: boolean;
}

/** Whether a tmpfs can be mounted here; says why not. */
export function canMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'assent-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'pipe' });
    execFileSync('umount', [directory]);
    return true;
  } catch (error) {
    console.log(`skipped: no tmpfs can be mounted here (${String(error).split('\n')[0] ?? ''})`);
    return false;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A node process that is started again whenever it ends with 75. */
export class Supervised {
  readonly node: LocalNode;
  readonly exits: (number | string)[] = [];
  readonly ended: Promise<number | string>;
  #stopping = false;
  #wake: () => void = () => undefined;

  constructor(node: LocalNode) {
    this.node = node;
    this.ended = this.#run();
  }

  /** Ends the process and the supervision. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#stopping = true;
    this.#wake();
    this.node.child?.kill('SIGCONT');
    this.node.child?.kill(signal);
    await this.ended;
  }

  async #run(): Promise<number | string> {
    for (;;) {
      const child = spawnNode(this.node);
      this.node.child = child;
      const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
      this.node.child = undefined;
      const end = code ?? signal ?? 'unknown';
      this.exits.push(end);
      if (end !== 75 || !(await this.#mayRestart())) return end;
    }
  }

  /** After the pause: whether the supervision still goes on. */
  async #mayRestart(): Promise<boolean> {
    if (!this.#stopping) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, RESTART_DELAY_MS);
      });
    }
    return !this.#stopping;
  }
}

function spawnNode(node: LocalNode): ChildProcess {
  const log = openSync(join(node.directory, 'node.log'), 'a');
  const child = spawn(process.execPath, [MAIN, '--config', join(node.directory, 'node.yaml')], {
    stdio: ['ignore', log, log],
    env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
  });
  closeSync(log);
  return child;
}

export class StorageCluster {
  readonly cluster: LocalCluster;
  readonly #mounts: string[] = [];
  readonly #running = new Map<number, Supervised>();
  /** Every gid that was acknowledged. */
  readonly acknowledged: string[] = [];
  #gids = 0;

  private constructor(cluster: LocalCluster) {
    this.cluster = cluster;
  }

  static async create(nodes: number, extraConfig: string): Promise<StorageCluster> {
    return new StorageCluster(await LocalCluster.create({ nodes, extraConfig }));
  }

  get nodes(): readonly LocalNode[] {
    return this.cluster.nodes;
  }

  data(id: number): string {
    return join(this.cluster.node(id).directory, 'data');
  }

  logText(id: number): string {
    return readFileSync(join(this.cluster.node(id).directory, 'node.log'), 'utf8');
  }

  /** The part of the log written after this call. */
  logFrom(id: number): () => string {
    const { size } = statSync(join(this.cluster.node(id).directory, 'node.log'));
    return () =>
      readFileSync(join(this.cluster.node(id).directory, 'node.log'))
        .subarray(size)
        .toString();
  }

  /** Moves a stopped node's data onto a disk of its own. */
  mountSmallDisk(id: number, mebibytes: number): void {
    const data = this.data(id);
    renameSync(data, `${data}.formatted`);
    mkdirSync(data);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', data]);
    this.#mounts.push(data);
    cpSync(`${data}.formatted`, data, { recursive: true });
  }

  start(id: number): Supervised {
    const supervised = new Supervised(this.cluster.node(id));
    this.#running.set(id, supervised);
    return supervised;
  }

  supervised(id: number): Supervised {
    const supervised = this.#running.get(id);
    if (supervised === undefined) throw new Error(`node ${id} does not run`);
    return supervised;
  }

  async startAll(): Promise<void> {
    for (const { id } of this.nodes) this.start(id);
    await this.allReady();
  }

  async allReady(timeoutMs = 40_000): Promise<void> {
    await this.cluster.leader(timeoutMs);
    for (const { id } of this.nodes) await this.ready(id, timeoutMs);
  }

  async ready(id: number, timeoutMs = 40_000): Promise<void> {
    await until(`node ${id} is ready`, timeoutMs, async () =>
      (await this.get(id, '/readyz')).status === 200 ? true : undefined,
    );
  }

  async end(id: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const supervised = this.#running.get(id);
    this.#running.delete(id);
    await supervised?.end(signal);
  }

  async endAll(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await Promise.all(this.nodes.map(({ id }) => this.end(id, signal)));
  }

  async destroy(): Promise<void> {
    await this.endAll('SIGKILL');
    for (const mount of this.#mounts) execFileSync('umount', ['--lazy', mount]);
    await this.cluster.destroy();
  }

  async get(id: number, path: string): Promise<Answer> {
    const response = await fetch(`${this.cluster.node(id).url}${path}`, {
      signal: AbortSignal.timeout(8_000),
    });
    return { status: response.status, text: await response.text() };
  }

  async view(id: number): Promise<NodeView> {
    return JSON.parse((await this.get(id, '/v1/node')).text) as NodeView;
  }

  async leaderId(): Promise<number> {
    return (await this.cluster.leader()).id;
  }

  async followers(): Promise<readonly number[]> {
    const leader = await this.leaderId();
    return this.nodes.map(({ id }) => id).filter((id) => id !== leader);
  }

  freshGid(name: string): string {
    this.#gids += 1;
    return `${name}-${this.#gids}`;
  }

  async submit(id: number, spec: SagaSpec): Promise<Answer> {
    const steps = spec.steps ?? [{ action: '', compensate: '' }];
    const payload = JSON.stringify({ filler: 'x'.repeat(spec.payloadBytes ?? 10) });
    const response = await fetch(`${this.cluster.node(id).url}/api/dtmsvr/submit`, {
      method: 'POST',
      body: JSON.stringify({
        gid: spec.gid,
        trans_type: 'saga',
        steps,
        payloads: steps.map(() => payload),
        wait_result: spec.wait ?? false,
        retry_interval: 1,
      }),
      signal: AbortSignal.timeout(15_000),
    });
    const answer = { status: response.status, text: await response.text() };
    if (answer.status === 200) this.acknowledged.push(spec.gid);
    return answer;
  }

  /** Submits `count` sagas that end at once, to node `id`, until each is acknowledged. */
  async push(
    id: number,
    count: number,
    options: { readonly payloadBytes?: number; readonly name?: string } = {},
  ): Promise<void> {
    let left = count;
    const refused: string[] = [];
    const client = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const gid = this.freshGid(options.name ?? 'saga');
        const spec = { gid, wait: true, payloadBytes: options.payloadBytes ?? 10 };
        // A refusal is no failure: small segments can be used up faster than they are made.
        await until(`${gid} is acknowledged`, 20_000, async () => {
          const answer = await this.submit(id, spec);
          if (answer.status === 200) return true;
          if (answer.status !== 503 && answer.status !== 504) refused.push(answer.text);
          return undefined;
        });
      }
    };
    await Promise.all(Array.from({ length: 16 }, client));
    if (refused.length > 0) throw new Error(refused.join('\n'));
  }

  async query(id: number, gid: string): Promise<Readonly<Record<string, unknown>>> {
    const answer = await this.get(id, `/api/dtmsvr/query?gid=${gid}`);
    if (answer.status !== 200) throw new Error(`${gid} on node ${id}: ${answer.text}`);
    return JSON.parse(answer.text) as Readonly<Record<string, unknown>>;
  }

  /** What node `id` says of every acknowledged gid; a missing one is an error. */
  async everything(id: number): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    const queue = [...this.acknowledged];
    const reader = async (): Promise<void> => {
      for (let gid = queue.pop(); gid !== undefined; gid = queue.pop()) {
        const wanted = gid;
        const answer = await until(`${wanted} is readable on node ${id}`, 20_000, () =>
          this.query(id, wanted),
        );
        if (answer['transaction'] === null) throw new Error(`node ${id} lost ${gid}`);
        found.set(gid, JSON.stringify(answer));
      }
    };
    await Promise.all(Array.from({ length: 16 }, reader));
    return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Resolves when node `id` has applied all that the leader has committed by now. */
  async caughtUp(id: number, timeoutMs = 30_000): Promise<void> {
    const { commitIndex = 0 } = await this.view(await this.leaderId());
    await until(`node ${id} has applied ${commitIndex}`, timeoutMs, async () =>
      ((await this.view(id)).appliedIndex ?? 0) >= commitIndex ? true : undefined,
    );
  }

  /** Resolves when the state of node `id` holds all that it has applied by now. */
  async flushed(id: number): Promise<void> {
    const { appliedIndex = 0 } = await this.view(id);
    await until(`node ${id} has flushed ${appliedIndex}`, 20_000, async () => {
      const { text } = await this.get(id, '/api/metrics');
      const figure = /^assent_store_flushed_index(?:\{[^}]*\})? (\d+)/m.exec(text)?.[1];
      if (figure === undefined) throw new Error('no such metric');
      return Number(figure) >= appliedIndex ? true : undefined;
    });
  }
}
