// The order of a saga's calls, forward and back; timeouts and retry limits (dtm reference §5.5, §5.7).

import { describe, expect, it } from 'vitest';
import { failureText, freshGid, type StepView, SUCCESS_TEXT, saga } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { ERROR, FAILURE, gate, ONGOING, type ScriptedAnswer } from './lib/participant.ts';

const on = threeNodes();
const QUICK = { retry_interval: 1 };

/** Steps a1/c1, a2/c2, …; `scripts` gives answers to some of these names. */
function steps(
  gid: string,
  count: number,
  scripts: Readonly<Record<string, readonly ScriptedAnswer[]>> = {},
): StepView[] {
  const url = (name: string) => on.participant.on(`${gid}/${name}`, ...(scripts[name] ?? []));
  return Array.from({ length: count }, (_, step) => ({
    action: url(`a${step + 1}`),
    compensate: url(`c${step + 1}`),
  }));
}
const order = (gid: string) => on.participant.order(`${gid}/`).map((name) => name.split('/')[1]);
const custom = (value: object) => ({ custom_data: JSON.stringify(value) });

describe.concurrent('sequential sagas', () => {
  it('5.7.2, 5.7.3: steps run one after the other, in order, and no compensation is called', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 4), { wait_result: true });
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    expect(order(gid)).toEqual(['a1', 'a2', 'a3', 'a4']);
  });

  it('5.7.5, 5.7.9, 11.11: the failed step itself is compensated too, in reverse order', async () => {
    const gid = freshGid();
    await on.client.post('submit', saga(gid, steps(gid, 4, { a3: [FAILURE] })));
    await on.client.ended(gid, 'failed');
    expect(order(gid)).toEqual(['a1', 'a2', 'a3', 'c3', 'c2', 'c1']);
    expect(await on.client.branches(gid)).toEqual([
      'succeed',
      'succeed',
      'succeed',
      'succeed',
      'succeed',
      'failed',
      'prepared',
      'prepared',
    ]);
  });

  it('5.7.9: when step 1 fails, step 2 is neither called nor compensated', async () => {
    const gid = freshGid();
    await on.client.post('submit', saga(gid, steps(gid, 2, { a1: [FAILURE] })));
    await on.client.ended(gid, 'failed');
    expect(order(gid)).toEqual(['a1', 'c1']);
    expect(await on.client.branches(gid)).toEqual(['succeed', 'failed', 'prepared', 'prepared']);
  });

  it('P2: a compensation that errs is waited for before the one before it', async () => {
    const gid = freshGid();
    const script = { a2: [FAILURE], c2: [ERROR, {}] };
    await on.client.post('submit', saga(gid, steps(gid, 2, script), QUICK));
    await on.client.ended(gid, 'failed');
    expect(order(gid)).toEqual(['a1', 'a2', 'c2', 'c2', 'c1']);
  });

  it('11.10: the top-level concurrent means nothing for a saga', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const body = saga(gid, steps(gid, 2, { a1: [{ after: opened }] }), { concurrent: true });
    await on.client.post('submit', body);
    await on.participant.called(`${gid}/a1`);
    expect(order(gid)).toEqual(['a1']);
    open();
    await on.client.ended(gid, 'succeed');
    expect(order(gid)).toEqual(['a1', 'a2']);
    expect((await on.client.transaction(gid))['concurrent']).toBe(true);
  });

  it('5.7.8: orders are honoured in sequential mode as well', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 3), { ...custom({ orders: { 2: [0, 1] } }) });
    await on.client.post('submit', body);
    await on.client.ended(gid, 'succeed');
    expect(order(gid)).toEqual(['a1', 'a2', 'a3']);
  });
});

describe.concurrent('concurrent sagas', () => {
  it('5.7.2: without orders all actions are under way at once', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const held = [{ after: opened }];
    const script = { a1: held, a2: held, a3: held };
    await on.client.post('submit', saga(gid, steps(gid, 3, script), custom({ concurrent: true })));
    await Promise.all(['a1', 'a2', 'a3'].map((name) => on.participant.called(`${gid}/${name}`)));
    open();
    await on.client.ended(gid, 'succeed');
    expect(order(gid).sort()).toEqual(['a1', 'a2', 'a3']);
  });

  it('5.7.6, 5.7.8: orders hold steps back forward, and their predecessors on the way back', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const script = { a1: [{ after: opened }], a4: [FAILURE] };
    const more = custom({ concurrent: true, orders: { 2: [0, 1], 3: [2] } });
    await on.client.post('submit', saga(gid, steps(gid, 4, script), more));
    await on.participant.called(`${gid}/a1`);
    await on.participant.called(`${gid}/a2`);
    expect(order(gid).sort()).toEqual(['a1', 'a2']);
    open();
    await on.client.ended(gid, 'failed');
    expect(order(gid).slice(2, 6)).toEqual(['a3', 'a4', 'c4', 'c3']);
    expect(order(gid).slice(6).sort()).toEqual(['c1', 'c2']);
  });

  it('5.7.5: all that may have run is compensated, steps never runnable are not', async () => {
    const gid = freshGid();
    const script = { a1: [FAILURE], a2: [ERROR] };
    const more = { ...QUICK, ...custom({ concurrent: true, orders: { 2: [0] } }) };
    await on.client.post('submit', saga(gid, steps(gid, 3, script), more));
    await on.client.ended(gid, 'failed');
    expect(
      order(gid)
        .filter((name) => name?.startsWith('c'))
        .sort(),
    ).toEqual(['c1', 'c2']);
    expect(on.participant.callsOf(`${gid}/a3`)).toEqual([]);
  });

  it('defect 12.20: a late answer of an action does not take its compensation away', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const script = { a1: [{ ...ERROR, after: opened }], a2: [FAILURE] };
    const more = { ...QUICK, request_timeout: 20, ...custom({ concurrent: true }) };
    await on.client.post('submit', saga(gid, steps(gid, 2, script), more));
    await on.participant.called(`${gid}/a1`);
    await on.client.ended(gid, 'aborting');
    open();
    await on.client.ended(gid, 'failed');
    expect(on.participant.callsOf(`${gid}/c1`)).toHaveLength(1);
    expect(on.participant.callsOf(`${gid}/c2`)).toHaveLength(1);
  });
});

