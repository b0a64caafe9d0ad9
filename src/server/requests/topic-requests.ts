// What clients ask of topics: subscribe, unsubscribe, delete, and to look at them.
//
// Source: the dtm protocol reference, §1.4, §6. Its KV has one category, `topics`.

import type { Coordinator, OperationRequest, Topic } from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import { invalidReply, operationReply, type Reply, readReply } from './reply.ts';
import { printable } from './shown-value.ts';
import type { RequestsOptions } from './transaction-requests.ts';
import { checkBranchUrl } from './validation.ts';

export interface TopicPage {
  readonly topics: readonly Topic[];
  readonly nextPosition: string;
}

const NAME_BYTES_MAX = 256;
const CONTROL = /[\p{Cc}\p{Cs}]/u;

function checkName(topic: string): void {
  if (Buffer.byteLength(topic) > NAME_BYTES_MAX || CONTROL.test(topic)) {
    throw new InvalidRequestError(
      `topic must be at most ${NAME_BYTES_MAX} bytes without control characters, got ${printable(topic)}`,
    );
  }
}

export class TopicRequests {
  readonly #options: RequestsOptions;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** @throws InvalidRequestError */
  subscribe(
    coordinator: Coordinator,
    given: { readonly topic: string; readonly url: string; readonly remark: string },
  ): Promise<Reply> {
    const { topic, url, remark } = given;
    checkTopicAndUrl(topic, url);
    checkName(topic);
    // A message to this topic would never end otherwise.
    checkBranchUrl(url, undefined, 'url');
    return this.#execute(coordinator, { kind: 'subscribe', topic, url, remark });
  }

  /** @throws InvalidRequestError */
  unsubscribe(
    coordinator: Coordinator,
    given: { readonly topic: string; readonly url: string },
  ): Promise<Reply> {
    const { topic, url } = given;
    checkTopicAndUrl(topic, url);
    checkName(topic);
    return this.#execute(coordinator, { kind: 'unsubscribe', topic, url });
  }

  /** @throws InvalidRequestError */
  async deleteTopic(coordinator: Coordinator, topic: string): Promise<Reply> {
    if (topic === '') return invalidReply('empty topic');
    checkName(topic);
    return this.#execute(coordinator, { kind: 'deleteTopic', topic });
  }

  /** In order of their names; an empty `name` selects all. */
  async list(
    coordinator: Coordinator,
    filter: { readonly name: string; readonly position: string; readonly limit: number },
  ): Promise<Reply<TopicPage>> {
    return readReply(await coordinator.topics(filter));
  }

  async #execute(coordinator: Coordinator, request: OperationRequest): Promise<Reply> {
    const outcome = await coordinator.execute(request, this.#options.operationTimeoutMs);
    return operationReply(outcome, '');
  }
}

/** In dtm's words. */
function checkTopicAndUrl(topic: string, url: string): void {
  if (topic === '') throw new InvalidRequestError('empty topic');
  if (url === '') throw new InvalidRequestError('empty url');
}
