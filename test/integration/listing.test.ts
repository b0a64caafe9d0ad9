// `all`: filters, order, paging, bounds; and resetCronTime (dtm reference §1.4).

import { describe, expect, it } from 'vitest';
import { freshGid, NO_CALLS, saga, type TransactionView } from './lib/client.ts';
import { threeNodes } from './lib/fixture.ts';
import { ERROR, FAILURE } from './lib/participant.ts';

const on = threeNodes();

interface Page {
  readonly next_position: string;
  readonly transactions: readonly TransactionView[] | null;
}

async function all(query: string): Promise<Page> {
  const reply = await on.client.get(`all?${query}`);
  expect(reply.status).toBe(200);
  expect(Object.keys(reply.json)).toEqual(['next_position', 'transactions']);
  return reply.json as unknown as Page;
}

/** Every page of a scan, from changing nodes; `between` runs after each. */
async function pages(query: string, between: () => Promise<unknown>): Promise<readonly Page[]> {
  const found: Page[] = [];
  for (let position = ''; ; ) {
    const page = await all(`${query}&position=${encodeURIComponent(position)}`);
    found.push(page);
    position = page.next_position;
    if (position === '') return found;
    await between();
  }
}
const gidsOf = (found: readonly Page[]) =>
  found.flatMap(({ transactions }) => (transactions ?? []).map(({ gid }) => gid));
const prepare = async (name?: string) => {
  const gid = freshGid(name);
  await on.client.post('prepare', saga(gid, [NO_CALLS]));
  return gid;
};

