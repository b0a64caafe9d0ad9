// The command line of a node.

import type { Member } from '../raft/index.ts';
import { ConfigError } from './config.ts';

export interface FormatIdentity {
  readonly clusterId: string;
  /** The first voters, with the birth ids of their data directories. */
  readonly voters: readonly Member[];
}

export type CommandLine =
  | { readonly kind: 'help' | 'version' }
  | ({ readonly kind: 'run' | 'printConfig' } & ConfigArguments)
  | ({ readonly kind: 'format'; readonly identity: FormatIdentity } & ConfigArguments);

interface ConfigArguments {
  readonly file: string | undefined;
  /** Settings by path. */
  readonly flags: ReadonlyMap<string, string>;
}

export const USAGE = `usage: assent-node [--config FILE] [--SECTION.KEY VALUE …]

  -c, --config FILE      read settings from a YAML file (docs/configuration.md)
      --SECTION.KEY V    set one setting, such as --node.id 2 or --listen.httpPort 36799
  -d                     log everything (logging.level debug)
      --print-config     print the settings in effect, with where each was made, and exit
      --format           format an empty data directory, once, and exit; needs
      --cluster-id ID        the same text on every node
      --voters 1=B1,2=B2     every first voter and the birth id of its data directory
  -v, --version          print the version and exit
  -h, --help             print this and exit

Start it with UV_THREADPOOL_SIZE=16 or more in the environment.
`;

const ALIASES: ReadonlyMap<string, string> = new Map([
  ['-c', '--config'],
  ['-v', '--version'],
  ['-h', '--help'],
]);
const SWITCHES: ReadonlySet<string> = new Set([
  '--version',
  '--help',
  '--print-config',
  '--format',
  '-d',
]);
const ID = /^[0-9A-Za-z_-]{1,64}$/;

function parseVoters(text: string): readonly Member[] {
  const voters = text.split(',').map((item): Member => {
    const match = /^([1-9]\d{0,6})=([0-9A-Za-z_-]{1,64})$/.exec(item.trim());
    const [, id, birthId] = match ?? [];
    if (id === undefined || birthId === undefined) {
      throw new ConfigError([`--voters must be 1=BIRTH,2=BIRTH,…, not "${text.slice(0, 80)}"`]);
    }
    return { nodeId: Number(id), birthId };
  });
  if (new Set(voters.map(({ nodeId }) => nodeId)).size < voters.length) {
    throw new ConfigError(['--voters names a node twice']);
  }
  return voters.sort((left, right) => left.nodeId - right.nodeId);
}

interface Words {
  readonly switches: ReadonlySet<string>;
  readonly values: Map<string, string>;
}

function readWords(words: readonly string[]): Words {
  const switches = new Set<string>();
  const values = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const equals = word.startsWith('--') ? word.indexOf('=') : -1;
    const written = equals === -1 ? word : word.slice(0, equals);
    const name = ALIASES.get(written) ?? written;
    if (SWITCHES.has(name)) {
      switches.add(name);
      continue;
    }
    if (!name.startsWith('--')) {
      throw new ConfigError([`unexpected argument "${word.slice(0, 80)}"; see --help`]);
    }
    if (equals === -1) at += 1;
    const value = equals === -1 ? words[at] : word.slice(equals + 1);
    if (value === undefined) throw new ConfigError([`${name} needs a value`]);
    values.set(name.slice(2), value);
  }
  return { switches, values };
}

function take(values: Map<string, string>, name: string): string | undefined {
  const value = values.get(name);
  values.delete(name);
  return value;
}

function formatIdentity(clusterId: string | undefined, voters: string | undefined): FormatIdentity {
  if (clusterId === undefined || !ID.test(clusterId)) {
    throw new ConfigError(['--format needs --cluster-id: letters, digits, - and _, at most 64']);
  }
  if (voters === undefined) throw new ConfigError(['--format needs --voters 1=BIRTH,2=BIRTH,…']);
  return { clusterId, voters: parseVoters(voters) };
}

/** @throws ConfigError */
export function parseCommandLine(words: readonly string[]): CommandLine {
  const { switches, values } = readWords(words);
  if (switches.has('--help')) return { kind: 'help' };
  if (switches.has('--version')) return { kind: 'version' };
  const file = take(values, 'config');
  const clusterId = take(values, 'cluster-id');
  const voters = take(values, 'voters');
  if (switches.has('-d')) values.set('logging.level', 'debug');
  const configured = { file, flags: values };
  if (switches.has('--format')) {
    return { kind: 'format', identity: formatIdentity(clusterId, voters), ...configured };
  }
  if (clusterId !== undefined || voters !== undefined) {
    throw new ConfigError(['--cluster-id and --voters belong to --format']);
  }
  return { kind: switches.has('--print-config') ? 'printConfig' : 'run', ...configured };
}
