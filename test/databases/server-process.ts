// One database server of a test: a process on a free port of loopback, its data in a temporary
// folder, stopped by its pid. What each kind of server needs is in the files beside this one.
//
// Invariant: nothing outlives the test process: a server is killed when the process exits.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const READY_WITHIN_MS = 60_000;
const STOPPED_WITHIN_MS = 20_000;
const OUTPUT_CHARS_MAX = 16_384;

export interface Skipped {
  readonly kind: 'skipped';
  /** Says what is missing, such as "no mariadbd". */
  readonly reason: string;
}

/** Who a server runs as: PostgreSQL refuses to be root. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface ServerCommand {
  readonly binary: string;
  readonly parameters: readonly string[];
  readonly port: number;
  readonly directory: string;
  /** What ends it in an orderly way. */
  readonly stopSignal: NodeJS.Signals;
  readonly account?: Account | undefined;
  /** Succeeds once the server serves, where accepting connections is not enough. */
  readonly probe?: () => Promise<unknown>;
}

/** The path of the first of `names` that is found on PATH or in the usual folders. */
export function findBinary(names: readonly string[], ...folders: string[]): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  for (const folder of [...folders, ...path, '/usr/sbin', '/usr/local/sbin']) {
    for (const name of names) if (existsSync(join(folder, name))) return join(folder, name);
  }
  return undefined;
}

/** The numbered folders of `parent`, newest first: several major versions may be installed. */
export function versionFolders(parent: string): string[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .filter((name) => /^\d+$/.test(name))
    .sort((a, b) => Number(b) - Number(a));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}

export async function temporaryFolder(name: string, owner?: Account): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `assent-${name}-`));
  if (owner !== undefined) await chown(directory, owner.uid, owner.gid);
  return directory;
}

/** `command` as `account`, keeping its pid (setpriv executes, it does not fork). */
function asAccount(binary: string, parameters: readonly string[], account?: Account): string[] {
  if (account === undefined) return [binary, ...parameters];
  const { uid, gid } = account;
  return ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', binary, ...parameters];
}

/** Runs a program of the server's package to its end; fails with what it printed. */
export async function runToEnd(
  binary: string,
  parameters: readonly string[],
  account?: Account,
): Promise<void> {
  const [program = binary, ...rest] = asAccount(binary, parameters, account);
  await promisify(execFile)(program, rest, { cwd: tmpdir(), maxBuffer: 4 * 1024 * 1024 });
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export class ServerProcess {
  readonly #command: ServerCommand;
  #child: ChildProcess | undefined;
  #output = '';
  readonly #killAtExit = () => this.#child?.kill('SIGKILL');

  private constructor(command: ServerCommand) {
    this.#command = command;
  }

  static async start(command: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(command);
    process.once('exit', server.#killAtExit);
    await server.run();
    return server;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the process, again after `kill`, and waits until it serves. */
  async run(): Promise<void> {
    const { binary, parameters, directory, account } = this.#command;
    const [program = binary, ...rest] = asAccount(binary, parameters, account);
    const child = spawn(program, rest, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_CHARS_MAX);
      });
    }
    child.on('error', (error) => {
      this.#output += String(error);
    });
    const giveUpAt = performance.now() + READY_WITHIN_MS;
    while (!(await this.#serves())) {
      if (child.exitCode !== null || performance.now() > giveUpAt) {
        throw new Error(`${binary} did not start:\n${this.#output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** As if the machine lost power for this process alone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    process.off('exit', this.#killAtExit);
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), STOPPED_WITHIN_MS);
    await this.#end(this.#command.stopSignal);
    clearTimeout(timer);
    await rm(this.#command.directory, { recursive: true, force: true });
  }

  async #serves(): Promise<boolean> {
    const { port, probe } = this.#command;
    if (!(await accepts(port))) return false;
    return (
      probe === undefined ||
      (await probe().then(
        () => true,
        () => false,
      ))
    );
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
