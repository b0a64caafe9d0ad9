// A topic as stored under its name: version, times, and URLs and remarks in the order of subscription.

import { packVersioned, unpackVersioned } from './format.ts';
import type { Topic } from './types.ts';

const TOPIC_VERSION = 1;

export function encodeTopic(topic: Topic): Uint8Array {
  const { version, createTimeMs, updateTimeMs, subscribers } = topic;
  const flat = subscribers.flatMap(({ url, remark }) => [url, remark]);
  return packVersioned(TOPIC_VERSION, [version, createTimeMs, updateTimeMs, flat]);
}

/** @throws {FormatError} The node must stop. */
export function decodeTopic(name: string, bytes: Uint8Array): Topic {
  const fields = unpackVersioned('topic', TOPIC_VERSION, bytes);
  const [version, createTimeMs, updateTimeMs, flat] = fields as readonly [
    number,
    number,
    number,
    readonly string[],
  ];
  const subscribers: { readonly url: string; readonly remark: string }[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    subscribers.push({ url: flat[at] ?? '', remark: flat[at + 1] ?? '' });
  }
  return { name, version, createTimeMs, updateTimeMs, subscribers };
}
