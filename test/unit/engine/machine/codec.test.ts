// What is written to the log and the state reads back equal, and unknown formats stop the node.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type BranchResult,
  type Command,
  decodeCommand,
  decodeTransaction,
  encodeCommand,
  FormatError,
  type Transaction,
} from '../../../../src/engine/machine/index.ts';
import { encodeDefinition, encodeState } from '../../../../src/engine/machine/record-codec.ts';
import { createPatterns } from '../../../../src/engine/patterns/index.ts';
import { DEFAULTS, START_MS, sagaInput } from './fixtures.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 80 });
const whole = fc.nat();
const timeMs = fc.integer({ min: 0, max: 2 ** 45 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const payload = fc.uint8Array({ maxLength: 40 }).map((bytes) => new Uint8Array(bytes));
const headers = fc.dictionary(fc.constantFrom('a', 'x-b', '__proto__', 'constructor', '7'), text, {
  noNullPrototype: true,
});
const status = fc.constantFrom('prepared', 'submitted', 'aborting', 'succeed', 'failed');

const input = fc.record({
  gid: text,
  type: fc.constantFrom('saga', 'tcc', 'xa', 'msg', 'workflow', 'nonsense' as 'saga'),
  steps: maybe(fc.array(fc.record({ action: text, compensate: text }), { maxLength: 4 })),
  payloads: maybe(fc.array(payload, { maxLength: 4 })),
  queryPrepared: maybe(text),
  protocol: maybe(fc.constantFrom('http', 'grpc', 'json-rpc')),
  customData: maybe(text),
  rollbackReason: maybe(text),
  options: fc.record(
    {
      waitResult: fc.boolean(),
      timeoutToFailS: fc.integer(),
      requestTimeoutS: whole,
      retryIntervalS: whole,
      retryLimit: whole,
      retryCount: whole,
      branchHeaders: headers,
      concurrent: fc.boolean(),
    },
    { requiredKeys: [] },
  ),
});

const result: fc.Arbitrary<BranchResult> = fc.record({
  row: whole,
  attempt: whole,
  term: whole,
  atMs: timeMs,
  durationMs: whole,
  outcome: fc.constantFrom('success', 'failure', 'ongoing', 'unknown'),
  detail: text,
  retryAtMs: maybe(timeMs),
  intervalMs: whole,
});

const decision = fc.oneof(
  fc.record({ to: fc.constant('aborting' as const), reason: text, compensate: fc.array(whole) }),
  fc.record({ to: fc.constantFrom('succeed' as const, 'submitted' as const) }),
  fc.record({ to: fc.constant('failed' as const), reason: text }),
);

const request = fc.oneof(
  fc.record({
    kind: fc.constantFrom('prepare' as const, 'submit' as const),
    transaction: input,
    defaults: fc.constant(DEFAULTS),
  }),
  fc.record({ kind: fc.constant('abort' as const), gid: text, type: text, rollbackReason: text }),
  fc.record({
    kind: fc.constant('forceStop' as const),
    gid: text,
    by: text,
    reason: text,
    strict: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('registerBranch' as const),
    gid: text,
    branchId: text,
    registration: fc.oneof(
      fc.record({ kind: fc.constant('tcc' as const), confirm: text, cancel: text }),
      fc.record({ kind: fc.constant('xa' as const), url: text }),
      fc.record({ kind: fc.constant('workflow' as const), op: text, status: text }),
    ),
    payload: fc.uint8Array({ maxLength: 5 }),
  }),
  fc.record({
    kind: fc.constant('resetNextCronTime' as const),
    gids: fc.array(text),
    mustExist: fc.boolean(),
  }),
);

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constant('openSession' as const), nodeId: whole, incarnation: whole }),
  fc.record({
    kind: fc.constant('operation' as const),
    opId: fc.record({ nodeId: whole, incarnation: whole, seq: fc.maxSafeNat() }),
    lowestOpenSeq: fc.maxSafeNat(),
    request,
  }),
  fc.record({
    kind: fc.constant('advance' as const),
    gid: text,
    expectStatus: status,
    results: fc.array(result, { maxLength: 3 }),
    decision: maybe(decision),
    retries: whole,
  }) as fc.Arbitrary<Command>,
  fc.record({ kind: fc.constant('purge' as const), gids: fc.array(text) }),
  fc.record({
    kind: fc.constant('digest' as const),
    index: whole,
    digest: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  }),
);

