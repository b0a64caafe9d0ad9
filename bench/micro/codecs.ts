// Encoding and decoding of what crosses the log and the peer link.

import type { Bench } from 'tinybench';
import { decodeCommand, encodeCommand } from '../../src/engine/machine/index.ts';
import {
  decodeEntry,
  decodeMessage,
  encodeEntry,
  encodeMessage,
  type Message,
} from '../../src/raft/index.ts';
import { advanceOf, entryOf, submitOf } from './samples.ts';

export function addCodecs(bench: Bench): void {
  const submit = submitOf(1);
  const advance = advanceOf(1, 1_700_000_000_000);
  const submitBytes = encodeCommand(submit);
  const advanceBytes = encodeCommand(advance);
  const entry = entryOf(1, 32);
  const entryBytes = encodeEntry(entry);
  const message: Message = {
    kind: 'appendEntries',
    from: 1,
    to: 2,
    term: 1,
    fromBoot: 1,
    prevLogIndex: 0,
    prevLogTerm: 0,
    entries: [entry],
    commitIndex: 0,
    commitTerm: 0,
  };
  const messageBytes = encodeMessage(message);
  bench
    .add('command: encode a submit', () => void encodeCommand(submit))
    .add('command: decode a submit', () => void decodeCommand(submitBytes))
    .add('command: encode an advance', () => void encodeCommand(advance))
    .add('command: decode an advance', () => void decodeCommand(advanceBytes))
    // A copy, because an entry remembers its bytes.
    .add('entry of 32 submits: encode', () => void encodeEntry({ ...entry }))
    .add('entry of 32 submits: decode', () => void decodeEntry(entryBytes))
    .add('append of that entry: encode', () => void encodeMessage(message))
    .add('append of that entry: decode', () => void decodeMessage(messageBytes));
}
