// The routes of topics, and of the KV that shows them. dtm's KV has one category that anybody uses,
// `topics`; here it is the only one.
//
// Source: the dtm protocol reference, §1.4, §1.5, §6.

import type { Topic } from '../../engine/index.ts';
import type { TopicRequests } from '../requests/index.ts';
import { type Answer, replyAnswer, valueAnswer } from './answer.ts';
import { jsonText } from './json-text.ts';
import type { Parameters } from './parameters.ts';
import { type ApiRequest, type Route, route } from './route.ts';
import type { TimeFormat } from './time-text.ts';

export interface TopicRoutesOptions {
  readonly time: TimeFormat;
  readonly listLimitMax: number;
  readonly topics: TopicRequests;
}

const CATEGORY = 'topics';
const DEFAULT_LIMIT = 100;

/** All keys always; `v` is JSON text of an array (reference §1.5, §1.6). */
function topicView(topic: Topic, time: TimeFormat): Readonly<Record<string, unknown>> {
  return {
    id: 0,
    create_time: time(topic.createTimeMs),
    update_time: time(topic.updateTimeMs),
    cat: CATEGORY,
    k: topic.name,
    v: jsonText(topic.subscribers.map(({ url, remark }) => ({ url, remark }))),
    version: topic.version,
  };
}

/** An empty category means every one. */
function isOtherCategory(parameters: Parameters): boolean {
  const category = parameters.text('cat');
  return category !== '' && category !== CATEGORY;
}

export function topicRoutes(options: TopicRoutesOptions): readonly Route[] {
  const { time, listLimitMax, topics } = options;

  async function subscribe({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    const [topic, url] = [parameters.text('topic'), parameters.text('url')];
    const remark = parameters.text('remark');
    return replyAnswer(await topics.subscribe(coordinator, { topic, url, remark }));
  }

  async function unsubscribe({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    const [topic, url] = [parameters.text('topic'), parameters.text('url')];
    return replyAnswer(await topics.unsubscribe(coordinator, { topic, url }));
  }

  async function deleteTopic({ coordinator, segment }: ApiRequest): Promise<Answer> {
    return replyAnswer(await topics.deleteTopic(coordinator, segment));
  }

  async function scan({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    const asked = parameters.integer('limit') ?? DEFAULT_LIMIT;
    const limit = Math.max(1, Math.min(listLimitMax, asked));
    const position = parameters.text('position');
    if (isOtherCategory(parameters)) return valueAnswer({ kv: [], next_position: '' });
    const reply = await topics.list(coordinator, { name: '', position, limit });
    return replyAnswer(reply, ({ topics: found, nextPosition }) =>
      valueAnswer({
        kv: found.map((topic) => topicView(topic, time)),
        next_position: nextPosition,
      }),
    );
  }

  /** Without a key the whole category, as far as one page holds it (P8). */
  async function query({ coordinator, parameters }: ApiRequest): Promise<Answer> {
    if (isOtherCategory(parameters)) return valueAnswer({ kv: [] });
    const filter = { name: parameters.text('key'), position: '', limit: listLimitMax };
    const reply = await topics.list(coordinator, filter);
    return replyAnswer(reply, ({ topics: found }) =>
      valueAnswer({ kv: found.map((topic) => topicView(topic, time)) }),
    );
  }

  return [
    route('GET', 'subscribe', 'admission', subscribe),
    route('GET', 'unsubscribe', 'admission', unsubscribe),
    route('DELETE', 'topic/:segment', 'admission', deleteTopic),
    route('GET', 'scanKV', 'admission', scan),
    route('GET', 'queryKV', 'admission', query),
  ];
}
