// What an entry counts for in every bound of the core: its payload and a flat overhead.

import type { Entry } from '../types.ts';

/** Header and bookkeeping of an entry, and of each command in it; an estimate on the safe side. */
const OVERHEAD_BYTES = 32;
const MEMBER_BYTES = 64;

export function commandsBytes(commands: readonly Uint8Array[]): number {
  let bytes = OVERHEAD_BYTES;
  for (const command of commands) bytes += OVERHEAD_BYTES + command.byteLength;
  return bytes;
}

export function entryBytes(entry: Entry): number {
  switch (entry.kind) {
    case 'commands':
      return commandsBytes(entry.commands);
    case 'noop':
      return OVERHEAD_BYTES;
    case 'configuration':
      return OVERHEAD_BYTES + MEMBER_BYTES * entry.configuration.members.length;
  }
}
