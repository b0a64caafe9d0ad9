// The binary form of the messages between Raft nodes.
//
// Owns: every message's layout. Does not own: frames, connections, checksums of the wire (the
// transport's) and the entries inside an append (entry-codec.ts).
//
// Layout, big-endian: version u8, kind u8, from u64, to u64, term u64, fromBoot u64, then the fields
// of the kind in the order in which `writeBody` writes them.
//
// Invariants: a decoded append is contiguous after its `prevLogIndex` (bugs C16 and C17 of the raft
// literature: a gap here is a hole in the follower's log); entry bytes are views of the frame.

import type { AppendEntries, Entry, Message } from '../core/index.ts';
import { ByteReader, ByteWriter, CodecError } from './bytes.ts';
import { decodeEntry, encodeEntry } from './entry-codec.ts';

const MESSAGE_VERSION = 1;
const UINT_BYTES = 8;
const HEADER_BYTES = 2 + 4 * UINT_BYTES;
const APPEND_HEADER_BYTES = 4 * UINT_BYTES + 4;

const KIND_CODES = {
  preVote: 1,
  preVoteResponse: 2,
  requestVote: 3,
  requestVoteResponse: 4,
  appendEntries: 5,
  appendEntriesResponse: 6,
  heartbeat: 7,
  heartbeatResponse: 8,
  timeoutNow: 9,
  readIndexRequest: 10,
  readIndexResponse: 11,
} as const satisfies Record<Message['kind'], number>;

const KINDS = new Map<number, Message['kind']>(
  (Object.keys(KIND_CODES) as Message['kind'][]).map((kind) => [KIND_CODES[kind], kind]),
);

/**
 * The encoded message, behind `headroom` free bytes for the frame that will carry it.
 * @throws {CodecError} when a number of the message is not a safe integer.
 */
export function encodeMessage(message: Message, headroom = 0): Uint8Array {
  const writer = new ByteWriter(HEADER_BYTES + bodySize(message), headroom);
  writer.u8(MESSAGE_VERSION);
  writer.u8(KIND_CODES[message.kind]);
  writer.uint(message.from);
  writer.uint(message.to);
  writer.uint(message.term);
  writer.uint(message.fromBoot);
  writeBody(writer, message);
  return writer.finish();
}

function bodySize(message: Message): number {
  switch (message.kind) {
    case 'preVote':
      return 3 * UINT_BYTES;
    case 'preVoteResponse':
      return 1 + UINT_BYTES;
    case 'requestVote':
      return 2 * UINT_BYTES + 1;
    case 'requestVoteResponse':
      return 2 + (message.wallMs === undefined ? 0 : UINT_BYTES);
    case 'appendEntries':
      return message.entries.reduce(
        (size, entry) => size + 4 + encodeEntry(entry).length,
        APPEND_HEADER_BYTES,
      );
    case 'appendEntriesResponse':
      return UINT_BYTES + 1 + (message.result.accepted ? 1 : 3) * UINT_BYTES;
    case 'heartbeat':
      return 3 * UINT_BYTES;
    case 'heartbeatResponse':
      return 2 * UINT_BYTES;
    case 'timeoutNow':
      return 0;
    case 'readIndexRequest':
      return UINT_BYTES;
    case 'readIndexResponse':
      return UINT_BYTES + 1 + (message.index === undefined ? 0 : UINT_BYTES);
  }
}

function writeBody(writer: ByteWriter, message: Message): void {
  switch (message.kind) {
    case 'preVote':
      writer.uint(message.round);
      writer.uint(message.lastLogIndex);
      writer.uint(message.lastLogTerm);
      return;
    case 'preVoteResponse':
      writer.u8(message.granted ? 1 : 0);
      writer.uint(message.round);
      return;
    case 'requestVote':
      writer.uint(message.lastLogIndex);
      writer.uint(message.lastLogTerm);
      writer.u8(message.transfer ? 1 : 0);
      return;
    case 'requestVoteResponse':
      writer.u8(message.granted ? 1 : 0);
      writeOptional(writer, message.wallMs);
      return;
    case 'appendEntries':
      writeAppend(writer, message);
      return;
    case 'appendEntriesResponse':
      writer.uint(message.toBoot);
      writer.u8(message.result.accepted ? 1 : 0);
      if (message.result.accepted) {
        writer.uint(message.result.matchIndex);
      } else {
        writer.uint(message.result.rejectedIndex);
        writer.uint(message.result.hintIndex);
        writer.uint(message.result.hintTerm);
      }
      return;
    case 'heartbeat':
      writer.uint(message.round);
      writer.uint(message.commitIndex);
      writer.uint(message.commitTerm);
      return;
    case 'heartbeatResponse':
      writer.uint(message.round);
      writer.uint(message.wallMs);
      return;
    case 'timeoutNow':
      return;
    case 'readIndexRequest':
      writer.uint(message.requestId);
      return;
    case 'readIndexResponse':
      writer.uint(message.requestId);
      writeOptional(writer, message.index);
  }
}

