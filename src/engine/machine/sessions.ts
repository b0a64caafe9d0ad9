// Operation sessions: an operation runs once, however often its command is committed.
//
// Owns: which incarnation of each node may send operations, and the results of those whose sequence is
// still open at their sender.
//
// Invariants
//   O1. A command of a session that is not open never runs.
//   O2. A sequence below the lowest open one never runs and has no result: its sender has its answer,
//       or has given it up.
//   O3. Everything else runs at most once; its result is kept until O2 applies. No timer, no eviction.
//
// Results stand 16 sequences to a key: one key for all would rewrite every open result with each
// operation, one key each would cost a put and a tombstone per operation.

import { allocateBytes, packVersioned, unpackVersioned } from './format.ts';
import { sessionKey, sessionResultsKey } from './keyspace.ts';
import { decodeResult, encodeResult } from './result-codec.ts';
import type { Key, MutableState, OperationId, OperationResult } from './types.ts';

const SESSION_VERSION = 1;
const CHUNK_SEQS = 16;
const CHUNK_VERSION = 1;
const NO_RESULTS = new Uint8Array([CHUNK_VERSION]);
/** Position in the chunk, then the length of the result in two bytes. */
const RESULT_HEADER_BYTES = 3;
/** A sender never has more sequences open than this; one that does is refused (P8). */
const OPEN_SEQS_MAX = 1 << 20;

interface Session {
  readonly incarnation: number;
  readonly lowestOpenSeq: number;
  readonly highestSeq: number;
}

export type Admission =
  | { readonly kind: 'run' }
  | { readonly kind: 'repeat'; readonly result: OperationResult }
  | { readonly kind: 'closed' }
  | { readonly kind: 'refused' };

/** Keys that `admit` reads for an operation. */
export function sessionKeys(opId: OperationId): readonly Key[] {
  return [sessionKey(opId.nodeId), chunkKey(opId.nodeId, opId.incarnation, opId.seq)];
}

/** Sessions while one entry is applied: each is read once and written once, at `flush`. */
export class Sessions {
  readonly #state: MutableState;
  readonly #open = new Map<number, Session | undefined>();
  readonly #chunks = new Map<Key, Uint8Array>();
  readonly #changed = new Set<number>();

  constructor(state: MutableState) {
    this.#state = state;
  }

  /** Opens a node's session and ends its older ones. False: a newer one is open. */
  open(nodeId: number, incarnation: number): boolean {
    const session = this.#session(nodeId);
    if (session !== undefined && session.incarnation >= incarnation) {
      return session.incarnation === incarnation;
    }
    if (session !== undefined) {
      this.#forget(nodeId, session, session.highestSeq + CHUNK_SEQS);
    }
    this.#set(nodeId, { incarnation, lowestOpenSeq: 0, highestSeq: 0 });
    return true;
  }

  /** Whether an operation may run, and what it answered if it already did. */
  admit(opId: OperationId, lowestOpenSeq: number): Admission {
    const { nodeId, incarnation, seq } = opId;
    const session = this.#session(nodeId);
    if (session?.incarnation !== incarnation) return { kind: 'refused' };
    const lowest = Math.max(session.lowestOpenSeq, lowestOpenSeq);
    if (lowest > session.lowestOpenSeq) {
      this.#forget(nodeId, session, lowest);
      this.#set(nodeId, { ...session, lowestOpenSeq: lowest });
    }
    if (seq < lowest) return { kind: 'closed' };
    if (seq - lowest > OPEN_SEQS_MAX) return { kind: 'refused' };
    const result = findResult(this.#chunk(nodeId, incarnation, seq), seq % CHUNK_SEQS);
    return result === undefined ? { kind: 'run' } : { kind: 'repeat', result };
  }

  /** Remembers the result of an operation that `admit` let run. */
  remember(opId: OperationId, result: OperationResult): void {
    const { nodeId, incarnation, seq } = opId;
    const session = this.#session(nodeId);
    if (session === undefined) throw new Error(`node ${nodeId} has no session`);
    const chunk = this.#chunk(nodeId, incarnation, seq);
    const encoded = encodeResult(result);
    const bytes = allocateBytes(chunk.length + RESULT_HEADER_BYTES + encoded.length);
    bytes.set(chunk);
    bytes[0] = CHUNK_VERSION;
    bytes[chunk.length] = seq % CHUNK_SEQS;
    bytes[chunk.length + 1] = encoded.length >> 8;
    bytes[chunk.length + 2] = encoded.length & 0xff;
    bytes.set(encoded, chunk.length + RESULT_HEADER_BYTES);
    this.#chunks.set(chunkKey(nodeId, incarnation, seq), bytes);
    if (seq > session.highestSeq) this.#set(nodeId, { ...session, highestSeq: seq });
  }

  /** Writes what changed, in the order in which it was first touched. */
  flush(): void {
    for (const nodeId of this.#changed) {
      const session = this.#session(nodeId);
      if (session === undefined) continue;
      const { incarnation, lowestOpenSeq, highestSeq } = session;
      this.#state.put(
        sessionKey(nodeId),
        packVersioned(SESSION_VERSION, [incarnation, lowestOpenSeq, highestSeq]),
      );
    }
    for (const [key, bytes] of this.#chunks) this.#state.put(key, bytes);
  }

  #session(nodeId: number): Session | undefined {
    if (this.#open.has(nodeId)) return this.#open.get(nodeId);
    const bytes = this.#state.get(sessionKey(nodeId));
    let session: Session | undefined;
    if (bytes !== undefined) {
      const fields = unpackVersioned('session', SESSION_VERSION, bytes);
      const [incarnation, lowestOpenSeq, highestSeq] = fields as readonly [number, number, number];
      session = { incarnation, lowestOpenSeq, highestSeq };
    }
    this.#open.set(nodeId, session);
    return session;
  }

  #set(nodeId: number, session: Session): void {
    this.#open.set(nodeId, session);
    this.#changed.add(nodeId);
  }

  #chunk(nodeId: number, incarnation: number, seq: number): Uint8Array {
    const key = chunkKey(nodeId, incarnation, seq);
    return this.#chunks.get(key) ?? this.#state.get(key) ?? NO_RESULTS;
  }

  /** Deletes the chunks whose sequences are all below `belowSeq`. */
  #forget(nodeId: number, session: Session, belowSeq: number): void {
    const first = Math.floor(session.lowestOpenSeq / CHUNK_SEQS);
    const end = Math.floor(Math.min(belowSeq, session.highestSeq + CHUNK_SEQS) / CHUNK_SEQS);
    for (let chunk = first; chunk < end; chunk += 1) {
      const key = sessionResultsKey(nodeId, session.incarnation, chunk);
      this.#chunks.delete(key);
      this.#state.delete(key);
    }
  }
}

function chunkKey(nodeId: number, incarnation: number, seq: number): Key {
  return sessionResultsKey(nodeId, incarnation, Math.floor(seq / CHUNK_SEQS));
}

function findResult(chunk: Uint8Array, position: number): OperationResult | undefined {
  let at = 1;
  while (at + RESULT_HEADER_BYTES <= chunk.length) {
    const length = ((chunk[at + 1] ?? 0) << 8) | (chunk[at + 2] ?? 0);
    const start = at + RESULT_HEADER_BYTES;
    if (chunk[at] === position) return decodeResult(chunk.subarray(start, start + length));
    at = start + length;
  }
  return undefined;
}
