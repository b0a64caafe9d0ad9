// Topics as those see them who change them, one after the other: to whom a message must be sent, and
// to whom it must not.
//
// Owns: when each URL was certainly subscribed and certainly gone. A change whose outcome is unknown
// may take effect at any time: its URL is not judged any more.
//
// Source: the dtm protocol reference §6, defect 12.10 (a change takes effect at once).

import type { Transaction } from '../../src/engine/machine/index.ts';
import { InvariantViolated } from './violation.ts';

interface Subscription {
  readonly topic: string;
  state: 'changing' | 'present' | 'gone' | 'uncertain';
  /** When the last change was answered. */
  sinceMs: number;
}

export class TopicWatch {
  readonly #subscriptions = new Map<string, Subscription>();
  /** When the first request that may create a message was made. */
  readonly #asked = new Map<string, number>();

  /** A change of `url` has been asked for. */
  changing(topic: string, url: string): void {
    const known = this.#subscriptions.get(url);
    if (known === undefined) {
      this.#subscriptions.set(url, { topic, state: 'changing', sinceMs: 0 });
    } else if (known.state !== 'uncertain') {
      known.state = 'changing';
    }
  }

  changed(url: string, state: 'present' | 'gone' | 'uncertain', nowMs: number): void {
    const known = this.#subscriptions.get(url);
    if (known !== undefined && known.state !== 'uncertain') {
      known.state = state;
      known.sinceMs = nowMs;
    }
  }

  /** URLs of a topic that are certainly subscribed, or may be. */
  urlsOf(topic: string): readonly string[] {
    const urls: string[] = [];
    for (const [url, subscription] of this.#subscriptions) {
      if (subscription.topic === topic && subscription.state !== 'gone') urls.push(url);
    }
    return urls;
  }

  isPresent(url: string): boolean {
    return this.#subscriptions.get(url)?.state === 'present';
  }

  asked(gid: string, nowMs: number): void {
    if (!this.#asked.has(gid)) this.#asked.set(gid, nowMs);
  }

  /** A message's rows against what was certain from its request to its creation. */
  created({ definition }: Transaction): void {
    const askedMs = this.#asked.get(definition.gid);
    if (askedMs === undefined) {
      return;
    }
    const rows = new Set(definition.branches.map(({ url }) => url));
    const topics = new Set(definition.steps.map(({ action }) => action));
    for (const [url, { topic, state, sinceMs }] of this.#subscriptions) {
      if (!topics.has(`topic://${topic}`) || sinceMs >= askedMs) continue;
      const wrong = state === 'present' ? !rows.has(url) : state === 'gone' && rows.has(url);
      if (wrong) {
        throw new InvariantViolated(
          'TOPIC',
          `${definition.gid} is ${rows.has(url) ? '' : 'not '}sent to ${url}, which was ${state} before it was asked for`,
        );
      }
    }
  }
}