/** A flag, and the number if there is one. */
function writeOptional(writer: ByteWriter, value: number | undefined): void {
  writer.u8(value === undefined ? 0 : 1);
  if (value !== undefined) writer.uint(value);
}

function writeAppend(writer: ByteWriter, message: AppendEntries): void {
  writer.uint(message.prevLogIndex);
  writer.uint(message.prevLogTerm);
  writer.uint(message.commitIndex);
  writer.uint(message.commitTerm);
  writer.u32(message.entries.length);
  for (const entry of message.entries) writer.counted(encodeEntry(entry));
}

/** @throws {CodecError} when the bytes are not one whole message of a known version and kind. */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== MESSAGE_VERSION) {
    throw new CodecError('unknownVersion', `message of version ${version}`);
  }
  const code = reader.u8();
  const kind = KINDS.get(code);
  if (kind === undefined) throw new CodecError('unknownKind', `message of kind ${code}`);
  const from = reader.uint();
  const to = reader.uint();
  const term = reader.uint();
  const fromBoot = reader.uint();
  const message = readBody(reader, kind, { from, to, term, fromBoot });
  reader.end();
  return message;
}

type Envelope = Pick<Message, 'from' | 'to' | 'term' | 'fromBoot'>;

// Object literals evaluate their properties in order, which is the order of the fields.
function readBody(reader: ByteReader, kind: Message['kind'], envelope: Envelope): Message {
  switch (kind) {
    case 'preVote':
      return {
        ...envelope,
        kind,
        round: reader.uint(),
        lastLogIndex: reader.uint(),
        lastLogTerm: reader.uint(),
      };
    case 'preVoteResponse':
      return { ...envelope, kind, granted: reader.bool(), round: reader.uint() };
    case 'requestVote':
      return {
        ...envelope,
        kind,
        lastLogIndex: reader.uint(),
        lastLogTerm: reader.uint(),
        transfer: reader.bool(),
      };
    case 'requestVoteResponse':
      return {
        ...envelope,
        kind,
        granted: reader.bool(),
        ...(reader.bool() ? { wallMs: reader.uint() } : {}),
      };
    case 'appendEntries':
      return readAppend(reader, envelope);
    case 'appendEntriesResponse':
      return readAppendResponse(reader, envelope);
    case 'heartbeat':
      return {
        ...envelope,
        kind,
        round: reader.uint(),
        commitIndex: reader.uint(),
        commitTerm: reader.uint(),
      };
    case 'heartbeatResponse':
      return { ...envelope, kind, round: reader.uint(), wallMs: reader.uint() };
    case 'timeoutNow':
      return { ...envelope, kind };
    case 'readIndexRequest':
      return { ...envelope, kind, requestId: reader.uint() };
    case 'readIndexResponse':
      return {
        ...envelope,
        kind,
        requestId: reader.uint(),
        index: reader.bool() ? reader.uint() : undefined,
      };
  }
}

function readAppend(reader: ByteReader, envelope: Envelope): Message {
  const prevLogIndex = reader.uint();
  const prevLogTerm = reader.uint();
  const commitIndex = reader.uint();
  const commitTerm = reader.uint();
  const count = reader.count(4);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const entry = decodeEntry(reader.counted());
    if (entry.index !== prevLogIndex + 1 + i) {
      throw new CodecError('malformed', `entry ${entry.index} does not follow ${prevLogIndex + i}`);
    }
    entries.push(entry);
  }
  return {
    ...envelope,
    kind: 'appendEntries',
    prevLogIndex,
    prevLogTerm,
    entries,
    commitIndex,
    commitTerm,
  };
}

function readAppendResponse(reader: ByteReader, envelope: Envelope): Message {
  const toBoot = reader.uint();
  const accepted = reader.bool();
  return {
    ...envelope,
    kind: 'appendEntriesResponse',
    toBoot,
    result: accepted
      ? { accepted, matchIndex: reader.uint() }
      : {
          accepted,
          rejectedIndex: reader.uint(),
          hintIndex: reader.uint(),
          hintTerm: reader.uint(),
        },
  };
}
