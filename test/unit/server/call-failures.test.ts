import { describe, expect, it } from 'vitest';
import type { EndedCall } from '../../../src/engine/index.ts';
import type { Clock, NodeLog } from '../../../src/raft/index.ts';
import { failureReason, shownAddress } from '../../../src/server/call-failure-text.ts';
import { CallFailures } from '../../../src/server/call-failures.ts';

const SECRET = 'card 4111';

interface Line {
  readonly level: 'info' | 'warn';
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function watched() {
  const lines: Line[] = [];
  let nowMs = 1_000;
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => Date.UTC(2026, 0, 1),
    after: () => () => undefined,
    defer: () => undefined,
  };
  const log: NodeLog = {
    debug: () => undefined,
    info: (fields, message) => lines.push({ level: 'info', message, fields }),
    warn: (fields, message) => lines.push({ level: 'warn', message, fields }),
    error: () => undefined,
  };
  const failures = new CallFailures(clock, log);
  const pass = (durationMs: number): void => {
    nowMs += durationMs;
  };
  return { failures, lines, pass };
}

function ended(end: Partial<EndedCall['end']>, url = 'http://bank:80/out?gid=g'): EndedCall {
  return {
    call: {
      gid: 'g1',
      type: 'saga',
      branchId: '01',
      op: 'action',
      url,
      protocol: 'http',
      payload: Buffer.from(SECRET),
      headers: { authorization: SECRET },
      timeoutMs: 3_000,
    },
    end: {
      kind: 'unknown',
      detail: 'connect ECONNREFUSED 10.0.0.1:80',
      durationMs: 1,
      ...end,
    },
    attempt: 3,
    retryInMs: 20_000,
  };
}

describe('failures of calls in the log', () => {
  it('tells at once which participant gives no result, why, and when it is tried again', () => {
    const { failures, lines } = watched();
    failures.ended(ended({}));
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'calls of a participant fail',
        fields: {
          target: 'http://bank:80/out',
          reason: 'connection refused',
          gid: 'g1',
          branchId: '01',
          op: 'action',
          attempt: 3,
          count: 1,
          nextTryAt: '2026-01-01T00:00:20.000Z',
        },
      },
    ]);
  });

  it('repeats itself once a minute, with how many calls failed since', () => {
    const { failures, lines, pass } = watched();
    for (let call = 0; call < 5; call += 1) failures.ended(ended({}));
    expect(lines).toHaveLength(1);
    pass(60_000);
    failures.ended(ended({}));
    expect(lines.map(({ message, fields }) => [message, fields['count']])).toEqual([
      ['calls of a participant fail', 1],
      ['calls of a participant still fail', 5],
    ]);
  });

  it('tells once when the participant answers again, also with a failure or not yet', () => {
    for (const kind of ['success', 'failure', 'ongoing'] as const) {
      const { failures, lines } = watched();
      failures.ended(ended({}));
      failures.ended(ended({ kind, detail: '' }));
      failures.ended(ended({ kind, detail: '' }));
      expect(lines.map(({ level, message }) => `${level}: ${message}`)).toEqual([
        'warn: calls of a participant fail',
        'info: the participant answers again',
      ]);
    }
  });

  it('does not flood the log when a participant answers every other call', () => {
    const { failures, lines, pass } = watched();
    for (let call = 0; call < 1_000; call += 1) {
      failures.ended(ended({}));
      failures.ended(ended({ kind: 'success', detail: '' }));
      pass(50);
    }
    expect(lines).toHaveLength(2);
  });

  it('bounds its lines and its memory over all participants', () => {
    const { failures, lines } = watched();
    for (let host = 0; host < 5_000; host += 1) failures.ended(ended({}, `http://h${host}/`));
    expect(lines).toHaveLength(60);
    // The first one is forgotten: nobody is told that it answers again.
    failures.ended(ended({ kind: 'success', detail: '' }, 'http://h0/'));
    expect(lines).toHaveLength(60);
  });

  it('logs no word of a participant, no payload, no header, no query, no user information', () => {
    const { failures, lines, pass } = watched();
    const answers = [
      { detail: SECRET, status: '500' },
      { detail: SECRET },
      { detail: `UNAVAILABLE: ${SECRET}`, status: 'UNAVAILABLE' },
    ];
    for (const answer of answers) {
      failures.ended(ended(answer, `http://me:${SECRET}@bank/out?card=${SECRET}#${SECRET}`));
      pass(60_000);
    }
    expect(lines).toHaveLength(3);
    expect(JSON.stringify(lines)).not.toContain(SECRET);
  });
});

describe('the reason of a failure in words', () => {
  const of = (detail: string, status?: string): string =>
    failureReason({
      kind: 'unknown',
      detail,
      durationMs: 0,
      ...(status === undefined ? {} : { status }),
    });

  it('names what the network said', () => {
    expect(of('connect ECONNREFUSED 127.0.0.1:1')).toBe('connection refused');
    expect(of('UNAVAILABLE: No connection: connect ECONNREFUSED ::1:1')).toBe('connection refused');
    expect(of('getaddrinfo ENOTFOUND bank')).toBe('host name not found');
    expect(of('Connect Timeout Error (attempted address: x:1)')).toBe('connecting timed out');
    expect(of('other side closed')).toBe('connection closed by the other side');
    expect(of('timeout after 3000 ms while connecting')).toBe(
      'timeout after 3000 ms while connecting',
    );
    expect(of('something new')).toBe('the call broke off');
  });

  it('names the status of an answer that says nothing', () => {
    for (const status of ['201', '202', '204']) {
      expect(of('', status)).toBe(`status ${status}, where only 200 is success`);
    }
    expect(of('', '302')).toBe('status 302: a redirect without an address');
    expect(of('stopped after 10 redirects', '307')).toBe('status 307: stopped after 10 redirects');
    expect(of('oops', '500')).toBe('status 500');
    expect(of('UNIMPLEMENTED: no such method', 'UNIMPLEMENTED')).toBe('status UNIMPLEMENTED');
  });

  it('shows of an address what does not identify a customer, bounded', () => {
    expect(shownAddress('bank:9000/pkg.Service/Out')).toBe('bank:9000/pkg.Service/Out');
    expect(shownAddress('http://u:p@bank/out?x=@')).toBe('http://bank/out');
    expect(shownAddress(`http://bank/${'a'.repeat(10_000)}`).length).toBeLessThan(300);
  });
});