describe('all', () => {
  it('11.29: an empty scan is [], an unknown gid null, and position comes back with a gid', async () => {
    expect((await on.client.get('all')).text).toBe('{"next_position":"","transactions":[]}');
    expect((await on.client.get('all?gid=zzz')).text).toBe(
      '{"next_position":"","transactions":null}',
    );
    expect((await on.client.get('all?gid=zzz&position=abc')).text).toBe(
      '{"next_position":"abc","transactions":null}',
    );
  });

  it('1.4: with a gid all other filters are ignored', async () => {
    const gid = await prepare();
    const page = await all(`gid=${gid}&status=failed&transType=msg&limit=5&createTimeEnd=1000`);
    expect(page.transactions?.map((transaction) => transaction.gid)).toEqual([gid]);
    expect(page.transactions?.[0]).toEqual(await on.client.transaction(gid));
  });

  it('1.4, defect 12.29: newest first, exact limit, no gid twice or missing while others are inserted', async () => {
    const before: string[] = [];
    for (let i = 0; i < 45; i += 1) before.push(await prepare('page'));
    const found = await pages('limit=7', async () => {
      await Promise.all([prepare('new'), prepare('new'), prepare('new')]);
    });
    for (const { transactions } of found.slice(0, -1)) expect(transactions).toHaveLength(7);
    const gids = gidsOf(found);
    expect(new Set(gids).size).toBe(gids.length);
    expect(gids.filter((gid) => gid.startsWith('page'))).toEqual([...before].reverse());
    expect(gids.filter((gid) => gid.startsWith('new'))).toEqual([]);
  });

  it('1.4: a transaction that changes its status during a scan neither hides nor repeats others', async () => {
    const mine: string[] = [];
    for (let i = 0; i < 12; i += 1) mine.push(await prepare('moving'));
    const rest = [...mine];
    const found = await pages('limit=3&status=prepared&transType=saga', async () => {
      const gid = rest.pop();
      if (gid !== undefined) await on.client.post('forceStop', { gid });
    });
    const gids = gidsOf(found).filter((gid) => gid.startsWith('moving'));
    expect(new Set(gids).size).toBe(gids.length);
    for (const gid of rest) expect(gids).toContain(gid);
  });

  it('1.4: filters by status, type and creation time, and all of them together', async () => {
    const failed = freshGid('failed');
    const action = on.participant.on(failed, FAILURE);
    await on.client.post('submit', saga(failed, [{ action, compensate: '' }]));
    await on.client.ended(failed, 'failed');
    const running = freshGid('running');
    const broken = on.participant.on(running, ERROR);
    await on.client.post('submit', saga(running, [{ action: broken, compensate: '' }]));
    const prepared = await prepare();
    const has = async (query: string) => gidsOf([await all(`limit=1000&${query}`)]);

    expect(await has('status=failed')).toContain(failed);
    expect(await has('status=failed')).not.toContain(running);
    expect(await has('status=submitted')).toEqual([running]);
    expect(await has('status=prepared')).toContain(prepared);
    expect(await has('transType=saga')).toEqual(
      expect.arrayContaining([failed, running, prepared]),
    );
    expect(await has('transType=tcc')).toEqual([]);
    expect(await has('status=nonsense')).toEqual([]);
    expect(await has('status=failed&transType=saga')).toContain(failed);
    expect(await has('status=&transType=&createTimeStart=&createTimeEnd=')).toContain(failed);

    const created = Date.parse(String((await on.client.transaction(running))['create_time']));
    const second = Math.floor(created / 1000) * 1000;
    for (const query of [
      '',
      '&status=submitted',
      '&transType=saga',
      '&status=submitted&transType=saga',
    ]) {
      expect(await has(`createTimeStart=${second}${query}`)).toContain(running);
      expect(await has(`createTimeStart=${second + 1000}${query}`)).not.toContain(running);
      expect(await has(`createTimeEnd=${second + 999}${query}`)).toContain(running);
      expect(await has(`createTimeEnd=${second - 1}${query}`)).not.toContain(running);
      expect(await has(`createTimeStart=${second}&createTimeEnd=${second}${query}`)).toContain(
        running,
      );
    }
    await on.client.post('forceStop', { gid: running });
  });

  it('1.4: what is no integer is 500, and a position that nobody gave out too', async () => {
    for (const query of ['limit=abc', 'createTimeStart=1.5', 'createTimeEnd=x']) {
      const reply = await on.client.get(`all?${query}`);
      const value = query.split('=')[1] ?? '';
      expect([reply.status, reply.text]).toEqual([
        500,
        `{"message":"convert to int error: ${value}"}`,
      ]);
    }
    for (const position of ['nonsense', '%00', '12', 'x'.repeat(2_000)]) {
      const reply = await on.client.get(`all?position=${position}`);
      expect([reply.status, Object.keys(reply.json)]).toEqual([500, ['message']]);
      expect(reply.json['message']).toContain('position');
    }
  });

  it('P8: the limit is 100 by default and bounded', async () => {
    expect((await all('limit=1')).transactions).toHaveLength(1);
    for (let i = 0; i < 60; i += 1) await prepare();
    expect((await all('')).transactions).toHaveLength(100);
    expect((await all('limit=1000000')).transactions?.length).toBeLessThanOrEqual(1_000);
  });

  it('1.4: every node lists the same', async () => {
    const texts = [];
    for (const { id } of on.cluster.nodes) {
      texts.push((await on.client.get('all?limit=50', id)).text);
    }
    expect(new Set(texts).size).toBe(1);
  });
});

describe('resetCronTime', () => {
  it('1.4: makes up to limit far-off attempts come now, and says whether more remain', async () => {
    const gids = [freshGid('cron'), freshGid('cron'), freshGid('cron')];
    for (const gid of gids) {
      const action = on.participant.on(gid, ERROR, {});
      await on.client.post(
        'submit',
        saga(gid, [{ action, compensate: '' }], { retry_interval: 1_500 }),
      );
      await expect
        .poll(async () => (await on.client.transaction(gid))['next_cron_interval'])
        .toBe(3_000);
    }
    // Prepared sagas of other tests are due in seven days: more than a million seconds is beyond all.
    const none = await on.client.get('resetCronTime?timeout=99999999&limit=2');
    expect([none.status, none.text]).toEqual([200, '{"has_remaining":false,"succeed_count":0}']);
    const two = await on.client.get('resetCronTime?timeout=1000&limit=2');
    expect([two.status, two.text]).toEqual([200, '{"has_remaining":true,"succeed_count":2}']);
    const reply = await on.client.get('resetCronTime?timeout=1000&limit=1000');
    expect(reply.json['has_remaining']).toBe(false);
    for (const gid of gids) await on.client.ended(gid, 'succeed', 5_000);
    for (const query of ['timeout=x', 'limit=x']) {
      expect((await on.client.get(`resetCronTime?${query}`)).text).toBe(
        '{"message":"convert to int error: x"}',
      );
    }
  });
});
