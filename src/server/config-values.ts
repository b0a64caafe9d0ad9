// From what a source says (a text, a number, a list) to the value of a setting, or to a complaint
// that names what was given and what is allowed.

import type { DtmScale } from './config-dtm-keys.ts';
import type { IntegerSetting, PeerAddress, Setting, SettingValue } from './config-schema.ts';

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly complaint: string };

const UNITS = {
  ms: new Map([
    ['ms', 1],
    ['s', 1_000],
    ['m', 60_000],
    ['h', 3_600_000],
    ['d', 86_400_000],
  ]),
  bytes: new Map([
    ['B', 1],
    ['KiB', 1_024],
    ['MiB', 1_048_576],
    ['GiB', 1_073_741_824],
    ['kB', 1_000],
    ['MB', 1_000_000],
    ['GB', 1_000_000_000],
  ]),
  count: new Map<string, number>(),
} as const;

function shown(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return text === undefined ? typeof value : text.slice(0, 80);
}

function ok<T>(value: T): Parsed<T> {
  return { ok: true, value };
}
function bad(complaint: string): { readonly ok: false; readonly complaint: string } {
  return { ok: false, complaint };
}

function toNumber(value: unknown, unit: IntegerSetting['unit']): number {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string') return Number.NaN;
  const match = /^([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(value.trim());
  if (match === null) return Number.NaN;
  const [, digits = '', name = ''] = match;
  const factor = name === '' ? 1 : UNITS[unit].get(name);
  return factor === undefined ? Number.NaN : Number(digits) * factor;
}

function parseInteger(value: unknown, setting: IntegerSetting): Parsed<number> {
  const number = toNumber(value, setting.unit);
  const { min, max, unit } = setting;
  if (Number.isInteger(number) && number >= min && number <= max) return ok(number);
  const units = [...UNITS[unit].keys()].join(', ');
  const withUnit =
    units === '' ? '' : ` ${unit === 'ms' ? 'milliseconds' : unit} (or with ${units})`;
  return bad(`must be an integer from ${min} to ${max}${withUnit}, not ${shown(value)}`);
}

function parseBoolean(value: unknown): Parsed<boolean> {
  if (typeof value === 'boolean') return ok(value);
  if (value === 'true' || value === '1' || value === 1) return ok(true);
  if (value === 'false' || value === '0' || value === 0) return ok(false);
  return bad(`must be true or false, not ${shown(value)}`);
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535;
}

function toPeer(value: unknown): PeerAddress | undefined {
  if (typeof value === 'string') {
    const match = /^(\d{1,7})=(\[[^\]]+\]|[^:\s]+):(\d{1,5})$/.exec(value.trim());
    if (match === null) return undefined;
    const [, id, host, port] = match;
    return toPeer({ id: Number(id), host: host?.replace(/^\[|\]$/g, ''), port: Number(port) });
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, host, port, ...rest } = value as Record<string, unknown>;
  if (Object.keys(rest).length > 0 || typeof host !== 'string' || host === '') return undefined;
  if (!isPort(port) || typeof id !== 'number' || !Number.isInteger(id) || id < 1) return undefined;
  return { id, host, port };
}

function parsePeers(value: unknown): Parsed<readonly PeerAddress[]> {
  const items: unknown =
    typeof value === 'string' ? value.split(',').filter((item) => item.trim() !== '') : value;
  if (!Array.isArray(items)) return bad(`must be a list of {id, host, port}, not ${shown(value)}`);
  const peers: PeerAddress[] = [];
  for (const item of items) {
    const peer = toPeer(item);
    if (peer === undefined) {
      return bad(`each must be {id, host, port} or "id=host:port", not ${shown(item)}`);
    }
    peers.push(peer);
  }
  return ok(peers.sort((left, right) => left.id - right.id));
}

export function parseSetting(value: unknown, setting: Setting): Parsed<SettingValue> {
  switch (setting.kind) {
    case 'integer':
      return parseInteger(value, setting);
    case 'boolean':
      return parseBoolean(value);
    case 'peers':
      return parsePeers(value);
    case 'choice':
      return typeof value === 'string' && setting.allowed.includes(value)
        ? ok(value)
        : bad(`must be one of ${setting.allowed.join(', ')}, not ${shown(value)}`);
    case 'text':
      if (typeof value === 'string') return ok(value);
      return typeof value === 'number'
        ? ok(String(value))
        : bad(`must be a text, not ${shown(value)}`);
  }
}

/** dtm's seconds and 0/1 to our milliseconds and booleans; other values pass as they are. */
export function scaleDtmValue(value: unknown, scale: DtmScale): Parsed<unknown> {
  if (scale === 'same') return ok(value);
  const isSeconds = scale !== 'zeroOrOne';
  const number = typeof value === 'string' && /^\s*\d+\s*$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number)) {
    return bad(`must be an integer${isSeconds ? ' (seconds)' : ''}, not ${shown(value)}`);
  }
  if (isSeconds) return ok(number * 1_000);
  return number === 0 || number === 1 ? ok(number === 1) : bad(`must be 0 or 1, not ${number}`);
}
