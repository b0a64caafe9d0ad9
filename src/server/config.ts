// The settings of a node: gathered from file, environment and flags, checked, and fixed.
//
// Precedence: flag > environment > file > default. dtm lets its file win over its environment: where
// one of dtm's own keys is set in both to different values, the start is refused rather than guessed.
// Likewise for one setting under dtm's name and ours in the same source.
//
// Invariant: whoever holds a Config holds a valid one; all problems are reported at once.

import { configProblems } from './config-checks.ts';
import { DTM_KEYS } from './config-dtm-keys.ts';
import { type Config, SCHEMA, SETTINGS, type SettingValue } from './config-schema.ts';
import {
  type Assignment,
  type Findings,
  readEnvironment,
  readFlags,
  readYaml,
} from './config-sources.ts';
import { parseSetting } from './config-values.ts';

export type { Config, PeerAddress } from './config-schema.ts';

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration is not valid:\n  ${problems.join('\n  ')}`);
    this.problems = problems;
  }
}

export interface ConfigSources {
  readonly file: { readonly name: string; readonly text: string } | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly flags: ReadonlyMap<string, string>;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where each setting that is not a default was made, by path. */
  readonly origins: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

const RANK = { file: 0, environment: 1, flag: 2 } as const;
const DTM_NAMES: ReadonlySet<string> = new Set(DTM_KEYS.map(({ key }) => key));

function sameValue(left: unknown, right: unknown): boolean {
  return String(left) === String(right);
}

function conflict(left: Assignment, right: Assignment): string | undefined {
  if (sameValue(left.value, right.value)) return undefined;
  const twoNames = left.rank === right.rank && left.name !== right.name;
  const dtmTwice =
    left.name === right.name &&
    DTM_NAMES.has(left.name) &&
    left.rank !== right.rank &&
    left.rank !== 'flag' &&
    right.rank !== 'flag';
  if (!twoNames && !dtmTwice) return undefined;
  const rule = dtmTwice ? ' (dtm lets the file win, we the environment: remove one)' : '';
  return `${left.origin}: ${left.name} and ${right.origin}: ${right.name} disagree${rule}`;
}

/** The winning assignment of each setting. */
function winners(findings: Findings): ReadonlyMap<string, Assignment> {
  const byPath = new Map<string, Assignment>();
  for (const assignment of findings.assignments) {
    const other = byPath.get(assignment.path);
    if (other !== undefined) {
      const problem = conflict(other, assignment);
      if (problem !== undefined) findings.problems.push(problem);
      if (RANK[other.rank] > RANK[assignment.rank]) continue;
    }
    byPath.set(assignment.path, assignment);
  }
  return byPath;
}

/** dtm's own text, which its users search for. */
function dtmRule(assignment: Assignment): string {
  return assignment.path === 'transactions.retryIntervalMs' &&
    typeof assignment.value === 'number' &&
    assignment.value < 10_000
    ? ': RetryInterval should not be less than 10'
    : '';
}

function assemble(values: ReadonlyMap<string, SettingValue>): Config {
  const sections = Object.entries(SCHEMA).map(([section, settings]) => [
    section,
    Object.freeze(
      Object.fromEntries(
        Object.keys(settings).map((key) => [key, values.get(`${section}.${key}`)]),
      ),
    ),
  ]);
  return Object.freeze(Object.fromEntries(sections)) as Config;
}

/** @throws ConfigError with every problem found. */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const findings: Findings = { assignments: [], problems: [], warnings: [] };
  if (sources.file !== undefined) readYaml(sources.file.name, sources.file.text, findings);
  readEnvironment(sources.environment, findings);
  readFlags(sources.flags, findings);

  const hasUnreadSources = findings.problems.length > 0 && findings.assignments.length === 0;
  const chosen = winners(findings);
  const unread: string[] = [];
  const values = new Map<string, SettingValue>();
  const origins = new Map<string, string>();
  for (const [path, setting] of SETTINGS) {
    values.set(path, setting.default);
    const assignment = chosen.get(path);
    if (assignment === undefined) continue;
    const parsed = parseSetting(assignment.value, setting);
    if (parsed.ok) {
      values.set(path, parsed.value);
      origins.set(path, assignment.origin);
    } else {
      unread.push(path);
      findings.problems.push(
        `${assignment.origin}: ${assignment.name} ${parsed.complaint}${dtmRule(assignment)}`,
      );
    }
  }
  const config = assemble(values);
  // A rule that quotes a setting which could not be read would complain of its default.
  const isKnown = (problem: string): boolean =>
    !unread.some((path) => problem.includes(path)) && !hasUnreadSources;
  findings.problems.push(...configProblems(config).filter(isKnown));
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return { config, origins, warnings: findings.warnings };
}
