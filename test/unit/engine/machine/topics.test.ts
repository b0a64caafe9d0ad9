// Topics: subscribe, unsubscribe and deleteTopic with dtm's words, versions and bounds, and the scan.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type {
  Key,
  OperationRequest,
  OperationResult,
  StateReader,
  Topic,
} from '../../../../src/engine/machine/index.ts';
import {
  REMARK_BYTES_MAX,
  SUBSCRIBER_URL_BYTES_MAX,
  SUBSCRIBERS_MAX,
} from '../../../../src/engine/machine/topics.ts';
import { StateQueries } from '../../../../src/engine/replica/state-queries.ts';
import { StateTransactionSource } from '../../../../src/engine/scheduler/index.ts';
import { Replica, START_MS } from './fixtures.ts';

function message(outcome: OperationResult): string {
  return outcome.kind === 'success' ? 'success' : `${outcome.kind}: ${outcome.message}`;
}

class Topics {
  readonly replica = new Replica();

  run(request: OperationRequest): string {
    return message(this.replica.operate(request));
  }

  subscribe(topic: string, url: string, remark = ''): string {
    return this.run({ kind: 'subscribe', topic, url, remark });
  }

  unsubscribe(topic: string, url: string): string {
    return this.run({ kind: 'unsubscribe', topic, url });
  }

  delete(topic: string): string {
    return this.run({ kind: 'deleteTopic', topic });
  }

  async page(name: string, position: string, limit: number) {
    const { state } = this.replica;
    const reader: StateReader = {
      get: (key) => Promise.resolve(state.values.get(key)),
      range: (range) =>
        Promise.resolve(
          state
            .keys(range)
            .map((key): [Key, Uint8Array] => [key, state.values.get(key) ?? new Uint8Array()]),
        ),
    };
    const read = (): StateReader => reader;
    const queries = new StateQueries(read, new StateTransactionSource(read));
    return queries.topics({ name, position, limit });
  }

  async find(name: string): Promise<Topic | undefined> {
    return (await this.page(name, '', 1))?.topics[0];
  }
}

describe('6: a topic', () => {
  test('is created by its first subscription and counts versions from 1', async () => {
    const topics = new Topics();
    expect(topics.subscribe('t', 'http://s/a', 'first')).toBe('success');
    topics.replica.nowMs += 5;
    expect(topics.subscribe('t', 's:80/pkg.Svc/Do')).toBe('success');
    expect(await topics.find('t')).toEqual({
      name: 't',
      version: 2,
      createTimeMs: START_MS,
      updateTimeMs: START_MS + 5,
      subscribers: [
        { url: 'http://s/a', remark: 'first' },
        { url: 's:80/pkg.Svc/Do', remark: '' },
      ],
    });
  });

  test('stays, empty, when its last subscriber leaves', async () => {
    const topics = new Topics();
    topics.subscribe('t', 'u');
    expect(topics.unsubscribe('t', 'u')).toBe('success');
    expect(await topics.find('t')).toMatchObject({ version: 2, subscribers: [] });
    expect(topics.unsubscribe('t', 'u')).toBe('error: this topic is empty');
    expect(topics.subscribe('t', 'u')).toBe('success');
    expect(await topics.find('t')).toMatchObject({ version: 3 });
  });

  test('has version 2N after N subscribes and N unsubscribes', async () => {
    const topics = new Topics();
    for (let at = 0; at < 20; at += 1) topics.subscribe('t', `u${at}`);
    for (let at = 0; at < 20; at += 1) topics.unsubscribe('t', `u${at}`);
    expect(await topics.find('t')).toMatchObject({ version: 40, subscribers: [] });
  });

  test('12.10: that is deleted is gone, and one created again starts anew', async () => {
    const topics = new Topics();
    topics.subscribe('t', 'u');
    topics.subscribe('t', 'v');
    expect(topics.delete('t')).toBe('success');
    expect(await topics.find('t')).toBeUndefined();
    expect(topics.delete('t')).toBe('error: storage: NotFound');
    topics.replica.nowMs += 9;
    topics.subscribe('t', 'w');
    expect(await topics.find('t')).toMatchObject({ version: 1, createTimeMs: START_MS + 9 });
  });
});

