// The binary form of configurations and snapshot metadata.
//
// Owns: the bytes that describe a configuration (thesis §4) inside entries, segment headers,
// `Installed` records and snapshot streams. Does not own: entries (entry-codec.ts).
//
// Invariants: version byte first; a reader refuses what it does not know, it never guesses.

import { Buffer } from 'node:buffer';
import type { Configuration, Member, NodeId, SnapshotMeta } from '../core/index.ts';
import { ByteReader, ByteWriter, CodecError } from './bytes.ts';

const CONFIGURATION_VERSION = 1;
const SNAPSHOT_META_VERSION = 1;
const UINT_BYTES = 8;
const BIRTH_ID_BYTES_MAX = 0xffff;

function idsSize(ids: readonly NodeId[]): number {
  return 4 + ids.length * UINT_BYTES;
}

function writeIds(writer: ByteWriter, ids: readonly NodeId[]): void {
  writer.u32(ids.length);
  for (const id of ids) writer.uint(id);
}

function readIds(reader: ByteReader): NodeId[] {
  const count = reader.count(UINT_BYTES);
  const ids: NodeId[] = [];
  for (let i = 0; i < count; i++) ids.push(reader.uint());
  return ids;
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const births = configuration.members.map((member) => Buffer.from(member.birthId, 'utf8'));
  let size = 1 + 4;
  const { voters, outgoing, learners, learnersNext } = configuration;
  for (const ids of [voters, outgoing, learners, learnersNext]) size += idsSize(ids);
  for (const birth of births) {
    if (birth.length > BIRTH_ID_BYTES_MAX) throw new CodecError('malformed', 'birth id too long');
    size += UINT_BYTES + 2 + birth.length;
  }
  const writer = new ByteWriter(size);
  writer.u8(CONFIGURATION_VERSION);
  for (const ids of [voters, outgoing, learners, learnersNext]) writeIds(writer, ids);
  writer.u32(configuration.members.length);
  configuration.members.forEach((member, position) => {
    const birth = births[position] ?? Buffer.alloc(0);
    writer.uint(member.nodeId);
    writer.u16(birth.length);
    writer.raw(birth);
  });
  return writer.finish();
}

/** @throws {CodecError} */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== CONFIGURATION_VERSION) {
    throw new CodecError('unknownVersion', `configuration of version ${version}`);
  }
  const voters = readIds(reader);
  const outgoing = readIds(reader);
  const learners = readIds(reader);
  const learnersNext = readIds(reader);
  const count = reader.count(UINT_BYTES + 2);
  const members: Member[] = [];
  for (let i = 0; i < count; i++) {
    const nodeId = reader.uint();
    const birthId = Buffer.from(reader.raw(reader.u16())).toString('utf8');
    members.push({ nodeId, birthId });
  }
  reader.end();
  return { voters, outgoing, learners, learnersNext, members };
}

export function encodeSnapshotMeta(meta: SnapshotMeta): Uint8Array {
  const configuration = encodeConfiguration(meta.configuration);
  const writer = new ByteWriter(1 + 3 * UINT_BYTES + 4 + configuration.length);
  writer.u8(SNAPSHOT_META_VERSION);
  writer.uint(meta.index);
  writer.uint(meta.term);
  writer.uint(meta.timeMs);
  writer.counted(configuration);
  return writer.finish();
}

/** @throws {CodecError} */
export function decodeSnapshotMeta(bytes: Uint8Array): SnapshotMeta {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== SNAPSHOT_META_VERSION) {
    throw new CodecError('unknownVersion', `snapshot metadata of version ${version}`);
  }
  const index = reader.uint();
  const term = reader.uint();
  const timeMs = reader.uint();
  const configuration = decodeConfiguration(reader.counted());
  reader.end();
  return { index, term, timeMs, configuration };
}