describe.concurrent('timeouts', () => {
  it('5.5.4, 5.5.6, 5.7.1, 5.12.4, defect 12.14: timeout_to_fail aborts with its reason, in about that time', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 2, { a1: [ONGOING] }), { ...QUICK, timeout_to_fail: 3 });
    const started = performance.now();
    await on.client.post('submit', body);
    const { rollback_reason } = await on.client.ended(gid, 'failed');
    const seconds = (performance.now() - started) / 1000;
    expect(rollback_reason).toBe('Timeout after 3 seconds');
    expect(seconds).toBeGreaterThan(2.8);
    expect(seconds).toBeLessThan(5);
    expect(await on.client.branches(gid)).toEqual(['succeed', 'prepared', 'prepared', 'prepared']);
    expect(order(gid)).not.toContain('a2');
    expect(order(gid).at(-1)).toBe('c1');
  });

  it('5.4.5: a wait that ends by the timeout answers 409 with its reason', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 1, { a1: [{ hang: true }, {}] }), {
      timeout_to_fail: 1,
      request_timeout: 2,
      wait_result: true,
    });
    const reply = await on.client.post('submit', body);
    expect([reply.status, reply.text]).toEqual([
      409,
      failureText('Timeout after 1 seconds FAILURE'),
    ]);
    await on.client.ended(gid, 'failed');
  });

  it('5.5.4: the age counts from the prepare', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 1, { a1: [ONGOING] }), { ...QUICK, timeout_to_fail: 2 });
    await on.client.post('prepare', body);
    await expect
      .poll(() => Promise.resolve(performance.now()), { timeout: 5_000 })
      .toBeGreaterThan(performance.now() + 2_100);
    expect((await on.client.transaction(gid)).status).toBe('prepared');
    await on.client.post('submit', { gid, trans_type: 'saga' });
    const { rollback_reason } = await on.client.ended(gid, 'failed', 2_000);
    expect(rollback_reason).toBe('Timeout after 2 seconds');
  });

  it('5.5.4: an aborting saga never times out', async () => {
    const gid = freshGid();
    const script = { a1: [FAILURE], c1: [ERROR, ERROR, {}] };
    const body = saga(gid, steps(gid, 1, script), { ...QUICK, timeout_to_fail: 1 });
    await on.client.post('submit', body);
    const { rollback_reason } = await on.client.ended(gid, 'failed');
    expect(rollback_reason).toContain('return failed: ');
  });
});

describe.concurrent('retry_limit', () => {
  it('5.7.13, 5.12.5, 11.16, defect 12.17: L allows L + 1 calls, then the saga is rolled back', async () => {
    for (const [limit, answer] of [
      [1, ERROR],
      [2, ONGOING],
      [3, { status: 201 }],
    ] as const) {
      const gid = freshGid();
      const body = saga(gid, steps(gid, 2, { a2: [answer] }), { retry_limit: limit });
      const started = performance.now();
      await on.client.post('submit', body);
      const { rollback_reason } = await on.client.ended(gid, 'failed');
      expect(rollback_reason).toBe(`RetryCount is greater than RetryLimit, RetryLimit: ${limit}`);
      expect(on.participant.callsOf(`${gid}/a2`)).toHaveLength(limit + 1);
      expect(await on.client.branches(gid)).toEqual(['succeed', 'succeed', 'succeed', 'prepared']);
      expect(performance.now() - started).toBeLessThan(5_000);
    }
  });

  it('5.4.5, 5.7.13: retry_count is where the count starts; wait_result tells the reason', async () => {
    const gid = freshGid();
    const body = saga(gid, steps(gid, 1, { a1: [ERROR] }), {
      retry_limit: 3,
      retry_count: 2,
      wait_result: true,
    });
    expect((await on.client.post('submit', body)).text).toBe(
      failureText('RetryCount is greater than RetryLimit, RetryLimit: 3 FAILURE'),
    );
    expect(on.participant.callsOf(`${gid}/a1`)).toHaveLength(2);
  });

  it('5.7.13: what succeeds within the limit goes on, and compensations do not count', async () => {
    const gid = freshGid();
    const script = { a1: [ERROR, {}], a2: [FAILURE], c2: [ERROR, ERROR, {}] };
    await on.client.post('submit', saga(gid, steps(gid, 2, script), { ...QUICK, retry_limit: 1 }));
    const { rollback_reason } = await on.client.ended(gid, 'failed');
    expect(rollback_reason).toContain('return failed: ');
    expect(order(gid)).toEqual(['a1', 'a1', 'a2', 'c2', 'c2', 'c2', 'c1']);
  });
});
