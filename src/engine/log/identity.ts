// Who a data directory belongs to.
//
// Owns: the identity file, written once by formatting, in two copies so that one flipped bit does not
// cost a node its life. Does not own: votes and boot ids (slots.ts).
//
// A copy: crc u32 · magic u32 · format u16 · zero u16 · length u32 · JSON. The crc covers all behind it.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import type { Configuration, Member, NodeId } from '../../raft/index.ts';
import { LogError } from './errors.ts';
import { asBuffer, FORMAT_VERSION } from './layout.ts';
import type { FileHandle } from './ports.ts';

export interface Identity {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  /** Random, made at formatting: a wiped directory is told from the one that voted. */
  readonly birthId: string;
  /** The voters that the cluster starts with, this node among them or not, with birth ids. */
  readonly voters: readonly Member[];
}

const MAGIC = 0x41534944;
const HEADER_BYTES = 16;
const COPY_BYTES_MAX = 32 * 1024;

/** Binds checksums of batches and slots to this directory: bytes of another one never validate. */
export function identitySeed(identity: Identity): number {
  return crc32(`${identity.clusterId}\n${identity.nodeId}\n${identity.birthId}`);
}

/** The configuration in effect before any configuration entry. */
export function initialConfiguration(identity: Identity): Configuration {
  const members = [...identity.voters].sort((a, b) => a.nodeId - b.nodeId);
  return {
    voters: members.map((member) => member.nodeId),
    outgoing: [],
    learners: [],
    learnersNext: [],
    members,
  };
}

export function encodeIdentity(identity: Identity): Uint8Array {
  const body = Buffer.from(JSON.stringify(identity), 'utf8');
  if (HEADER_BYTES + body.length > COPY_BYTES_MAX) {
    throw new LogError('LOG_INVARIANT', `identity of ${body.length} bytes is too large`);
  }
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUInt32BE(MAGIC, 4);
  bytes.writeUInt16BE(FORMAT_VERSION, 8);
  bytes.writeUInt32BE(body.length, 12);
  body.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

function decodeCopy(bytes: Buffer): Identity | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(4) !== MAGIC) return undefined;
  const end = HEADER_BYTES + bytes.readUInt32BE(12);
  if (end > bytes.length || crc32(bytes.subarray(4, end)) !== bytes.readUInt32BE(0)) {
    return undefined;
  }
  const format = bytes.readUInt16BE(8);
  if (format !== FORMAT_VERSION) {
    throw new LogError('UNKNOWN_FORMAT', `data directory of format ${format}`);
  }
  return JSON.parse(bytes.toString('utf8', HEADER_BYTES, end)) as Identity;
}

/** Writes and syncs both copies. */
export async function writeIdentity(handle: FileHandle, identity: Identity): Promise<void> {
  const bytes = encodeIdentity(identity);
  await handle.writeAt(0, bytes);
  await handle.writeAt(COPY_BYTES_MAX, bytes);
  await handle.datasync();
}

/**
 * The identity, from whichever copy is whole; `damaged` when the other one is not.
 * @throws {IDENTITY_LOST} when neither is; {UNKNOWN_FORMAT}.
 */
export async function readIdentity(
  handle: FileHandle,
): Promise<{ readonly identity: Identity; readonly damaged: boolean }> {
  const first = decodeCopy(asBuffer(await handle.readAt(0, COPY_BYTES_MAX)));
  const second = decodeCopy(asBuffer(await handle.readAt(COPY_BYTES_MAX, COPY_BYTES_MAX)));
  const identity = first ?? second;
  if (identity === undefined) {
    throw new LogError('IDENTITY_LOST', `both copies in ${handle.path} are damaged`);
  }
  return { identity, damaged: first === undefined || second === undefined };
}
