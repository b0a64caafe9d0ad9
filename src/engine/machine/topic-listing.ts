// Paging through topics in the order of their names. The cursor is the last topic's name, so a scan is
// stable while topics come and go.

import { gidBytes, gidOfBytes, type KeyRange, topicRange } from './keyspace.ts';
import { fromOpaque, toOpaque } from './opaque.ts';
import { decodeTopic } from './topic-codec.ts';
import type { Key, Topic } from './types.ts';

export interface TopicPage {
  readonly topics: readonly Topic[];
  /** Empty when nothing follows. */
  readonly nextPosition: string;
}

/**
 * The range to read, with limit + 1; undefined when the position is not one that `topicPage` has
 * given out.
 */
export function topicPageRange(position: string): KeyRange | undefined {
  if (position === '') return topicRange();
  const bytes = fromOpaque(position);
  if (bytes === undefined) return undefined;
  try {
    const name = gidOfBytes(bytes);
    return gidBytes(name) === bytes ? topicRange(name) : undefined;
  } catch {
    // Bytes that are no text.
    return undefined;
  }
}

export function topicPage(
  pairs: readonly (readonly [Key, Uint8Array])[],
  limit: number,
): TopicPage {
  const topics = pairs.slice(0, limit).map(([key, bytes]) => decodeTopic(nameOf(key), bytes));
  const last = topics.at(-1);
  const more = pairs.length > limit && last !== undefined;
  return { topics, nextPosition: more ? toOpaque(gidBytes(last.name)) : '' };
}

function nameOf(key: Key): string {
  return gidOfBytes(key.slice(1));
}
