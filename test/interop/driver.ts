// One driver process: commands in, lines out, whatever the language behind it. It ends with the run.

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { DriverProgram } from './toolchains.ts';

const STDERR_CHARS_MAX = 4000;

export type Protocol = 'http' | 'grpc' | 'json-rpc';

export interface Services {
  readonly http: string;
  readonly grpc?: string;
}

export interface DriverConfig {
  readonly databases: object;
  readonly services?: Services;
  readonly diesAt?: string;
}

export interface DriverCommand {
  readonly id: string;
  readonly scenario: string;
  readonly protocol: Protocol;
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly pauseAt?: string;
  readonly loseAnswerOf?: string;
  readonly timeoutSeconds?: number;
  readonly noWait?: boolean;
  readonly holdAt?: string;
  readonly again?: Pick<DriverCommand, 'httpUrl' | 'grpcAddress'>;
}

interface Line {
  readonly kind: 'ready' | 'pause' | 'result' | 'dying' | 'calls';
  readonly id?: string;
  readonly services?: Services;
  readonly gid?: string;
  readonly clientSaw?: string;
  readonly error?: string;
  readonly calls?: Readonly<Record<string, number>>;
}

export interface ScenarioResult {
  readonly gid: string | undefined;
  readonly clientSaw: string | undefined;
  readonly error: string | undefined;
}

interface Waiter {
  readonly wants: (line: Line) => boolean;
  readonly resolve: (line: Line) => void;
  readonly reject: (error: Error) => void;
}

export class Driver {
  readonly #child: ChildProcess;
  readonly #waiters = new Set<Waiter>();
  readonly #paused = new Set<string>();
  #stderr = '';
  #services: Services | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS_MAX);
    });
    // A driver that died is found by whoever waits for it; its pipe may break before.
    child.stdin?.on('error', () => undefined);
    if (child.stdout === null) throw new Error('a driver without stdout');
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (text) => this.#read(text));
    // Not at its exit: the last line of one that kills itself may be read after that.
    lines.once('close', () => {
      const end = String(child.exitCode ?? child.signalCode ?? 'its output');
      const error = new Error(`the driver ended (${end}): ${this.#stderr}`);
      for (const waiter of this.#waiters) waiter.reject(error);
      this.#waiters.clear();
    });
  }

  static async start(program: DriverProgram, config: DriverConfig): Promise<Driver> {
    const child = spawn(program.command, [...program.args, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const driver = new Driver(child);
    const ready = await driver.#next('ready', 30_000, (line) => line.kind === 'ready');
    driver.#services = ready.services;
    return driver;
  }

  get services(): Services {
    if (this.#services === undefined) throw new Error('a driver without services');
    return this.#services;
  }

  get stderr(): string {
    return this.#stderr;
  }

  run(command: DriverCommand, timeoutMs: number): Promise<ScenarioResult> {
    const { id } = command;
    const ends = (line: Line) =>
      line.id === id && (line.kind === 'result' || line.kind === 'dying');
    const result = this.#next(`result of ${id}`, timeoutMs, ends);
    this.#send(command);
    return result.then(({ gid, clientSaw, error }) => ({ gid, clientSaw, error }));
  }

  isPaused(id: string): boolean {
    return this.#paused.has(id);
  }

  continue(id: string): void {
    this.#send({ id, continue: true });
  }

  async callsOf(gid: string): Promise<Readonly<Record<string, number>>> {
    const id = `calls of ${gid}`;
    const answer = this.#next(id, 10_000, (line) => line.id === id);
    this.#send({ id, callsOf: gid });
    return (await answer).calls ?? {};
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  #send(line: object): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  #read(text: string): void {
    const line = JSON.parse(text) as Line;
    if (line.kind === 'pause' && line.id !== undefined) this.#paused.add(line.id);
    for (const waiter of this.#waiters) {
      if (!waiter.wants(line)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(line);
    }
  }

  #next(what: string, timeoutMs: number, wants: (line: Line) => boolean): Promise<Line> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new Error(`${what}: not within ${timeoutMs} ms`));
      }, timeoutMs);
      const waiter: Waiter = {
        wants,
        resolve: (line) => {
          clearTimeout(timer);
          resolve(line);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiters.add(waiter);
    });
  }
}
