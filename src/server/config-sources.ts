// Where settings come from: a YAML file, the environment, flags. Each yields assignments that
// remember where they were made, so that a complaint can point there.
//
// Owns: names and places. Does not own: what a value may be (config-values.ts) and which of two
// assignments wins (config.ts). Invariant: an unknown name is a problem, never ignored.

import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import { DTM_KEYS, dtmEnvironmentName } from './config-dtm-keys.ts';
import { environmentName, SETTINGS } from './config-schema.ts';
import { suggestion } from './config-suggestion.ts';
import { scaleDtmValue } from './config-values.ts';

export type SourceRank = 'file' | 'environment' | 'flag';

export interface Assignment {
  readonly path: string;
  readonly value: unknown;
  readonly rank: SourceRank;
  /** The name as it was written: ours or dtm's. */
  readonly name: string;
  readonly origin: string;
}

export interface Findings {
  readonly assignments: Assignment[];
  readonly problems: string[];
  readonly warnings: string[];
}

const FILE_BYTES_MAX = 1_048_576;
const DTM_BY_KEY = new Map(DTM_KEYS.map((entry) => [entry.key, entry]));
const FILE_SECTIONS = new Set(
  [...SETTINGS.keys(), ...DTM_BY_KEY.keys()].filter((key) => key.includes('.')).map(sectionOf),
);
const FILE_NAMES = [
  ...FILE_SECTIONS,
  ...[...DTM_BY_KEY.keys()].filter((key) => !key.includes('.')),
];

function sectionOf(path: string): string {
  return path.slice(0, path.indexOf('.'));
}

function record(
  findings: Findings,
  at: { readonly rank: SourceRank; readonly name: string; readonly origin: string },
  value: unknown,
): boolean {
  if (SETTINGS.has(at.name)) {
    findings.assignments.push({ ...at, path: at.name, value });
    return true;
  }
  const dtmKey = DTM_BY_KEY.get(at.name);
  if (dtmKey === undefined) return false;
  if (dtmKey.kind === 'ignored') {
    findings.warnings.push(`${at.origin}: ${at.name} has no effect: ${dtmKey.because}`);
    return true;
  }
  const scaled = scaleDtmValue(value, dtmKey.scale);
  if (scaled.ok) {
    const given = scaled.value;
    const value =
      dtmKey.scale === 'secondsToMsRaised' ? raised(findings, at, dtmKey.path, given) : given;
    findings.assignments.push({ ...at, path: dtmKey.path, value });
  } else findings.problems.push(`${at.origin}: ${at.name} ${scaled.complaint}`);
  return true;
}

function raised(
  findings: Findings,
  at: { readonly name: string; readonly origin: string },
  path: string,
  value: unknown,
): unknown {
  const setting = SETTINGS.get(path);
  if (setting?.kind !== 'integer' || typeof value !== 'number' || value >= setting.min)
    return value;
  findings.warnings.push(
    `${at.origin}: ${at.name} (${value / 1_000} s) is raised to the least of ${path}, ${setting.min / 1_000} s`,
  );
  return setting.min;
}

class YamlReader {
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #document: Document;
  readonly #findings: Findings;

  constructor(file: string, text: string, findings: Findings) {
    this.#file = file;
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, { lineCounter: this.#lines, uniqueKeys: true });
    this.#findings = findings;
  }

  read(): void {
    for (const error of this.#document.errors) {
      const at = error.linePos?.[0];
      const sentence = error.message.split('\n')[0]?.replace(/ at line \d+.*$/, '') ?? '';
      this.#problem(at === undefined ? this.#file : `${this.#file}:${at.line}:${at.col}`, sentence);
    }
    const root = this.#document.contents;
    if (this.#document.errors.length > 0 || root === null) return;
    this.#eachPair(root, (name, value, origin) => {
      if (!FILE_SECTIONS.has(name)) {
        const known = record(this.#findings, { rank: 'file', name, origin }, this.#plain(value));
        if (!known) this.#problem(origin, `unknown key "${name}"${suggestion(name, FILE_NAMES)}`);
        return;
      }
      if (value === null || (isScalar(value) && value.value === null)) return;
      this.#section(name, value);
    });
  }

  #section(section: string, node: Node): void {
    this.#eachPair(node, (key, value, origin) => {
      const name = `${section}.${key}`;
      if (record(this.#findings, { rank: 'file', name, origin }, this.#plain(value))) return;
      const siblings = [...SETTINGS.keys(), ...DTM_BY_KEY.keys()]
        .filter((path) => sectionOf(path) === section)
        .map((path) => path.slice(section.length + 1));
      this.#problem(origin, `unknown key "${key}" in ${section}${suggestion(key, siblings)}`);
    });
  }

  #eachPair(node: Node, visit: (name: string, value: Node | null, origin: string) => void): void {
    if (!isMap(node)) {
      this.#problem(this.#origin(node), 'must be a mapping of names to values');
      return;
    }
    for (const pair of node.items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue;
      const value = pair.value as Node | null;
      visit(String(pair.key.value), value, this.#origin(pair.key));
    }
  }

  /** Aliases are refused: a few lines of them can expand without bound. */
  #plain(node: Node | null): unknown {
    if (node === null) return null;
    if (isScalar(node)) return node.value;
    if (isSeq(node)) return node.items.map((item) => this.#plain(item as Node | null));
    if (isMap(node)) {
      return Object.fromEntries(
        node.items.map((pair) => [
          isScalar(pair.key) ? String(pair.key.value) : '',
          this.#plain(pair.value as Node | null),
        ]),
      );
    }
    if (isAlias(node)) this.#problem(this.#origin(node), 'aliases are not supported');
    return null;
  }

  #origin(node: Node): string {
    const { line, col } = this.#lines.linePos(node.range?.[0] ?? 0);
    return `${this.#file}:${line}:${col}`;
  }

  #problem(origin: string, sentence: string): void {
    this.#findings.problems.push(`${origin}: ${sentence}`);
  }
}

export function readYaml(file: string, text: string, findings: Findings): void {
  if (text.length > FILE_BYTES_MAX) {
    findings.problems.push(`${file}: longer than ${FILE_BYTES_MAX} bytes`);
    return;
  }
  new YamlReader(file, text, findings).read();
}

const PATH_BY_ENVIRONMENT = new Map([
  ...[...SETTINGS.keys()].map((path): [string, string] => [environmentName(path), path]),
  ...DTM_KEYS.map(({ key }): [string, string] => [dtmEnvironmentName(key), key]),
]);

/** Ours are `ASSENT_<SECTION>__<KEY>`. A variable that is set but empty counts as unset. */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
): void {
  for (const [variable, value] of Object.entries(environment)) {
    if (value === undefined || value === '') continue;
    const origin = `environment ${variable}`;
    const name = PATH_BY_ENVIRONMENT.get(variable);
    if (name !== undefined) {
      record(findings, { rank: 'environment', name, origin }, value);
    } else if (/^ASSENT_.*__/.test(variable)) {
      const ours = [...SETTINGS.keys()].map(environmentName);
      findings.problems.push(`${origin}: unknown variable${suggestion(variable, ours)}`);
    }
  }
}

/** Flags name settings by their paths: `--raft.electionTimeoutMs 500`. */
export function readFlags(flags: ReadonlyMap<string, string>, findings: Findings): void {
  for (const [name, value] of flags) {
    const origin = `flag --${name}`;
    if (!record(findings, { rank: 'flag', name, origin }, value)) {
      const known = [...SETTINGS.keys(), ...DTM_BY_KEY.keys()];
      findings.problems.push(`${origin}: unknown flag${suggestion(name, known)}`);
    }
  }
}
