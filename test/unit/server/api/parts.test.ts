import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonText, jsonTextWithoutReservedWords } from '../../../../src/server/api/json-text.ts';
import { timeFormatOf } from '../../../../src/server/api/time-text.ts';
import { ERROR_CODES, errorsTable } from '../../../../src/server/requests/errors.ts';
import { base57, newGid } from '../../../../src/server/requests/gid.ts';
import { scanJson, topLevelMembers } from '../../../../src/server/requests/json-scan.ts';

describe('error codes', () => {
  it('P7: none uses 409, 425, gRPC 9 or 10, or a reserved word', () => {
    for (const [code, spec] of Object.entries(ERROR_CODES)) {
      expect([409, 425]).not.toContain(spec.http);
      expect([9, 10]).not.toContain(spec.grpc);
      expect(code + spec.meaning).not.toMatch(/FAILURE|ONGOING/);
    }
  });

  it('only what may have happened has an unknown outcome', () => {
    const unknown = Object.entries(ERROR_CODES).filter(([, spec]) => spec.outcome === 'unknown');
    expect(unknown.map(([code]) => code)).toEqual(['OUTCOME_UNKNOWN', 'INTERNAL']);
  });

  it('docs/errors.md holds the table', () => {
    const page = readFileSync(new URL('../../../../docs/errors.md', import.meta.url), 'utf8');
    expect(page).toContain(errorsTable());
  });
});

describe('gid', () => {
  it('is 22 digits of base 57, most significant first', () => {
    expect(base57('00000000-0000-0000-0000-000000000000')).toBe('2'.repeat(22));
    expect(base57('00000000-0000-0000-0000-000000000039')).toBe(`${'2'.repeat(20)}32`);
    expect(base57('ffffffff-ffff-ffff-ffff-ffffffffffff')).toMatch(/^[2-9A-HJ-NP-Za-km-z]{22}$/);
  });

  it('is new each time', () => {
    expect(new Set(Array.from({ length: 1_000 }, newGid)).size).toBe(1_000);
  });
});

describe('times', () => {
  it('carry the offset and as many digits as needed', () => {
    const time = timeFormatOf('+8');
    expect(time(Date.UTC(2026, 0, 5, 2, 0, 1, 741))).toBe('2026-01-05T10:00:01.741+08:00');
    expect(time(Date.UTC(2026, 0, 5, 2, 0, 1, 700))).toBe('2026-01-05T10:00:01.7+08:00');
    expect(time(Date.UTC(2026, 0, 5, 2, 0, 10, 0))).toBe('2026-01-05T10:00:10+08:00');
    expect(timeFormatOf('-3.5')(Date.UTC(2026, 0, 5))).toBe('2026-01-04T20:30:00-03:30');
    expect(timeFormatOf('0')(Date.UTC(2026, 0, 5))).toBe('2026-01-05T00:00:00Z');
  });

  it('name the instant they were made from, in the time zone of the process', () => {
    const time = timeFormatOf('');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (timeMs) => {
        expect(Date.parse(time(timeMs))).toBe(timeMs);
      }),
    );
  });
});

describe('JSON', () => {
  it('is written with <, > and & escaped, and reads back the same', () => {
    expect(jsonText({ a: '<&>\u2028' })).toBe('{"a":"\\u003c\\u0026\\u003e\\u2028"}');
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(jsonText(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('P7: reserved words are hidden from substring searches and still read the same', () => {
    const text = jsonTextWithoutReservedWords({ gid: 'FAILURE', message: 'no ONGOING, FAILURE' });
    expect(text).not.toMatch(/FAILURE|ONGOING/);
    expect(JSON.parse(text)).toEqual({ gid: 'FAILURE', message: 'no ONGOING, FAILURE' });
  });

  it('the scan passes every JSON within its bounds and sees top-level keys in order', () => {
    const limits = { depthMax: 100, valuesMax: 100_000 };
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
        const text = JSON.stringify(object);
        expect(scanJson(text, limits)).toBeUndefined();
        const members = topLevelMembers(text).map(({ key, value }): [string, unknown] => [
          key,
          JSON.parse(value),
        ]);
        expect(members).toEqual(Object.entries(JSON.parse(text) as object));
      }),
    );
  });
});
