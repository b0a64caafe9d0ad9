// The smallest state machine that shows every fault of replication: a hash over all that was
// applied, in order, and how often each command was.

import type { Entry } from '../../src/raft/index.ts';

export interface MachineState {
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  readonly appliedTimeMs: number;
  /** Chained over every applied entry. */
  readonly hash: number;
  /** Commands applied, newest last; a persistent list so that snapshots cost nothing. */
  readonly commands: CommandList | undefined;
}

export interface CommandList {
  readonly id: string;
  readonly index: number;
  readonly rest: CommandList | undefined;
}

export const EMPTY_MACHINE: MachineState = {
  appliedIndex: 0,
  appliedTerm: 0,
  appliedTimeMs: 0,
  hash: 0,
  commands: undefined,
};

const entryHashes = new WeakMap<Entry, number>();

/** A hash of all that an entry says. Entries are immutable, so it is computed once for each. */
export function entryHash(entry: Entry): number {
  const known = entryHashes.get(entry);
  if (known !== undefined) {
    return known;
  }
  let hash = 0x811c9dc5;
  const mix = (value: number): void => {
    hash = Math.imul(hash ^ (value & 0xffff), 0x01000193);
    hash = Math.imul(hash ^ (value >>> 16), 0x01000193);
  };
  mix(entry.index);
  mix(entry.term);
  mix(Math.floor(entry.timeMs / 0x1_0000_0000));
  mix(entry.timeMs >>> 0);
  mix(entry.kind.length);
  if (entry.kind === 'commands') {
    for (const command of entry.commands) {
      mix(command.length);
      for (const byte of command) {
        hash = Math.imul(hash ^ byte, 0x01000193);
      }
    }
  }
  entryHashes.set(entry, hash);
  return hash;
}

const ID_BYTES = 12;

/** A command that carries an id and `size` bytes in all. */
export function encodeCommand(id: string, size: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(ID_BYTES, size));
  for (let i = 0; i < ID_BYTES; i++) {
    bytes[i] = i < id.length ? id.charCodeAt(i) : 0x20;
  }
  return bytes;
}

function commandId(command: Uint8Array): string {
  return String.fromCharCode(...command.subarray(0, ID_BYTES)).trimEnd();
}

export function applyEntry(state: MachineState, entry: Entry): MachineState {
  let commands = state.commands;
  if (entry.kind === 'commands') {
    for (const command of entry.commands) {
      commands = { id: commandId(command), index: entry.index, rest: commands };
    }
  }
  return {
    appliedIndex: entry.index,
    appliedTerm: entry.term,
    appliedTimeMs: entry.timeMs,
    hash: Math.imul(state.hash ^ entryHash(entry), 0x01000193) ^ (state.hash >>> 15),
    commands,
  };
}
