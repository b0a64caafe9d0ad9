// Who changes topics while messages are sent to them: one change per topic at a time.
//
// Every subscription has a URL of its own, so that a change whose outcome is unknown, which may still
// take effect much later, is no other change's business.
//
// Source: the dtm protocol reference §6.

import type { Client } from './client.ts';
import { topicName } from './msg-client.ts';
import type { Prng } from './prng.ts';

const URLS_MAX = 6;

export class TopicClient {
  readonly #client: Client;
  readonly #random: Prng;
  readonly #topics: number;
  readonly #busy = new Set<string>();
  #nextUrl = 1;

  constructor(client: Client, random: Prng, topics: number) {
    this.#client = client;
    this.#random = random;
    this.#topics = topics;
  }

  /** Somebody subscribes, leaves, or deletes the whole topic. */
  change(): void {
    const random = this.#random;
    const topic = topicName(1 + random.int(this.#topics));
    if (this.#busy.has(topic)) {
      return;
    }
    this.#busy.add(topic);
    this.#client.launch(async () => {
      const { topics } = this.#client.world.oracle;
      const urls = topics.urlsOf(topic);
      const present = urls.filter((url) => topics.isPresent(url));
      if (present.length === 0 || (urls.length < URLS_MAX && random.chance(0.6))) {
        const url = `http://subscriber.example/${topic}/${this.#nextUrl++}`;
        await this.#ask([url], { kind: 'subscribe', topic, url, remark: '' });
      } else if (random.chance(0.9)) {
        const url = random.pick(present);
        await this.#ask([url], { kind: 'unsubscribe', topic, url });
      } else {
        await this.#ask(urls, { kind: 'deleteTopic', topic });
      }
      this.#busy.delete(topic);
    });
  }

  async #ask(urls: readonly string[], request: TopicRequest): Promise<void> {
    const { oracle, time } = this.#client.world;
    for (const url of urls) oracle.topics.changing(request.topic, url);
    const { outcome } = await this.#client.ask(request, this.#random);
    const done = request.kind === 'subscribe' ? 'present' : 'gone';
    const undone = request.kind === 'subscribe' ? 'gone' : 'present';
    for (const url of urls) {
      if (outcome?.kind === 'applied' && outcome.result.kind === 'success') {
        oracle.topics.changed(url, done, time.nowMs);
      } else if (outcome?.kind === 'refused') {
        oracle.topics.changed(url, undone, time.nowMs);
      } else {
        oracle.topics.changed(url, 'uncertain', time.nowMs);
      }
    }
  }
}

type TopicRequest = Parameters<Client['ask']>[0] & {
  readonly kind: 'subscribe' | 'unsubscribe' | 'deleteTopic';
};
