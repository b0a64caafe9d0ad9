// The pure and the timed parts: URLs, the transport rule, the deadline wheel, the circuit.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CallUrlCache,
  escapeQuery,
  parseCallUrl,
} from '../../../../src/engine/participants/call-url.ts';
import { Circuit } from '../../../../src/engine/participants/circuit.ts';
import { Deadlines } from '../../../../src/engine/participants/deadlines.ts';
import {
  type CallOutcome,
  type ParticipantCaller,
  ProtocolCaller,
  transportOf,
} from '../../../../src/engine/participants/index.ts';
import { ManualClock } from '../../../helpers/scheduler-clock.ts';
import { branchCall, callOnce } from '../../../helpers/scheduler-http.ts';

describe('the transport rule (dtm reference §4.1)', () => {
  it.each([
    ['http', 'http://a/b', 'http'],
    ['http', 'a/b', 'http'],
    ['grpc', 'https://a/b', 'http'],
    ['grpc', 'a:80/busi.Busi/In', 'grpc'],
    ['json-rpc', 'http://a/b?method=in', 'json-rpc'],
    ['json-rpc', 'http://a/b', 'http'],
    ['json-rpc', 'a/b', 'grpc'],
  ] as const)('%s and %s is %s', (protocol, url, transport) => {
    expect(transportOf(protocol, url)).toBe(transport);
  });

  it('hands the call to the transport', async () => {
    const outcome: CallOutcome = { kind: 'success', detail: '', durationMs: 1 };
    const http: ParticipantCaller = {
      call: (_call, _mayWrite, done) => done(outcome),
      targets: () => [],
      close: async () => undefined,
    };
    const other: ParticipantCaller = {
      ...http,
      call: () => {
        throw new Error('another transport was asked');
      },
    };
    const caller = new ProtocolCaller({ http, grpc: other, 'json-rpc': other });
    expect(await callOnce(caller, branchCall('http://a'))).toBe(outcome);
    // 3.4: a transaction of gRPC may mix in URLs of HTTP.
    expect(await callOnce(caller, branchCall('http://a', { protocol: 'grpc' }))).toBe(outcome);
  });
});

describe('branch URLs', () => {
  it('inside a container, the first loopback names mean its host', () => {
    const parsed = parseCallUrl('http://localhost:80/127.0.0.1/localhost', true);
    expect(parsed).toMatchObject({
      origin: 'http://host.docker.internal',
      prefix: '/host.docker.internal/localhost?',
    });
  });

  it('are remembered up to a bound', () => {
    const cache = new CallUrlCache(2, false);
    const first = cache.get('http://a/1');
    expect(cache.get('http://a/1')).toBe(first);
    cache.get('http://a/2');
    cache.get('http://a/3');
    expect(cache.size).toBe(2);
  });

  it('query values survive escaping, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const escaped = escapeQuery(text);
        expect(new URLSearchParams(`a=${escaped}`).get('a')).toBe(text);
        expect(escaped).toMatch(/^[A-Za-z0-9_.~+%-]*$/);
      }),
    );
    expect(escapeQuery('\ud800')).toBe('%EF%BF%BD');
  });
});

describe('deadlines', () => {
  it('are never early, at most one slot late, and share one timer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            afterMs: fc.integer({ min: 0, max: 400 }),
            delayMs: fc.integer({ min: 0, max: 30_000 }),
            removed: fc.boolean(),
          }),
          { maxLength: 40 },
        ),
        async (plan) => {
          const clock = new ManualClock(12_345.5);
          const deadlines = new Deadlines(clock);
          const late: number[] = [];
          let expected = 0;
          for (const { afterMs, delayMs, removed } of plan) {
            await clock.advance(afterMs);
            const atMs = clock.nowMs + delayMs;
            const deadline = deadlines.add(delayMs, () => late.push(clock.nowMs - atMs));
            if (removed) {
              deadlines.remove(deadline);
            } else {
              expected += 1;
            }
            expect(clock.timerCount).toBeLessThanOrEqual(1);
          }
          await clock.advance(31_000);
          expect(late).toHaveLength(expected);
          expect(Math.min(...late, 0)).toBeGreaterThanOrEqual(0);
          expect(Math.max(...late, 0)).toBeLessThanOrEqual(10);
          expect(deadlines.size).toBe(0);
          expect(clock.timerCount).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('a circuit', () => {
  const limits = { circuitFailuresMax: 3, circuitDelayMsMin: 100, circuitDelayMsMax: 1000 };

  it('opens at the limit, and a success in between starts the count anew', () => {
    const circuit = new Circuit(limits);
    circuit.failedToConnect(0, false, 0);
    circuit.failedToConnect(0, false, 0);
    circuit.reached();
    circuit.failedToConnect(0, false, 0);
    circuit.failedToConnect(0, false, 0);
    expect(circuit.kind).toBe('closed');
    expect(circuit.failedToConnect(0, false, 0)).toBe(true);
    expect(circuit.kind).toBe('open');
  });

  it('lets one probe through, and doubles the jittered delay up to the cap', () => {
    const circuit = new Circuit({ ...limits, circuitFailuresMax: 1 });
    let nowMs = 0;
    circuit.failedToConnect(nowMs, false, 1);
    const waits: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      const waitMs = circuit.waitMs(nowMs);
      waits.push(waitMs);
      nowMs += waitMs;
      expect(circuit.sending()).toBe(true);
      expect(circuit.waitMs(nowMs)).toBeGreaterThan(0);
      expect(circuit.sending()).toBe(false);
      circuit.failedToConnect(nowMs, true, 1);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  it('waits at least half of the delay, whatever the jitter', () => {
    const circuit = new Circuit({ ...limits, circuitFailuresMax: 1 });
    circuit.failedToConnect(0, false, 0);
    expect(circuit.waitMs(0)).toBe(50);
  });

  it('probes again when a probe was given up', () => {
    const circuit = new Circuit({ ...limits, circuitFailuresMax: 1 });
    circuit.failedToConnect(0, false, 0);
    circuit.sending();
    circuit.probeGivenUp(60);
    expect(circuit.waitMs(60)).toBe(0);
    expect(circuit.sending()).toBe(true);
    circuit.reached();
    expect(circuit.kind).toBe('closed');
  });
});
