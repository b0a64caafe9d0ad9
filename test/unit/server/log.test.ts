import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLog, LOG_FIELDS, logDestination } from '../../../src/server/log.ts';

function recording(level: 'debug' | 'info' = 'info') {
  const lines: string[] = [];
  const log = createLog({ level, nodeId: 2 }, { write: (line: string) => lines.push(line) });
  return { log, lines, first: () => JSON.parse(lines[0] ?? '') as Record<string, unknown> };
}

describe('log', () => {
  it('writes one JSON line with level, time, node, message and the fields', () => {
    const { log, lines, first } = recording();
    log.info({ term: 3, role: 'leader' }, 'role changed');
    expect(lines).toHaveLength(1);
    expect(first()).toEqual({
      level: 'info',
      ts: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      nodeId: 2,
      term: 3,
      role: 'leader',
      msg: 'role changed',
    });
  });

  it('57: a gid cannot forge a line or speak to a terminal', () => {
    const { log, lines, first } = recording();
    const gid = 'a\n{"level":"fatal"}\u001b[31m';
    log.warn({ gid }, 'x');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[ -~]+\n$/);
    expect(first()['gid']).toBe(gid);
  });

  it('drops fields outside the closed set and names them', () => {
    const { log, lines, first } = recording();
    log.warn({ gid: 'g', payload: 'secret', authorization: 'secret' }, 'x');
    expect(lines[0]).not.toContain('secret');
    expect(first()).toMatchObject({ gid: 'g', droppedFields: 'payload,authorization' });
  });

  it('shows errors with code and causes, and bounds long texts', () => {
    const { log, first } = recording();
    const cause = Object.assign(new Error('disk'), { code: 'EIO' });
    log.error({ err: new Error('x'.repeat(10_000), { cause }) }, 'x');
    expect(first()['err']).toMatchObject({
      type: 'Error',
      cause: { code: 'EIO', message: 'disk' },
    });
    expect(JSON.stringify(first()).length).toBeLessThan(9_000);
  });

  it('writes nothing below its level', () => {
    const { log, lines } = recording();
    log.debug({}, 'x');
    expect(lines).toEqual([]);
  });

  it('keeps every field that the code logs', () => {
    const missing = new Set<string>();
    const root = new URL('../../../src/', import.meta.url);
    for (const entry of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      if (!/^(raft|engine|server)\/.*\.ts$/.test(entry)) continue;
      const text = readFileSync(new URL(entry, root), 'utf8');
      const calls = text.matchAll(/\b(?:log|logger)\.(?:debug|info|warn|error)\(\s*\{([^{}]*)\}/g);
      for (const [, fields = ''] of calls) {
        for (const field of fields.split(',')) {
          const name = /^\s*(\w+)/.exec(field)?.[1];
          if (name !== undefined && !LOG_FIELDS.has(name)) missing.add(`${entry}: ${name}`);
        }
      }
    }
    expect([...missing]).toEqual([]);
  });

  it("writes to every one of dtm's Log.Outputs, at its level, appending to files", () => {
    const directory = mkdtempSync(join(tmpdir(), 'assent-log-'));
    const files = [join(directory, 'a.log'), join(directory, 'deeper', 'b.log')];
    try {
      for (const outputs of [files.join(', '), files.join(','), String(files[0])]) {
        const log = createLog({ level: 'debug', nodeId: 1 }, logDestination(outputs));
        log.debug({ term: 1 }, 'x');
      }
      const lines = files.map((file) => readFileSync(file, 'utf8').trim().split('\n').length);
      expect(lines).toEqual([3, 2]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('an output that cannot be opened is a fault of the configuration', () => {
    expect(() => logDestination('/dev/null/x')).toThrow(
      /logging\.outputs: \/dev\/null\/x cannot be opened/,
    );
  });
});
