// The whole replicated state of a node, as its readers are given it, to be held against the others'.

import type { LocalReplica } from '../../src/engine/index.ts';
import { StoreError } from '../../src/engine/store/index.ts';

/** Bounds of the machine's keys; the store's own lie below. */
const FROM = '\x01';
const TO = '\xff';
const PAGE_KEYS = 1_000;
const QUIET_TRIES = 20;

export interface StateImage {
  readonly nodeId: number;
  readonly index: number;
  readonly pairs: ReadonlyMap<string, string>;
}

/** Undefined: the read itself found damage. */
export async function readState(
  replica: LocalReplica | undefined,
): Promise<StateImage | undefined> {
  if (replica === undefined) {
    return undefined;
  }
  for (let attempt = 0; attempt < QUIET_TRIES; attempt++) {
    const index = replica.store.appliedIndex;
    const pairs = await readPairs(replica);
    if (pairs === undefined) {
      return undefined;
    }
    if (replica.store.appliedIndex === index) {
      return { nodeId: replica.identity.nodeId, index, pairs };
    }
  }
  throw new Error(`n${replica.identity.nodeId} does not come to rest`);
}

async function readPairs(replica: LocalReplica): Promise<ReadonlyMap<string, string> | undefined> {
  const pairs = new Map<string, string>();
  let from = FROM;
  try {
    for (;;) {
      const page = await replica.store.reader.range({ gte: from, lt: TO, limit: PAGE_KEYS });
      for (const [key, value] of page) {
        pairs.set(key, Buffer.from(value).toString('latin1'));
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_KEYS) {
        return pairs;
      }
      from = `${last[0]}\0`;
    }
  } catch (error) {
    if (error instanceof StoreError && error.code === 'STATE_DAMAGED') {
      return undefined;
    }
    throw error;
  }
}

/** The first key on which two images of the same index differ. */
export function findDifference(images: readonly (StateImage | undefined)[]): string | undefined {
  const present = images.filter((image) => image !== undefined);
  const [first] = present;
  for (const other of present) {
    if (first === undefined || other.index !== first.index) {
      continue;
    }
    const keys = new Set([...first.pairs.keys(), ...other.pairs.keys()]);
    for (const key of keys) {
      if (first.pairs.get(key) !== other.pairs.get(key)) {
        const name = Buffer.from(key, 'latin1').toString('hex');
        const holds = (image: StateImage): string => (image.pairs.has(key) ? 'a value' : 'nothing');
        return `key ${name} at ${first.index}: n${first.nodeId} has ${holds(first)}, n${other.nodeId} ${holds(other)}, and they differ`;
      }
    }
  }
  return undefined;
}