/** Buffers and arrays of bytes compare equal; undefined members are absent. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, member: unknown) => {
      if (typeof member === 'bigint') return `${member}n`;
      if (member instanceof Uint8Array) return [...member];
      if (member instanceof Map) return [...member];
      const isBuffer = typeof member === 'object' && member !== null && 'data' in member;
      return isBuffer ? member.data : member;
    }),
  );
}

describe('commands', () => {
  test('read back as they were written', () => {
    fc.assert(
      fc.property(command, (given) => {
        expect(plain(decodeCommand(encodeCommand(given)))).toEqual(plain(given));
      }),
    );
  });

  test('equal commands have equal bytes', () => {
    fc.assert(
      fc.property(command, (given) => {
        const once = encodeCommand(given);
        expect(encodeCommand(decodeCommand(once))).toEqual(once);
      }),
    );
  });

  test('header names of any kind stay names', () => {
    const options = { branchHeaders: Object.fromEntries([['__proto__', 'x']]) };
    const transaction = sagaInput('g', 1, { options });
    const read = decodeCommand(
      encodeCommand({
        kind: 'operation',
        opId: { nodeId: 1, incarnation: 1, seq: 1 },
        lowestOpenSeq: 1,
        request: { kind: 'submit', transaction, defaults: DEFAULTS },
      }),
    );
    expect(JSON.stringify(read)).toContain('"__proto__":"x"');
  });

  test('an unknown version or kind, or bytes that are none, stop the node', () => {
    const good = encodeCommand({ kind: 'purge', gids: [] });
    const codes = [
      new Uint8Array([9, ...good.subarray(1)]),
      new Uint8Array([1, 0x91, 99]),
      new Uint8Array([1, 0x05]),
      new Uint8Array([1, 0xdc]),
      new Uint8Array([1, 0x91, 1]),
      new Uint8Array([]),
    ].map((bytes) => {
      try {
        return decodeCommand(bytes).kind;
      } catch (error) {
        return error instanceof FormatError ? error.code : error;
      }
    });
    expect(codes).toEqual([
      'UNKNOWN_FORMAT',
      'UNKNOWN_FORMAT',
      'DAMAGED_VALUE',
      'DAMAGED_VALUE',
      'DAMAGED_VALUE',
      'UNKNOWN_FORMAT',
    ]);
  });
});

describe('records', () => {
  const saga = createPatterns().saga;
  const attempt = fc.record({
    attempt: whole,
    term: whole,
    atMs: timeMs,
    durationMs: whole,
    outcome: fc.constantFrom('success' as const, 'failure' as const, 'ongoing' as const),
    detail: text,
    retryAtMs: maybe(timeMs),
  });
  const progress = fc.record({
    status: fc.constantFrom('prepared' as const, 'succeed' as const, 'failed' as const),
    createTimeMs: timeMs,
    updateTimeMs: timeMs,
    finishTimeMs: maybe(timeMs),
    wanted: fc.boolean(),
    retryAtMs: maybe(timeMs),
    intervalMs: whole,
    attemptCount: whole,
    ongoingCount: whole,
    unknownCount: whole,
    firstAttempts: fc.array(attempt, { maxLength: 2 }),
    lastAttempts: fc.array(attempt, { maxLength: 5 }),
  });
  const state = fc.record({
    gid: fc.constant('g'),
    type: fc.constant('saga' as const),
    status,
    createTimeMs: timeMs,
    updateTimeMs: timeMs,
    finishTimeMs: maybe(timeMs),
    rollbackTimeMs: maybe(timeMs),
    rollbackReason: text,
    acceptedTerm: whole,
    retryCount: whole,
    dueMs: maybe(timeMs),
    intervalMs: whole,
    result: fc.oneof(fc.constant(''), text),
    forced: maybe(fc.record({ by: text, reason: text })),
    branches: fc.array(progress, { maxLength: 4 }),
  }) as fc.Arbitrary<Transaction['state']>;

  test('a definition reads back as it was written', () => {
    fc.assert(
      fc.property(input, fc.boolean(), (given, submitted) => {
        const steps = given.steps ?? [];
        const payloads = steps.map((_, at) => new Uint8Array([at]));
        const customData = steps.length > 1 ? '{"concurrent":true,"orders":{"1":[0]}}' : '';
        const made = saga?.create(
          { ...given, type: 'saga', steps, payloads, customData },
          DEFAULTS,
          {
            timeMs: START_MS,
            term: 3,
            submitted,
          },
        );
        if (made === undefined) throw new Error('there is no saga pattern');
        const read = decodeTransaction(encodeDefinition(made.definition), encodeState(made.state));
        expect(plain(read)).toEqual(plain(made));
      }),
    );
  });

  test('a state reads back as it was written', () => {
    const made = saga?.create(sagaInput('g', 1), DEFAULTS, {
      timeMs: START_MS,
      term: 3,
      submitted: true,
    });
    if (made === undefined) throw new Error('there is no saga pattern');
    const definition = encodeDefinition(made.definition);
    fc.assert(
      fc.property(state, (given) => {
        expect(decodeTransaction(definition, encodeState(given)).state).toEqual(given);
      }),
    );
  });

  test('a state without a result has the bytes that version 0.1.0 wrote for it', () => {
    const made = saga?.create(sagaInput('g', 1), DEFAULTS, {
      timeMs: START_MS,
      term: 3,
      submitted: true,
    });
    if (made === undefined) throw new Error('there is no saga pattern');
    const without = encodeState(made.state);
    // Version byte, then an array of the twelve fields that 0.1.0 knows.
    expect([...without.subarray(0, 2)]).toEqual([1, 0x9c]);
    const read = decodeTransaction(encodeDefinition(made.definition), without);
    expect(read.state.result).toBe('');
    expect([...encodeState({ ...made.state, result: 'b2s=' }).subarray(0, 2)]).toEqual([1, 0x9d]);
  });

  test('the state of a two-step saga that has not started takes less than 50 bytes', () => {
    const made = saga?.create(sagaInput('g', 2), DEFAULTS, {
      timeMs: START_MS,
      term: 3,
      submitted: true,
    });
    if (made === undefined) throw new Error('there is no saga pattern');
    expect(encodeState(made.state).length).toBeLessThan(50);
  });
});