describe('1.4: what is refused', () => {
  test.each([
    ['subscribe', '', 'u', 'error: empty topic'],
    ['subscribe', 't', '', 'error: empty url'],
    ['subscribe', 'full', 'u', 'error: this url exists'],
    ['unsubscribe', '', 'u', 'error: empty topic'],
    ['unsubscribe', 't', '', 'error: empty url'],
    ['unsubscribe', 't', 'u', 'error: no such a topic'],
    ['unsubscribe', 'full', 'v', 'error: no such an url '],
  ] as const)('%s of %j to %j', (kind, topic, url, text) => {
    const topics = new Topics();
    topics.subscribe('full', 'u');
    const before = topics.replica.state.dump();
    expect(
      kind === 'subscribe' ? topics.subscribe(topic, url) : topics.unsubscribe(topic, url),
    ).toBe(text);
    const topicsOnly = (dump: string): string[] =>
      dump.split('\n').filter((line) => line.startsWith('"\\t'));
    expect(topicsOnly(topics.replica.state.dump())).toEqual(topicsOnly(before));
  });

  test('P8: more, or longer, than the bounds', () => {
    const topics = new Topics();
    for (let at = 0; at < SUBSCRIBERS_MAX; at += 1) topics.subscribe('t', `u${at}`);
    expect(topics.subscribe('t', 'one more')).toBe('error: a topic has at most 1000 subscribers');
    expect(topics.subscribe('n', 'u'.repeat(SUBSCRIBER_URL_BYTES_MAX))).toBe('success');
    expect(topics.subscribe('n', 'u'.repeat(SUBSCRIBER_URL_BYTES_MAX + 1))).toContain(
      'url is longer',
    );
    expect(topics.subscribe('n', 'v', 'é'.repeat(REMARK_BYTES_MAX))).toContain('remark is longer');
    expect(topics.subscribe('x'.repeat(1025), 'u')).toContain('topic is longer');
  });
});

describe('the scan', () => {
  test('pages by name, and an unknown position is told', async () => {
    const topics = new Topics();
    const names = ['a', 'a:b', 'b', 'é', '\u{1f600}', 'order1', 'order10'];
    for (const name of names) topics.subscribe(name, 'u');
    const seen: string[] = [];
    let position = '';
    do {
      const page = await topics.page('', position, 2);
      if (page === undefined) throw new Error('the position is refused');
      seen.push(...page.topics.map(({ name }) => name));
      position = page.nextPosition;
    } while (position !== '');
    expect(seen).toEqual(['a', 'a:b', 'b', 'order1', 'order10', 'é', '\u{1f600}']);
    expect(await topics.page('', 'nonsense', 2)).toBeUndefined();
    expect(await topics.page('', '1_w', 2)).toBeUndefined();
    expect(await topics.page('b', 'ignored', 2)).toMatchObject({ nextPosition: '' });
    expect(await topics.page('none', '', 2)).toEqual({ topics: [], nextPosition: '' });
  });
});

test('a topic is the list of its subscriptions, whatever comes (model)', async () => {
  const step = fc.record({
    kind: fc.constantFrom('subscribe', 'subscribe', 'unsubscribe', 'deleteTopic' as const),
    topic: fc.constantFrom('a', 'b'),
    url: fc.constantFrom('u', 'v', 'w'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const topics = new Topics();
      const model = new Map<string, { version: number; urls: string[] }>();
      for (const { kind, topic, url } of steps) {
        const known = model.get(topic);
        if (kind === 'deleteTopic') {
          expect(topics.delete(topic) === 'success').toBe(model.delete(topic));
        } else if (kind === 'subscribe') {
          const isNew = known?.urls.includes(url) !== true;
          expect(topics.subscribe(topic, url) === 'success').toBe(isNew);
          if (!isNew) continue;
          const urls = [...(known?.urls ?? []), url];
          model.set(topic, { version: (known?.version ?? 0) + 1, urls });
        } else {
          const has = known?.urls.includes(url) === true;
          expect(topics.unsubscribe(topic, url) === 'success').toBe(has);
          if (known === undefined || !has) continue;
          const urls = known.urls.filter((other) => other !== url);
          model.set(topic, { version: known.version + 1, urls });
        }
      }
      for (const topic of ['a', 'b']) {
        const found = await topics.find(topic);
        const urls = found?.subscribers.map((subscriber) => subscriber.url);
        expect([found?.version, urls]).toEqual([model.get(topic)?.version, model.get(topic)?.urls]);
      }
    }),
    { numRuns: 100 },
  );
});
