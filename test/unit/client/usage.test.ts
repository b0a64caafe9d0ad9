// What plain JavaScript may give by mistake, and what is said when nobody answers.

import { afterEach, describe, expect, it } from 'vitest';
import { DtmClient, RefusedError, UsageError } from '../../../src/client/index.ts';
import { deadUrl, startServer, stopServers } from './lib/fake-dtm.ts';

afterEach(stopServers);

/** As a program without types calls it. */
type Untyped = (...given: readonly unknown[]) => unknown;

const endpoints = ['http://127.0.0.1:1'];
const client = new DtmClient({ endpoints });
const make = (...given: readonly unknown[]): unknown =>
  Reflect.construct(DtmClient, given as unknown[]);
const saga: Untyped = (options) => client.saga(options as never);
const add: Untyped = (step) => client.saga().add(step as never);
const send: Untyped = (step) => client.msg().add(step as never);

const MISUSES: readonly (readonly [string, () => unknown, string])[] = [
  ['no options', () => make(), 'the options of DtmClient must be an object, got undefined'],
  [
    'endpoints as text',
    () => make({ endpoints: 'http://x' }),
    `endpoints must be a list of at least one, such as ['http://127.0.0.1:36789'], got "http://x"`,
  ],
  ['no endpoints', () => make({ endpoints: [] }), 'endpoints must be a list of at least one'],
  ['an endpoint of numbers', () => make({ endpoints: [5] }), 'endpoints[0] must be text, got 5'],
  [
    'another protocol',
    () => make({ endpoints, protocol: 'soap' }),
    'protocol must be http or grpc, got "soap"',
  ],
  [
    'a timeout that is none',
    () => make({ endpoints, totalTimeoutMs: -1 }),
    'totalTimeoutMs must be a number of milliseconds above 0, got -1',
  ],
  [
    'NaN as a timeout',
    () => make({ endpoints, branchTimeoutMs: Number.NaN }),
    'branchTimeoutMs must be a number of milliseconds above 0, got NaN',
  ],
  [
    'a time before the start',
    () => saga({ timeoutToFailSeconds: -1 }),
    'timeoutToFailSeconds must be a whole number from 0 on, got -1',
  ],
  ['half a second', () => saga({ retryIntervalSeconds: 0.5 }), 'retryIntervalSeconds must be'],
  ['a limit in text', () => saga({ retryLimit: '3' }), 'retryLimit must be a whole number from 0'],
  ['yes', () => saga({ waitResult: 'yes' }), 'waitResult must be true or false, got "yes"'],
  [
    'a number as header',
    () => saga({ branchHeaders: { a: 1 } }),
    'branchHeaders.a must be text, got 1',
  ],
  ['a protocol of branches', () => saga({ branchProtocol: 'x' }), 'branchProtocol must be http or'],
  ['a number as gid', () => saga({ gid: 5 }), 'gid must be text that is not empty, got 5'],
  ['null as options', () => saga(null), 'the options of a transaction must be an object, got null'],
  [
    'a misspelt action',
    () => add({ acton: 'x' }),
    "action must be a URL, or '' for nothing to call, got undefined",
  ],
  ['no step', () => add(), 'a step of a saga must be an object, got undefined'],
  [
    'a number to undo',
    () => add({ action: 'http://a', compensate: 1 }),
    'compensate must be a URL',
  ],
  ['a message to nowhere', () => send({}), "action must be a URL, or '' for nothing to call"],
];

describe('misuse is told at once, before anything is sent', () => {
  it.each(MISUSES)('%s', (_what, run, message) => {
    let thrown: unknown;
    try {
      run();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(UsageError);
    expect(thrown).toMatchObject({ code: 'USAGE', outcome: 'none' });
    expect((thrown as UsageError).message).toContain(message);
  });

  it('a branch of TCC or XA without its URLs is neither registered nor called', async () => {
    const dtm = await startServer();
    const on = new DtmClient({ endpoints: [dtm.url] });
    const tcc = on.tcc((transaction) => transaction.callBranch({} as never));
    await expect(tcc).rejects.toThrow("try must be a URL, or '' for nothing to call");
    const xa = on.xa((transaction) => transaction.callBranch({} as never));
    await expect(xa).rejects.toThrow("url must be a URL, or '' for nothing to call");
    expect(dtm.routes).toEqual(['prepare', 'abort', 'prepare', 'abort']);
  });

  it('an empty action is a step without a call, where it is written', () => {
    expect(() => client.saga().add({ action: '' })).not.toThrow();
  });
});

describe('when nobody answers', () => {
  const QUICK = { attemptTimeoutMs: 200, totalTimeoutMs: 400, pauseMs: 5, pauseMsMax: 10 };

  it('the error has the last answer of every endpoint, the time spent, and a cause', async () => {
    const text = 'no leader is known: asked again';
    const refusing = await startServer(() => ({
      status: 503,
      body: { code: 'NO_LEADER', message: text },
    }));
    const dead = await deadUrl();
    const on = new DtmClient({ endpoints: [refusing.url, dead], ...QUICK });
    const submit = on.saga().add({ action: 'http://a' }).submit();
    const error: unknown = await submit.catch((failed: unknown) => failed);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
    const { message, cause } = error as Error;
    expect(message).toMatch(
      /^no endpoint answered in \d+ attempts in \d+ ms \(totalTimeoutMs is 400\): /,
    );
    expect(message).toContain(`${refusing.url}/api/dtmsvr said 503: ${text}`);
    expect(message).toMatch(new RegExp(`POST ${dead}/api/dtmsvr/submit: .*ECONNREFUSED`));
    expect(cause).toBeInstanceOf(Error);
  });
});

describe('a refusal', () => {
  it('ends without the colon that its reserved word followed', () => {
    expect(new RefusedError('aborted by the service: FAILURE', 'none').message).toBe(
      'aborted by the service',
    );
  });
});
