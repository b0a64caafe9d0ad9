// Configuration as text: `--print-config`, and the tables of docs/configuration.md.

import type { LoadedConfig } from './config.ts';
import { DTM_KEYS, dtmEnvironmentName } from './config-dtm-keys.ts';
import { environmentName, SCHEMA, type Setting } from './config-schema.ts';

function valueText(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return JSON.stringify(value);
  return String(value);
}

/** YAML that can be read back, each value with where it was set. */
export function printConfig(loaded: LoadedConfig): string {
  const lines: string[] = [];
  for (const [section, settings] of Object.entries(loaded.config)) {
    lines.push(`${section}:`);
    for (const [key, value] of Object.entries(settings as Readonly<Record<string, unknown>>)) {
      const origin = loaded.origins.get(`${section}.${key}`) ?? 'default';
      lines.push(`  ${key}: ${valueText(value)} # ${origin}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function allowedText(setting: Setting): string {
  switch (setting.kind) {
    case 'integer':
      return `${setting.min} … ${setting.max}`;
    case 'boolean':
      return 'true, false';
    case 'choice':
      return setting.allowed.join(', ');
    case 'text':
      return 'text';
    case 'peers':
      return 'list';
  }
}

export function settingsTable(): string {
  const lines = ['| key | environment | default | allowed | meaning |', '|---|---|---|---|---|'];
  for (const [section, settings] of Object.entries(SCHEMA)) {
    for (const [key, setting] of Object.entries(settings) as [string, Setting][]) {
      const path = `${section}.${key}`;
      const value = valueText(setting.default);
      lines.push(
        `| \`${path}\` | \`${environmentName(path)}\` | \`${value}\` | ${allowedText(setting)} | ${setting.description} |`,
      );
    }
  }
  return lines.join('\n');
}

export function dtmKeysTable(): string {
  const lines = ["| dtm's key | environment | here |", '|---|---|---|'];
  for (const entry of DTM_KEYS) {
    const here =
      entry.kind === 'sets'
        ? `sets \`${entry.path}\`${entry.scale === 'secondsToMsRaised' ? ', raised to its least' : ''}`
        : `no effect: ${entry.because}`;
    lines.push(`| \`${entry.key}\` | \`${dtmEnvironmentName(entry.key)}\` | ${here} |`);
  }
  return lines.join('\n');
}
