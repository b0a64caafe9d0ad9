// Who is at the other end: the first frame in each direction of every connection.
//
// Owns: the content of hello, welcome and refuse, and the judgement of both sides. Does not own:
// when they are sent.
//
// Invariants: nothing is read from or written to a connection before both sides agreed on cluster,
// node ids, birth ids and protocol version (identity from the first day; bugs D14, D15 of the raft
// literature: reused ids and foreign clusters split brains); a process that is older than one
// already seen of the same node is refused, so that a zombie cannot speak for it.
//
// Layout: magic u32, version u16, then JSON, which this version and later ones may extend.

import { Buffer } from 'node:buffer';
import type { BootId, NodeId } from '../../raft/index.ts';

const MAGIC = 0x41534e54;
const PROTOCOL_VERSION = 1;
const PREFIX_BYTES = 6;

export const LANES = ['control', 'append', 'forward', 'snapshot'] as const;
export type Lane = (typeof LANES)[number];

export interface SelfIdentity {
  readonly nodeId: NodeId;
  readonly birthId: string;
  readonly clusterId: string;
  readonly bootId: BootId;
}

export interface Hello extends SelfIdentity {
  readonly lane: Lane;
  /** Whom the sender means to speak to. */
  readonly toNodeId: NodeId;
  /** Empty when the sender does not know it. */
  readonly toBirthId: string;
}

export const REFUSAL_CODES = [
  'badMagic',
  'unknownVersion',
  'malformed',
  'foreignCluster',
  'unknownPeer',
  'wrongNode',
  'wrongBirthId',
  'olderBoot',
  'notReady',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
}

export type Judged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: Refusal };

/** What this node knows of a peer. */
export interface KnownPeer {
  readonly nodeId: NodeId;
  /** Undefined: not known yet, so not checked. */
  readonly birthId: string | undefined;
  /** Newest boot seen, by either direction. */
  readonly bootId: BootId | undefined;
}

export function encodeHello(hello: Hello): Buffer {
  return encodeIdentified(hello);
}

export function encodeWelcome(self: SelfIdentity): Buffer {
  return encodeIdentified(self);
}

function encodeIdentified(content: object): Buffer {
  const body = Buffer.from(JSON.stringify(content), 'utf8');
  const bytes = Buffer.alloc(PREFIX_BYTES + body.length);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt16BE(PROTOCOL_VERSION, 4);
  bytes.set(body, PREFIX_BYTES);
  return bytes;
}

export function encodeRefusal(refusal: Refusal): Buffer {
  return Buffer.from(JSON.stringify(refusal), 'utf8');
}

export function decodeRefusal(payload: Buffer): Refusal {
  const content = parseObject(payload);
  const code = REFUSAL_CODES.find((known) => known === content?.['code']);
  const message = content?.['message'];
  return {
    code: code ?? 'malformed',
    message: typeof message === 'string' ? message : 'refused without a reason',
  };
}

/** The accepting side's judgement of a hello. */
export function judgeHello(
  payload: Buffer,
  self: SelfIdentity,
  find: (nodeId: NodeId) => KnownPeer | undefined,
): Judged<Hello> {
  const content = readIdentified(payload);
  if (!content.ok) return content;
  const sender = readIdentity(content.value);
  const lane = LANES.find((known) => known === content.value['lane']);
  const toNodeId = content.value['toNodeId'];
  const toBirthId = content.value['toBirthId'];
  if (
    sender === undefined ||
    lane === undefined ||
    typeof toNodeId !== 'number' ||
    typeof toBirthId !== 'string'
  ) {
    return refuse('malformed', 'the hello lacks a field');
  }
  if (sender.clusterId === self.clusterId && toNodeId !== self.nodeId) {
    return refuse('wrongNode', `this is node ${self.nodeId}, not node ${toNodeId}`);
  }
  if (toBirthId !== '' && toBirthId !== self.birthId && sender.clusterId === self.clusterId) {
    return refuse('wrongBirthId', `node ${self.nodeId} was formatted anew since it was admitted`);
  }
  const refusal = judgeSender(sender, self, find(sender.nodeId));
  if (refusal !== undefined) return { ok: false, refusal };
  return { ok: true, value: { ...sender, lane, toNodeId, toBirthId } };
}

/** The connecting side's judgement of a welcome. */
export function judgeWelcome(
  payload: Buffer,
  self: SelfIdentity,
  peer: KnownPeer,
): Judged<SelfIdentity> {
  const content = readIdentified(payload);
  if (!content.ok) return content;
  const sender = readIdentity(content.value);
  if (sender === undefined) return refuse('malformed', 'the welcome lacks a field');
  if (sender.clusterId === self.clusterId && sender.nodeId !== peer.nodeId) {
    return refuse('wrongNode', `node ${sender.nodeId} answers at the address of ${peer.nodeId}`);
  }
  const refusal = judgeSender(sender, self, peer);
  return refusal === undefined ? { ok: true, value: sender } : { ok: false, refusal };
}

function judgeSender(
  sender: SelfIdentity,
  self: SelfIdentity,
  known: KnownPeer | undefined,
): Refusal | undefined {
  if (sender.clusterId !== self.clusterId) {
    return {
      code: 'foreignCluster',
      message: `cluster ${sender.clusterId} is not cluster ${self.clusterId}`,
    };
  }
  if (known === undefined || sender.nodeId === self.nodeId) {
    return { code: 'unknownPeer', message: `node ${sender.nodeId} is not a member here` };
  }
  if (known.birthId !== undefined && known.birthId !== sender.birthId) {
    return {
      code: 'wrongBirthId',
      message: `node ${sender.nodeId} was formatted anew since it was admitted`,
    };
  }
  if (known.bootId !== undefined && sender.bootId < known.bootId) {
    return {
      code: 'olderBoot',
      message: `boot ${sender.bootId} of node ${sender.nodeId} is older than ${known.bootId}`,
    };
  }
  return undefined;
}

function refuse(code: RefusalCode, message: string): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: { code, message } };
}

type Fields = Readonly<Record<string, unknown>>;

function readIdentified(payload: Buffer): Judged<Fields> {
  if (payload.length < PREFIX_BYTES || payload.readUInt32BE(0) !== MAGIC) {
    return refuse('badMagic', 'this is not an Assent peer');
  }
  const version = payload.readUInt16BE(4);
  if (version !== PROTOCOL_VERSION) {
    return refuse(
      'unknownVersion',
      `peer protocol ${version} is unknown here, ${PROTOCOL_VERSION} is spoken`,
    );
  }
  const content = parseObject(payload.subarray(PREFIX_BYTES));
  if (content === undefined) return refuse('malformed', 'the handshake is not readable');
  return { ok: true, value: content };
}

function readIdentity(content: Fields): SelfIdentity | undefined {
  const { nodeId, birthId, clusterId, bootId } = content as Partial<
    Record<keyof SelfIdentity, unknown>
  >;
  if (typeof nodeId !== 'number' || !Number.isSafeInteger(nodeId)) return undefined;
  if (typeof bootId !== 'number' || !Number.isSafeInteger(bootId)) return undefined;
  if (typeof birthId !== 'string' || typeof clusterId !== 'string') return undefined;
  return { nodeId, birthId, clusterId, bootId };
}

function parseObject(bytes: Buffer): Fields | undefined {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return parsed !== null && typeof parsed === 'object' ? (parsed as Fields) : undefined;
  } catch {
    // Not JSON is one of the ways of being malformed; the caller says so.
    return undefined;
  }
}
