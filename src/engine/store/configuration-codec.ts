// The configuration as of an applied index, as JSON: seldom written, readable in a dump.

import type { Configuration } from '../../raft/index.ts';
import { StoreError } from './errors.ts';

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  return Buffer.from(JSON.stringify(configuration));
}

/** @throws {STATE_DAMAGED} when it is not a configuration. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  return configurationFromJson(JSON.parse(Buffer.from(bytes).toString('utf8')));
}

export function configurationFromJson(value: unknown): Configuration {
  if (typeof value !== 'object' || value === null) throw notAConfiguration();
  const fields = value as Record<string, unknown>;
  const members = fields['members'];
  if (!Array.isArray(members)) throw notAConfiguration();
  return {
    voters: nodeIds(fields['voters']),
    outgoing: nodeIds(fields['outgoing']),
    learners: nodeIds(fields['learners']),
    learnersNext: nodeIds(fields['learnersNext']),
    members: members.map((member: unknown) => {
      const { nodeId, birthId } = (member ?? {}) as Record<string, unknown>;
      if (typeof nodeId !== 'number' || typeof birthId !== 'string') throw notAConfiguration();
      return { nodeId, birthId };
    }),
  };
}

function nodeIds(value: unknown): readonly number[] {
  if (!Array.isArray(value)) throw notAConfiguration();
  return value.map((id: unknown) => {
    if (typeof id !== 'number') throw notAConfiguration();
    return id;
  });
}

function notAConfiguration(): StoreError {
  return new StoreError('STATE_DAMAGED', 'the stored configuration is not one');
}
