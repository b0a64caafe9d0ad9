// What every protocol hands in, where HTTP's own tests do not reach: what only gRPC gives, and what a
// workflow's client is shown.

import { describe, expect, it } from 'vitest';
import {
  type GivenOptions,
  type GivenTransaction,
  givenStepsOfText,
  registrationInput,
  TransactionInputs,
  workflowProgresses,
} from '../../../../src/server/requests/index.ts';
import { transaction } from '../fakes.ts';

const NO_OPTIONS: GivenOptions = {
  waitResult: false,
  concurrent: false,
  timeoutToFailS: undefined,
  requestTimeoutS: undefined,
  retryIntervalS: undefined,
  retryLimit: undefined,
  retryCount: undefined,
  branchHeaders: new Map(),
};
const GIVEN: GivenTransaction = {
  gid: 'g1',
  type: 'saga',
  steps: [{ action: 'a:1/p.S/M', compensate: '', data: '' }],
  payloads: [Uint8Array.of(0, 255)],
  queryPrepared: '',
  protocol: 'grpc',
  customData: '',
  rollbackReason: '',
  options: NO_OPTIONS,
  requestExtra: new Map(),
};
const inputs = new TransactionInputs({ stepsMax: 3, transactionBytesMax: 1_000 });

describe('a transaction as gRPC gives it', () => {
  it('3.4: payloads pass as they are, bytes and all', () => {
    expect(inputs.transaction(GIVEN)).toMatchObject({
      protocol: 'grpc',
      payloads: [Uint8Array.of(0, 255)],
      steps: [{ action: 'a:1/p.S/M', compensate: '' }],
      options: {},
    });
  });

  it('integers out of range are refused by their name', () => {
    for (const value of [-1, 1.5, Number.NaN, 2 ** 60, '5', null]) {
      const options = { ...NO_OPTIONS, timeoutToFailS: value };
      expect(() => inputs.transaction({ ...GIVEN, options })).toThrow(/^timeout_to_fail must be/);
    }
    const options = { ...NO_OPTIONS, timeoutToFailS: 60, retryLimit: 0 };
    expect(inputs.transaction({ ...GIVEN, options }).options).toEqual({ timeoutToFailS: 60 });
  });

  it.each([
    '[::1/p.S/M',
    '%00:1/p.S/M',
    '-:1/p.S/M',
    'a:99999/p.S/M',
    'unix:/p.S/M',
    'a:1/\u00fc/M',
    'a:1/p.S/ M',
    'a:1',
    'etcd:///p.S/M',
  ])('12.13: %s could never be dialled, and is refused before anything is recorded', (action) => {
    const steps = [{ action, compensate: '', data: '' }];
    expect(() => inputs.transaction({ ...GIVEN, steps })).toThrow(/^steps\[0\]\.action must be/);
    const texts = new Map([['url', action]]);
    const given = { gid: 'g', type: 'xa', branchId: '01', texts, payload: new Uint8Array() };
    expect(() => registrationInput(given, { transactionBytesMax: 1 })).toThrow(/^url must be/);
  });

  it.each(['a:1/p.S/M', 'a/p.S/M', '[::1]:8080/p.S/M', 'my_host-1.local:80/p.S/M', '1.2.3.4:5/M'])(
    '3.4: %s is taken',
    (action) => {
      const steps = [{ action, compensate: '', data: '' }];
      expect(inputs.transaction({ ...GIVEN, steps }).steps).toHaveLength(1);
    },
  );

  it('1.1: the gid is checked and not cleaned', () => {
    expect(inputs.transaction({ ...GIVEN, gid: 'a;b' }).gid).toBe('a;b');
    expect(() => inputs.named({ gid: '', type: 'tcc', rollbackReason: '' })).toThrow(/^gid must/);
  });
});

describe('Steps as text', () => {
  const limits = { depthMax: 10, valuesMax: 1_000 };

  it('3.2: the empty text and null both mean none', () => {
    for (const text of ['', 'null', '[]']) expect(givenStepsOfText(text, limits)).toEqual([]);
  });

  it('is the array of the HTTP body', () => {
    const text = '[{"action":"a:1/p.S/M","compensate":"a:1/p.S/U"},null,{"data":"x"}]';
    expect(givenStepsOfText(text, limits)).toEqual([
      { action: 'a:1/p.S/M', compensate: 'a:1/p.S/U', data: '' },
      { action: '', compensate: '', data: '' },
      { action: '', compensate: '', data: 'x' },
    ]);
  });

  it('anything else is refused', () => {
    for (const text of ['{', '{}', '"x"', '[1]', '[{"action":1}]', '['.repeat(2_000)]) {
      expect(() => givenStepsOfText(text, limits)).toThrow(
        expect.objectContaining({ code: 'INVALID_REQUEST' }),
      );
    }
  });
});

describe('a registration', () => {
  it('has a bound on its payload', () => {
    const given = { gid: 'g', type: 'xa', branchId: '01', texts: new Map<string, string>() };
    const limits = { transactionBytesMax: 3 };
    expect(registrationInput({ ...given, payload: Buffer.alloc(3) }, limits).registration).toEqual({
      kind: 'xa',
      url: '',
    });
    expect(() => registrationInput({ ...given, payload: Buffer.alloc(4) }, limits)).toThrow(
      'data must be at most 3 bytes, got 4',
    );
  });
});

describe('the progress of a workflow', () => {
  it('is what its client recorded: in order, with its bytes, without the callback', () => {
    const { definition, state } = transaction();
    const [first] = state.branches;
    if (first === undefined) throw new Error('no row');
    const workflow = {
      definition: {
        ...definition,
        payloads: [Uint8Array.of(0, 255)],
        branches: [
          { branchId: '00', op: 'callback', url: 'u', payload: undefined },
          { branchId: '01', op: 'action', url: '', payload: 0 },
          { branchId: '01', op: 'rollback', url: '', payload: undefined },
        ] as const,
      },
      state: { ...state, branches: [first, { ...first, status: 'succeed' as const }, first] },
    };
    expect(workflowProgresses(workflow)).toEqual([
      { branchId: '01', op: 'action', status: 'succeed', data: Uint8Array.of(0, 255) },
      { branchId: '01', op: 'rollback', status: 'prepared', data: new Uint8Array() },
    ]);
  });
});
