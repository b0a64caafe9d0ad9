// A client whose answer was lost repeats its request on another node, and gets the answer that the
// first one would have got (P6; defects 12.1, 12.41). Compat: dtm's own answers.

import { describe, expect, it } from 'vitest';
import { failureText, freshGid, NO_CALLS, SUCCESS_TEXT, saga } from './lib/client.ts';
import { type Fixture, threeNodes } from './lib/fixture.ts';
import { ERROR, FAILURE, gate } from './lib/participant.ts';

const finishedText = (status: string) =>
  failureText(`current status '${status}', cannot sumbmit. FAILURE`);

function oneStep(on: Fixture, gid: string, more: object = {}) {
  const step = { action: on.participant.url(`${gid}/a`), compensate: '' };
  return saga(gid, [step], more);
}

describe('repeated submits', () => {
  const on = threeNodes();

  it('defect 12.1: while submitted, a repeat on any node is a success and calls nothing twice', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    on.participant.on(`${gid}/a`, { after: opened });
    const body = oneStep(on, gid, { request_timeout: 20 });
    for (let round = 0; round < 3; round += 1) {
      for (const reply of await on.client.postToAll('submit', body)) {
        expect([reply.status, reply.text]).toEqual([200, SUCCESS_TEXT]);
      }
    }
    await on.participant.called(`${gid}/a`);
    open();
    await on.client.ended(gid, 'succeed');
    expect(on.participant.callsOf(`${gid}/a`)).toHaveLength(1);
  });

  it('defect 12.1: a repeat does not run again what is done', async () => {
    const gid = freshGid();
    const first = on.participant.on(`${gid}/first`);
    const second = on.participant.on(`${gid}/second`, ERROR, {});
    const body = saga(gid, [{ action: first }, { action: second }], { retry_interval: 30 });
    await on.client.post('submit', body);
    await on.participant.called(`${gid}/second`);
    await expect
      .poll(async () => (await on.client.transaction(gid))['next_cron_interval'])
      .toBe(60);
    // The repeat also hurries the next attempt: dtm processes at once.
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    await on.client.ended(gid, 'succeed', 5_000);
    expect(on.participant.callsOf(`${gid}/first`)).toHaveLength(1);
  });

  it('P6, defect 12.41: after success a repeat with equal fields is a success on every node', async () => {
    const gid = freshGid();
    const body = oneStep(on, gid, {
      wait_result: true,
      timeout_to_fail: 60,
      branch_headers: { a: '1', b: '2' },
      custom_data: '{"concurrent":true}',
    });
    expect((await on.client.post('submit', body)).text).toBe(SUCCESS_TEXT);
    const repeats = [
      body,
      { ...body, wait_result: false },
      { ...body, branch_headers: { b: '2', a: '1' } },
      { ...body, protocol: 'http', retry_limit: 0, rollback_reason: '' },
      { gid, trans_type: 'saga' },
    ];
    for (const repeat of repeats) {
      for (const reply of await on.client.postToAll('submit', repeat)) {
        expect([reply.status, reply.text]).toEqual([200, SUCCESS_TEXT]);
      }
    }
    expect(on.participant.callsOf(`${gid}/a`)).toHaveLength(1);
  });

  it('P6: after success a repeat with other fields is 409, and changes nothing', async () => {
    const gid = freshGid();
    const body = oneStep(on, gid, { wait_result: true });
    await on.client.post('submit', body);
    const others = [
      { ...body, payloads: ['{"amount":2}'] },
      { ...body, steps: [{ ...NO_CALLS }] },
      { ...saga(gid, [...(body['steps'] as []), NO_CALLS]) },
      { ...body, timeout_to_fail: 7 },
      { ...body, retry_limit: 7 },
      { ...body, branch_headers: { a: '1' } },
      { ...body, custom_data: '{"concurrent":true}' },
    ];
    for (const other of others) {
      for (const reply of await on.client.postToAll('submit', other)) {
        expect([reply.status, reply.text]).toEqual([409, finishedText('succeed')]);
      }
    }
    expect(on.participant.callsOf(`${gid}/a`)).toHaveLength(1);
    expect(await on.client.transaction(gid)).toMatchObject({ payloads: ['{"amount":1}'] });
  });

  it('P6: while aborting and after failure a repeat is 409 with the stored reason', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    const action = on.participant.on(`${gid}/a`, FAILURE);
    const compensate = on.participant.on(`${gid}/c`, { after: opened });
    const body = saga(gid, [{ action, compensate }], { request_timeout: 20 });
    await on.client.post('submit', body);
    await on.participant.called(`${gid}/c`);
    const text = (status: string) =>
      failureText(
        `current status '${status}', cannot sumbmit. url:${action} return failed: {"dtm_result":"FAILURE"} FAILURE`,
      );
    for (const reply of await on.client.postToAll('submit', body)) {
      expect([reply.status, reply.text]).toEqual([409, text('aborting')]);
    }
    open();
    await on.client.ended(gid, 'failed');
    for (const reply of await on.client.postToAll('submit', body)) {
      expect([reply.status, reply.text]).toEqual([409, text('failed')]);
    }
  });

  it('P6: a repeat with wait_result waits for the end that the first one would have seen', async () => {
    const gid = freshGid();
    const { opened, open } = gate();
    on.participant.on(`${gid}/a`, { after: opened });
    const body = oneStep(on, gid, { request_timeout: 20, wait_result: true });
    const waiting = on.cluster.nodes.map(({ id }) => on.client.post('submit', body, id));
    await on.participant.called(`${gid}/a`);
    open();
    for (const reply of await Promise.all(waiting)) expect(reply.text).toBe(SUCCESS_TEXT);
    expect(on.participant.callsOf(`${gid}/a`)).toHaveLength(1);
  });

  it('P6: many submits of one gid at once, on all nodes, create one saga', async () => {
    const gid = freshGid();
    const body = oneStep(on, gid, { wait_result: true });
    const replies = await Promise.all(
      Array.from({ length: 60 }, () => on.client.post('submit', body)),
    );
    for (const reply of replies) expect(reply.text).toBe(SUCCESS_TEXT);
    expect(on.participant.callsOf(`${gid}/a`)).toHaveLength(1);
  });

  it('5.3.1, 5.3.3: a bare submit runs what was prepared; what it gives besides overrides', async () => {
    const gid = freshGid();
    const prepared = oneStep(on, gid, { timeout_to_fail: 50, branch_headers: { 'x-from': 'p' } });
    await on.client.post('prepare', prepared);
    const submit = { gid, trans_type: 'saga', wait_result: true, retry_interval: 7 };
    expect((await on.client.post('submit', submit)).text).toBe(SUCCESS_TEXT);
    const [call] = on.participant.callsOf(`${gid}/a`);
    expect(call?.body).toBe('{"amount":1}');
    expect(call?.headers['x-from']).toBe('p');
    expect(await on.client.transaction(gid)).toMatchObject({
      timeout_to_fail: 50,
      retry_interval: 7,
    });
  });

  it('P1: a submit that contradicts the prepared steps is 409, and the saga stays prepared', async () => {
    const gid = freshGid();
    await on.client.post('prepare', oneStep(on, gid));
    const other = saga(gid, [NO_CALLS, NO_CALLS]);
    expect((await on.client.post('submit', other)).text).toBe(finishedText('prepared'));
    expect((await on.client.transaction(gid)).status).toBe('prepared');
  });
});

describe('Compat.StrictResubmit', () => {
  const on = threeNodes('compat: { strictResubmit: true }', 1);

  it('answers as dtm: 200 while submitted, 409 once finished, without the reason', async () => {
    const gid = freshGid();
    const body = oneStep(on, gid, { wait_result: true });
    await on.client.post('submit', body);
    expect((await on.client.post('submit', body)).text).toBe(finishedText('succeed'));

    const failing = freshGid();
    on.participant.on(`${failing}/a`, FAILURE);
    await on.client.post('submit', oneStep(on, failing, { wait_result: true }));
    expect((await on.client.post('submit', oneStep(on, failing))).text).toBe(
      finishedText('failed'),
    );

    const waiting = freshGid();
    on.participant.on(`${waiting}/a`, ERROR);
    await on.client.post('submit', oneStep(on, waiting));
    expect((await on.client.post('submit', oneStep(on, waiting))).text).toBe(SUCCESS_TEXT);
  });
});
