// The binary form of a log entry: the same bytes in the log and on the way to every peer.
//
// Owns: the entry format and the cache that lets an entry be encoded once. Does not own: record
// headers and checksums (the log's), frames (the transport's).
//
// Layout, big-endian: version u8, kind u8, index u64, term u64, time u64 (ms), then
//   commands: count u32, then per command length u32 and bytes; at least one
//   noop: nothing
//   configuration: the bytes of meta-codec.ts to the end
//
// Invariants: entries are immutable once made (raft paper Fig. 3, Log Matching), so cached bytes
// never go stale; decoded commands are views of the input, which must not be written to afterwards.

import type { CommandsEntry, Entry } from '../core/index.ts';
import { ByteReader, ByteWriter, CodecError } from './bytes.ts';
import { decodeConfiguration, encodeConfiguration } from './meta-codec.ts';

const ENTRY_VERSION = 1;
const KIND_COMMANDS = 1;
const KIND_NOOP = 2;
const KIND_CONFIGURATION = 3;
const HEADER_BYTES = 2 + 3 * 8;

const encodedEntries = new WeakMap<Entry, Uint8Array>();

/** The encoded form; repeated calls with the same entry return the same bytes. */
export function encodeEntry(entry: Entry): Uint8Array {
  const cached = encodedEntries.get(entry);
  if (cached !== undefined) return cached;
  const bytes = encodeFresh(entry);
  encodedEntries.set(entry, bytes);
  return bytes;
}

/** @throws {CodecError} when the bytes are not one whole entry of a known version and kind. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== ENTRY_VERSION) {
    throw new CodecError('unknownVersion', `entry of version ${version}`);
  }
  const kind = reader.u8();
  const index = reader.uint();
  const term = reader.uint();
  const timeMs = reader.uint();
  const entry = readBody(reader, kind, { index, term, timeMs });
  encodedEntries.set(entry, bytes);
  return entry;
}

type EntryPosition = Pick<Entry, 'index' | 'term' | 'timeMs'>;

function readBody(reader: ByteReader, kind: number, position: EntryPosition): Entry {
  switch (kind) {
    case KIND_COMMANDS: {
      const count = reader.count(4);
      if (count === 0) throw new CodecError('malformed', 'an entry of no commands');
      const commands: Uint8Array[] = [];
      for (let i = 0; i < count; i++) commands.push(reader.counted());
      reader.end();
      return { ...position, kind: 'commands', commands };
    }
    case KIND_NOOP:
      reader.end();
      return { ...position, kind: 'noop' };
    case KIND_CONFIGURATION:
      return {
        ...position,
        kind: 'configuration',
        configuration: decodeConfiguration(reader.raw(reader.remaining)),
      };
    default:
      throw new CodecError('unknownKind', `entry of kind ${kind}`);
  }
}

function encodeFresh(entry: Entry): Uint8Array {
  switch (entry.kind) {
    case 'commands':
      return encodeCommands(entry);
    case 'noop': {
      const writer = new ByteWriter(HEADER_BYTES);
      writeHeader(writer, KIND_NOOP, entry);
      return writer.finish();
    }
    case 'configuration': {
      const configuration = encodeConfiguration(entry.configuration);
      const writer = new ByteWriter(HEADER_BYTES + configuration.length);
      writeHeader(writer, KIND_CONFIGURATION, entry);
      writer.raw(configuration);
      return writer.finish();
    }
  }
}

function encodeCommands(entry: CommandsEntry): Uint8Array {
  if (entry.commands.length === 0) throw new CodecError('malformed', 'an entry of no commands');
  let size = HEADER_BYTES + 4;
  for (const command of entry.commands) size += 4 + command.length;
  const writer = new ByteWriter(size);
  writeHeader(writer, KIND_COMMANDS, entry);
  writer.u32(entry.commands.length);
  for (const command of entry.commands) writer.counted(command);
  return writer.finish();
}

function writeHeader(writer: ByteWriter, kind: number, entry: Entry): void {
  writer.u8(ENTRY_VERSION);
  writer.u8(kind);
  writer.uint(entry.index);
  writer.uint(entry.term);
  writer.uint(entry.timeMs);
}
