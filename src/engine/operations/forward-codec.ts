// The frames of the forwarding lane: a command handed to the leader, and what became of it.
//
// A command is forwarded, never a client's request: it has been parsed and checked where it arrived.

import type { DropReason, ProposeResult } from '../../raft/index.ts';

const FORWARD_FORMAT = 1;
const REPLY_BYTES = 1 + 1 + 8 + 8 + 8;
const REASONS = [
  'notLeader',
  'transferring',
  'overloaded',
  'admissionClosed',
] as const satisfies readonly DropReason[];

export class ForwardFormatError extends Error {
  readonly code = 'FORWARD_FORMAT';
}

export type Lane = 'admission' | 'progress';

/** format u8 · lane u8 (only the admission lane is ever refused for load) · encoded command. */
export function encodeForward(command: Uint8Array, lane: Lane): Uint8Array {
  const bytes = new Uint8Array(2 + command.length);
  bytes[0] = FORWARD_FORMAT;
  bytes[1] = lane === 'admission' ? 0 : 1;
  bytes.set(command, 2);
  return bytes;
}

export function decodeForward(bytes: Uint8Array): {
  readonly command: Uint8Array;
  readonly lane: Lane;
} {
  if (bytes[0] !== FORWARD_FORMAT || bytes.length < 2) {
    throw new ForwardFormatError(
      `forwarded frame has format ${String(bytes[0])}, expected ${FORWARD_FORMAT}`,
    );
  }
  return { command: bytes.subarray(2), lane: bytes[1] === 0 ? 'admission' : 'progress' };
}

/** format u8 · kind u8 (0 accepted, else 1 + reason) · term f64 · index f64 · leaderId f64. */
export function encodeForwardReply(result: ProposeResult): Uint8Array {
  const bytes = new Uint8Array(REPLY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FORWARD_FORMAT);
  view.setUint8(1, result.accepted ? 0 : 1 + REASONS.indexOf(result.reason));
  view.setFloat64(2, result.term);
  view.setFloat64(10, result.accepted ? result.index : 0);
  view.setFloat64(18, result.accepted ? 0 : (result.leaderId ?? 0));
  return bytes;
}

export function decodeForwardReply(bytes: Uint8Array): ProposeResult {
  if (bytes.length !== REPLY_BYTES || bytes[0] !== FORWARD_FORMAT) {
    throw new ForwardFormatError(`reply of ${bytes.length} bytes with format ${String(bytes[0])}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = view.getUint8(1);
  const term = view.getFloat64(2);
  if (kind === 0) return { accepted: true, term, index: view.getFloat64(10) };
  const reason = REASONS[kind - 1];
  if (reason === undefined) throw new ForwardFormatError(`reply of unknown kind ${kind}`);
  const leaderId = view.getFloat64(18);
  return { accepted: false, reason, term, leaderId: leaderId === 0 ? undefined : leaderId };
}
