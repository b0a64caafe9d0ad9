// The head of a segment file: everything needed to start reading the log here.
//
// Owns: its layout. Each header repeats format, identity, HardState, base, generation, flush mark,
// recovering state and the chain, so that older segments can be dropped and damage can be voided.
//
// crc u32 over the rest of the extent · magic u32 · format u16 · zero u16 · sectors u32 · segment u64 ·
// body bytes u32 · zero u32 · body (JSON; metadata as base64 of its own codec) · padding
//
// Invariants: a header is durable, and the slots name its segment, before the first batch behind it is
// written; so a torn header has nothing behind it. The header's crc is the chain that the first batch
// continues.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import {
  decodeSnapshotMeta,
  encodeSnapshotMeta,
  type HardState,
  type RecoveringInfo,
  type SnapshotMeta,
} from '../../raft/index.ts';
import { LogError } from './errors.ts';
import type { Identity } from './identity.ts';
import {
  alignUp,
  asBuffer,
  FORMAT_VERSION,
  PAD_BYTE,
  readUint,
  SECTOR_BYTES,
  writeUint,
} from './layout.ts';
import { decodeInstalled, encodeInstalled, type FlushMark, type Installed } from './records.ts';

/** The segment that this one continues, and exactly where: what lies behind that point is void. */
export interface PreviousSegment {
  readonly sequence: number;
  readonly endOffset: number;
  readonly chain: number;
}

export interface SegmentHeader {
  readonly sequence: number;
  readonly hardState: HardState;
  /** Last index, term and time before this segment, and the configuration in effect there. */
  readonly base: SnapshotMeta;
  readonly generation: number;
  readonly flushMark: FlushMark | undefined;
  readonly installed: Installed | undefined;
  readonly recovering: RecoveringInfo | undefined;
  readonly previous: PreviousSegment | undefined;
}

const MAGIC = 0x41534547;
const PREAMBLE_BYTES = 32;
export const SEGMENT_HEADER_BYTES_MAX = 64 * 1024;

interface Body {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly birthId: string;
  readonly term: number;
  readonly vote: number | null;
  readonly base: string;
  readonly generation: number;
  readonly flushMark: { appliedIndex: number; ledger: number; digest: string } | null;
  readonly installed: string | null;
  readonly recovering: RecoveringInfo | null;
  readonly previous: PreviousSegment | null;
}

function base64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64');
}

function bodyOf(header: SegmentHeader, identity: Identity): Body {
  const { flushMark, installed } = header;
  return {
    clusterId: identity.clusterId,
    nodeId: identity.nodeId,
    birthId: identity.birthId,
    term: header.hardState.term,
    vote: header.hardState.vote ?? null,
    base: base64(encodeSnapshotMeta(header.base)),
    generation: header.generation,
    flushMark:
      flushMark === undefined ? null : { ...flushMark, digest: flushMark.digest.toString() },
    installed: installed === undefined ? null : base64(encodeInstalled(installed)),
    recovering: header.recovering ?? null,
    previous: header.previous ?? null,
  };
}

export function encodeSegmentHeader(header: SegmentHeader, identity: Identity): Uint8Array {
  const body = Buffer.from(JSON.stringify(bodyOf(header, identity)), 'utf8');
  const bytes = Buffer.alloc(alignUp(PREAMBLE_BYTES + body.length, SECTOR_BYTES), PAD_BYTE);
  if (bytes.length > SEGMENT_HEADER_BYTES_MAX) {
    throw new LogError('LOG_INVARIANT', `segment header of ${bytes.length} bytes`);
  }
  bytes.fill(0, 0, PREAMBLE_BYTES);
  bytes.writeUInt32BE(MAGIC, 4);
  bytes.writeUInt16BE(FORMAT_VERSION, 8);
  bytes.writeUInt32BE(bytes.length / SECTOR_BYTES, 12);
  writeUint(bytes, header.sequence, 16);
  bytes.writeUInt32BE(body.length, 24);
  body.copy(bytes, PREAMBLE_BYTES);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

export interface ParsedSegmentHeader {
  readonly header: SegmentHeader;
  readonly extentBytes: number;
  readonly chain: number;
}

/**
 * The header at the start of a segment file, or undefined when it is not whole.
 * @throws {UNKNOWN_FORMAT} or {IDENTITY_MISMATCH} when it is whole and not ours to read.
 */
export function parseSegmentHeader(
  bytes: Uint8Array,
  sequence: number,
  identity: Identity,
): ParsedSegmentHeader | undefined {
  const buffer = asBuffer(bytes);
  if (buffer.length < PREAMBLE_BYTES || buffer.readUInt32BE(4) !== MAGIC) return undefined;
  const extentBytes = buffer.readUInt32BE(12) * SECTOR_BYTES;
  if (extentBytes < PREAMBLE_BYTES || extentBytes > buffer.length) return undefined;
  const chain = buffer.readUInt32BE(0);
  if (crc32(buffer.subarray(4, extentBytes)) !== chain) return undefined;
  const format = buffer.readUInt16BE(8);
  if (format !== FORMAT_VERSION) {
    throw new LogError('UNKNOWN_FORMAT', `segment ${sequence} of format ${format}`);
  }
  const end = PREAMBLE_BYTES + buffer.readUInt32BE(24);
  const body = JSON.parse(buffer.toString('utf8', PREAMBLE_BYTES, end)) as Body;
  const { clusterId, nodeId, birthId } = body;
  const ours = clusterId === identity.clusterId && nodeId === identity.nodeId;
  if (!ours || birthId !== identity.birthId) {
    throw new LogError(
      'IDENTITY_MISMATCH',
      `segment ${sequence} belongs to node ${nodeId} (${birthId}) of cluster ${clusterId}`,
    );
  }
  if (readUint(buffer, 16) !== sequence) return undefined;
  return { header: headerOf(body, sequence), extentBytes, chain };
}

function headerOf(body: Body, sequence: number): SegmentHeader {
  const { flushMark, installed } = body;
  return {
    sequence,
    hardState: { term: body.term, vote: body.vote ?? undefined },
    base: decodeSnapshotMeta(Buffer.from(body.base, 'base64')),
    generation: body.generation,
    flushMark: flushMark === null ? undefined : { ...flushMark, digest: BigInt(flushMark.digest) },
    installed: installed === null ? undefined : decodeInstalled(Buffer.from(installed, 'base64')),
    recovering: body.recovering ?? undefined,
    previous: body.previous ?? undefined,
  };
}
