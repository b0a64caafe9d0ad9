// Builds the drivers with the toolchains that are present. Outputs stay outside the working tree's
// tracked files; a build is repeated only when its sources changed. What is absent is a reason.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const BUILD_TIMEOUT_MS = 300_000;
const GO_VERSION_MIN = [1, 22] as const;
const JAVA_VERSION_MIN = [17, 0] as const;

const here = import.meta.dirname;
const cache = join(here, '../../node_modules/.cache/assent-interop');
const execute = promisify(execFile);

export type Language = 'go' | 'python' | 'java';

export interface DriverProgram {
  readonly command: string;
  readonly args: readonly string[];
}

export interface PresentToolchain {
  readonly kind: 'present';
  readonly program: DriverProgram;
  /** The client's exact version, from the file that pins it, and what it was built and run with. */
  readonly client: string;
  readonly language: string;
}

export type Toolchain = PresentToolchain | { readonly kind: 'absent'; readonly reason: string };

function missing(...binaries: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const absent = binaries.filter(
    (name) => !folders.some((folder) => existsSync(join(folder, name))),
  );
  return absent.length === 0 ? undefined : `no ${absent.join(', no ')}`;
}

function contentHash(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!/\.(go|mod|sum|py|txt|java|xml)$/.test(name)) continue;
    hash.update(`${name}\0`).update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex');
}

/** Runs `build` unless what it made of these sources is still there. */
async function buildOnce(
  language: Language,
  build: (out: string) => Promise<void>,
): Promise<string> {
  const out = join(cache, language);
  const stamp = join(out, 'built-from');
  const wanted = contentHash(join(here, language));
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return out;
  mkdirSync(out, { recursive: true });
  await build(out);
  writeFileSync(stamp, wanted);
  return out;
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  await execute(command, args, {
    cwd: here,
    timeout: BUILD_TIMEOUT_MS,
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** The first thing like 1.22.3 in what a program says of itself. */
async function versionOf(command: string, ...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await execute(command, args, { timeout: 30_000 });
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? 'of unknown version';
}

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [foundMajor = 0, foundMinor = 0] = version.split('.').map(Number);
  return foundMajor < major || (foundMajor === major && foundMinor < minor);
}

/** What `pattern` finds in a file that pins versions, such as `v1.19.0`. */
function pinned(file: string, pattern: RegExp): string {
  const version = pattern.exec(readFileSync(join(here, file), 'utf8'))?.[1];
  if (version === undefined) throw new Error(`${file} pins no ${String(pattern)}`);
  return version;
}

async function go(): Promise<Toolchain> {
  const reason = missing('go');
  if (reason !== undefined) return { kind: 'absent', reason };
  const version = await versionOf('go', 'version');
  if (isOlder(version, GO_VERSION_MIN))
    return { kind: 'absent', reason: `go ${version}, needs ${GO_VERSION_MIN.join('.')}` };
  const out = await buildOnce('go', (folder) =>
    run('go', ['build', '-C', 'go', '-o', join(folder, 'driver'), '.'], {
      // The committed go.sum decides; nothing in the working tree is rewritten.
      GOFLAGS: '-mod=readonly -buildvcs=false',
      GOTOOLCHAIN: 'local',
      GOWORK: 'off',
    }),
  );
  const client = pinned('go/go.mod', /dtm-labs\/dtm (v[\d.]+)/);
  return {
    kind: 'present',
    program: { command: join(out, 'driver'), args: [] },
    client: `\`github.com/dtm-labs/dtm\` ${client} (\`client/dtmcli\`, \`client/dtmgrpc\`, \`client/workflow\`)`,
    language: `Go ${version}`,
  };
}

async function python(): Promise<Toolchain> {
  const reason = missing('python3');
  if (reason !== undefined) return { kind: 'absent', reason };
  const hasVenv = await run('python3', ['-c', 'import venv, ensurepip']).then(
    () => true,
    () => false,
  );
  if (!hasVenv) return { kind: 'absent', reason: 'python3 without venv' };
  const out = await buildOnce('python', async (folder) => {
    await run('python3', ['-m', 'venv', '--clear', join(folder, 'venv')]);
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check'];
    await run(join(folder, 'venv/bin/python'), [...pip, '-r', 'python/requirements.txt']);
  });
  const args = ['-B', join(here, 'python/driver.py')];
  return {
    kind: 'present',
    program: { command: join(out, 'venv/bin/python'), args },
    client: `\`dtmcli\` ${pinned('python/requirements.txt', /^dtmcli==([\d.]+)$/m)}`,
    language: `Python ${await versionOf('python3', '--version')}`,
  };
}

async function java(): Promise<Toolchain> {
  const reason = missing('java', 'javac', 'mvn');
  if (reason !== undefined) return { kind: 'absent', reason };
  const version = await versionOf('java', '-version');
  if (isOlder(version, JAVA_VERSION_MIN))
    return { kind: 'absent', reason: `java ${version}, needs ${JAVA_VERSION_MIN[0]}` };
  const out = await buildOnce('java', (folder) =>
    run('mvn', [
      ...['--quiet', '--batch-mode', '--file', 'java/pom.xml', `-Dinterop.out=${folder}`],
      ...['compile', 'dependency:copy-dependencies'],
    ]),
  );
  const classPath = `${join(out, 'classes')}${delimiter}${join(out, 'lib')}/*`;
  // A few threads and little memory: the machine is shared with three nodes and their databases.
  const args = ['-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', classPath];
  const client = pinned('java/pom.xml', /dtmcli-java<\/artifactId>\s*<version>([\d.]+)</);
  return {
    kind: 'present',
    program: { command: 'java', args: [...args, 'interop.Driver'] },
    client: `\`io.github.dtm-labs:dtmcli-java\` ${client}`,
    language: `Java ${version}`,
  };
}

export function prepareToolchain(language: Language): Promise<Toolchain> {
  switch (language) {
    case 'go':
      return go();
    case 'python':
      return python();
    case 'java':
      return java();
  }
}
