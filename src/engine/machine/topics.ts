// Topics: named lists of subscribers, to which messages are sent (dtm reference §6).
//
// Owns: subscribe, unsubscribe, deleteTopic, and what a message's topics stand for when it is created.
//
// Invariants
//   O1. A change takes effect with the next command of the log: there is no copy to refresh, none that
//       outlives a deletion, and a topic that is created again is a new one (defect 12.10).
//   O2. Versions start at 1 and count subscribes and unsubscribes. URLs of a topic are unique and in
//       the order of their subscription.
//   O3. Names, URLs, remarks and subscribers are bounded, and what a message's topics stand for (P8).

import { MSG_ROWS_MAX, topicOf } from '../patterns/index.ts';
import { topicKey, topicProblem } from './keyspace.ts';
import { error } from './operation-results.ts';
import { textProblem } from './text-problem.ts';
import { decodeTopic, encodeTopic } from './topic-codec.ts';
import type {
  Key,
  MutableState,
  OperationRequest,
  OperationResult,
  StepInput,
  Topic,
  TransactionInput,
} from './types.ts';

export const SUBSCRIBERS_MAX = 1000;
export const SUBSCRIBER_URL_BYTES_MAX = 4096;
export const REMARK_BYTES_MAX = 1024;
/** URLs that the topics of one message stand for, together; a UTF-16 unit counts as one. */
export const EXPANDED_URL_UNITS_MAX = 4 * 1024 * 1024;

type TopicRequest = Extract<
  OperationRequest,
  { readonly kind: 'subscribe' | 'unsubscribe' | 'deleteTopic' }
>;

/** Topics while one entry is applied. */
export class TopicTable {
  readonly #state: MutableState;
  readonly #timeMs: number;

  constructor(state: MutableState, timeMs: number) {
    this.#state = state;
    this.#timeMs = timeMs;
  }

  /** A name that no topic can have has no key. */
  load(name: string): Topic | undefined {
    if (topicProblem(name) !== undefined) return undefined;
    const bytes = this.#state.get(topicKey(name));
    return bytes === undefined ? undefined : decodeTopic(name, bytes);
  }

  /** `staleMs`: a deliberate bug; the last subscriber of a topic that changed since is not seen. */
  subscribersOf(name: string, staleMs = 0): readonly string[] | undefined {
    const topic = this.load(name);
    const urls = topic?.subscribers.map(({ url }) => url);
    const isStale = topic !== undefined && topic.updateTimeMs > this.#timeMs - staleMs;
    return isStale ? urls?.slice(0, -1) : urls;
  }

  /** Writes the topic with its next version. */
  save(name: string, before: Topic | undefined, subscribers: Topic['subscribers']): void {
    const topic: Topic = {
      name,
      version: (before?.version ?? 0) + 1,
      createTimeMs: before?.createTimeMs ?? this.#timeMs,
      updateTimeMs: this.#timeMs,
      subscribers,
    };
    this.#state.put(topicKey(name), encodeTopic(topic), before === undefined);
  }

  delete(name: string): void {
    this.#state.delete(topicKey(name));
  }
}

export function runTopicOperation(topics: TopicTable, request: TopicRequest): OperationResult {
  switch (request.kind) {
    case 'subscribe':
      return subscribe(topics, request);
    case 'unsubscribe':
      return unsubscribe(topics, request);
    case 'deleteTopic':
      if (topics.load(request.topic) === undefined) return error('storage: NotFound');
      topics.delete(request.topic);
      return DONE;
  }
}

function subscribe(
  topics: TopicTable,
  request: Extract<TopicRequest, { readonly kind: 'subscribe' }>,
): OperationResult {
  const { topic: name, url, remark } = request;
  const problem = subscriptionProblem(name, url) ?? remarkProblem(remark);
  if (problem !== undefined) return error(problem);
  const topic = topics.load(name);
  const subscribers = topic?.subscribers ?? [];
  if (subscribers.some((subscriber) => subscriber.url === url)) return error('this url exists');
  if (subscribers.length >= SUBSCRIBERS_MAX) {
    return error(`a topic has at most ${SUBSCRIBERS_MAX} subscribers`);
  }
  topics.save(name, topic, [...subscribers, { url, remark }]);
  return DONE;
}

/** The last subscriber leaves the topic in place, empty. */
function unsubscribe(
  topics: TopicTable,
  request: Extract<TopicRequest, { readonly kind: 'unsubscribe' }>,
): OperationResult {
  const { topic: name, url } = request;
  const problem = subscriptionProblem(name, url);
  if (problem !== undefined) return error(problem);
  const topic = topics.load(name);
  if (topic === undefined) return error('no such a topic');
  if (topic.subscribers.length === 0) return error('this topic is empty');
  const left = topic.subscribers.filter((subscriber) => subscriber.url !== url);
  // With dtm's blank at the end (dtm reference §11.39).
  if (left.length === topic.subscribers.length) return error('no such an url ');
  topics.save(name, topic, left);
  return DONE;
}

function subscriptionProblem(name: string, url: string): string | undefined {
  if (name === '') return 'empty topic';
  if (url === '') return 'empty url';
  return topicProblem(name) ?? textProblem('url', url, SUBSCRIBER_URL_BYTES_MAX);
}

function remarkProblem(remark: string): string | undefined {
  return textProblem('remark', remark, REMARK_BYTES_MAX);
}

// ------------------------------------------------------------------------------- publishing

/** Keys of the topics that a message's steps name. */
export function topicKeysOf(input: TransactionInput): readonly Key[] {
  if (input.type !== 'msg') return [];
  const names = new Set<string>();
  for (const step of input.steps ?? []) {
    const name = topicOf(step);
    if (name !== undefined && topicProblem(name) === undefined) names.add(name);
  }
  return [...names].map(topicKey);
}

/** Why a message cannot be sent to the topics that it names, or undefined. */
export function publishProblem(
  topics: TopicTable,
  input: TransactionInput,
): OperationResult | undefined {
  if (input.type !== 'msg') return undefined;
  const byHttpOnly = (input.protocol ?? 'http') === 'http';
  let rows = 0;
  let units = 0;
  for (const step of input.steps ?? []) {
    const urls = urlsOf(topics, step);
    if (urls.length === 0) return error('topic not found');
    const isTopic = topicOf(step) !== undefined;
    // dtm would try for ever (defect 12.13); a subscriber may be there for messages of gRPC.
    const odd = byHttpOnly && isTopic ? urls.find(isNoHttpUrl) : undefined;
    if (odd !== undefined) return error(`steps: the subscriber ${odd} is not called by HTTP`);
    rows += urls.length;
    if (isTopic) for (const url of urls) units += url.length;
    // A request of a few bytes can name the largest topic again and again: it is not read to its end.
    if (rows > MSG_ROWS_MAX) return error(`steps: their subscribers are more than ${MSG_ROWS_MAX}`);
    if (units > EXPANDED_URL_UNITS_MAX) {
      return error(`steps: the URLs of their subscribers exceed ${EXPANDED_URL_UNITS_MAX} bytes`);
    }
  }
  return undefined;
}

function urlsOf(topics: TopicTable, step: StepInput): readonly string[] {
  const name = topicOf(step);
  return name === undefined ? [step.action] : (topics.subscribersOf(name) ?? []);
}

function isNoHttpUrl(url: string): boolean {
  return !url.startsWith('http://') && !url.startsWith('https://');
}

/** Topics have neither gid nor status. */
const DONE: OperationResult = {
  kind: 'success',
  gid: '',
  status: 'prepared',
  count: 1,
  waitResult: false,
};
