// The keys of the replicated state, below the store's own (0x00).
//
// Owns: every key that apply writes, the ranges that answer questions, and key → gid.
// Does not own: values (record-codec.ts), paging through the listing (listing.ts).
//
// Invariants
//   K1. A gid is its UTF-8 bytes and always the last part of a key, after parts of fixed width, so no
//       gid can be mistaken for another or hide it (defect 12.5), whatever bytes it has.
//   K2. Order within a range is the order of bytes. Times are 48 bits, most significant first; newest
//       first is the complement.
//   K3. Every unfinished transaction has exactly one due key: the due index is also the list of
//       active ones.
//
//   0x01 gid                              definition
//   0x02 gid                              state
//   0x03 status type ~createTime gid      listing: by status, type and creation time, newest first
//   0x04 due gid                          unfinished ones by the time they must be looked at
//   0x05 expiry gid                       finished ones by the end of their retention
//   0x06 target 00 01 class gid           what is stuck on which target, by class of error
//   0x07 node                             a node's operation session
//   0x08 node incarnation chunk           results of its operations, 16 sequences to a key
//   0x09 topic                            its subscribers, by name
//
// A transaction that lives shortly costs four keys in the end: definition, state, listing, expiry.

import { textProblem } from './text-problem.ts';
import type { Attempt, Key, TransactionStatus, TransactionType } from './types.ts';
import { OUTCOMES, TRANSACTION_STATUSES, TRANSACTION_TYPES } from './words.ts';

const DEFINITION = '\x01';
const STATE = '\x02';
const LISTING = '\x03';
const DUE = '\x04';
const EXPIRY = '\x05';
const STUCK = '\x06';
const SESSION = '\x07';
const SESSION_RESULTS = '\x08';
const TOPIC = '\x09';

/** Times and counters in keys are below this: 48 bits, some 8,900 years in milliseconds. */
const U48_MAX = 2 ** 48 - 1;
const TIME_BYTES = 6;
const LISTING_TIME_AT = 3;

/** Half-open: `gte ≤ key < lt`. */
export interface KeyRange {
  readonly gte: Key;
  readonly lt: Key;
}

// ---------------------------------------------------------------------------------------- gids

/** The longest gid, in bytes of UTF-8. */
export const GID_BYTES_MAX = 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes of a gid as a latin1 string; an ASCII gid is its own. */
export function gidBytes(gid: string): string {
  let ascii = true;
  for (let at = 0; at < gid.length && ascii; at += 1) ascii = gid.charCodeAt(at) < 0x80;
  if (ascii) return gid;
  let bytes = '';
  for (const byte of encoder.encode(gid)) bytes += String.fromCharCode(byte);
  return bytes;
}

export function gidOfBytes(bytes: string): string {
  const encoded = new Uint8Array(bytes.length);
  let ascii = true;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes.charCodeAt(at);
    encoded[at] = byte;
    if (byte >= 0x80) ascii = false;
  }
  return ascii ? bytes : decoder.decode(encoded);
}

/** What is wrong with a gid, or undefined. */
export function gidProblem(gid: string): string | undefined {
  return nameProblem('gid', gid);
}

function nameProblem(what: string, name: string): string | undefined {
  return name === '' ? `${what} is empty` : textProblem(what, name, GID_BYTES_MAX);
}

// ------------------------------------------------------------------------------- transactions

export function definitionKey(gid: string): Key {
  return DEFINITION + gidBytes(gid);
}

export function stateKey(gid: string): Key {
  return STATE + gidBytes(gid);
}

/** All definitions, by gid. */
export function definitionRange(): KeyRange {
  return prefixRange(DEFINITION);
}

export function gidOfDefinitionKey(key: Key): string {
  return gidOfBytes(key.slice(1));
}

export function listingKey(
  status: TransactionStatus,
  type: TransactionType,
  createTimeMs: number,
  gid: string,
): Key {
  return listingPrefix(status, type) + newestFirst(createTimeMs) + gidBytes(gid);
}

export function listingPrefix(status: TransactionStatus, type: TransactionType): string {
  return (
    LISTING +
    String.fromCharCode(TRANSACTION_STATUSES.indexOf(status), TRANSACTION_TYPES.indexOf(type))
  );
}

/** The part of a listing key that orders across statuses and types: creation time, then gid. */
export function listingOrder(key: Key): string {
  return key.slice(LISTING_TIME_AT);
}

export function gidOfListingOrder(order: string): string {
  return gidOfBytes(order.slice(TIME_BYTES));
}

export function dueKey(dueMs: number, gid: string): Key {
  return DUE + u48(dueMs) + gidBytes(gid);
}

/** Unfinished transactions whose due time is in [fromMs, toMs), earliest first. */
export function dueRange(fromMs: number, toMs: number): KeyRange {
  return { gte: DUE + u48(fromMs), lt: DUE + u48(toMs) };
}

/** Unfinished transactions, earliest due first (K3). */
export function activeRange(): KeyRange {
  return prefixRange(DUE);
}

export function dueOfKey(key: Key): { readonly gid: string; readonly dueMs: number } {
  return { dueMs: readU48(key, 1), gid: gidOfBytes(key.slice(1 + TIME_BYTES)) };
}

export function expiryKey(expiresMs: number, gid: string): Key {
  return EXPIRY + u48(expiresMs) + gidBytes(gid);
}

/** Finished transactions whose retention ends at or before `untilMs`, earliest first. */
export function expiryRange(untilMs: number): KeyRange {
  return { gte: EXPIRY, lt: EXPIRY + u48(untilMs + 1) };
}

export function gidOfExpiryKey(key: Key): string {
  return gidOfBytes(key.slice(1 + TIME_BYTES));
}

// --------------------------------------------------------------------------------------- stuck

/** A target is a URL's scheme and authority: what is up or down as one. */
const TARGET_UNITS_MAX = 256;

export function targetOf(url: string): string {
  const match = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(url);
  return (match?.[0] ?? url).slice(0, TARGET_UNITS_MAX);
}

export type ErrorClass = Exclude<Attempt['outcome'], 'success'>;

export function stuckKey(target: string, errorClass: ErrorClass, gid: string): Key {
  return stuckPrefix(target) + String.fromCharCode(OUTCOMES.indexOf(errorClass)) + gidBytes(gid);
}

/** Transactions stuck on `target`, or on any; ordered by target, then by class of error. */
export function stuckRange(target?: string): KeyRange {
  return prefixRange(target === undefined ? STUCK : stuckPrefix(target));
}

export function stuckOfKey(key: Key): {
  readonly target: string;
  readonly errorClass: ErrorClass;
  readonly gid: string;
} {
  const end = key.indexOf('\x00\x01');
  const target = gidOfBytes(key.slice(1, end).replaceAll('\x00\xff', '\x00'));
  const outcome = OUTCOMES[key.charCodeAt(end + 2)] ?? 'unknown';
  const errorClass = outcome === 'success' ? 'unknown' : outcome;
  return { target, errorClass, gid: gidOfBytes(key.slice(end + 3)) };
}

/** Zero bytes are escaped and the end is marked below every escape, so no target prefixes another. */
function stuckPrefix(target: string): string {
  return `${STUCK}${gidBytes(target).replaceAll('\x00', '\x00\xff')}\x00\x01`;
}

// ------------------------------------------------------------------------------------ sessions

export function sessionKey(nodeId: number): Key {
  return SESSION + u48(nodeId);
}

export function sessionResultsKey(nodeId: number, incarnation: number, chunk: number): Key {
  return SESSION_RESULTS + u48(nodeId) + u48(incarnation) + u48(chunk);
}

// -------------------------------------------------------------------------------------- topics

/** What is wrong with a topic's name, or undefined: the rules of gids. */
export function topicProblem(name: string): string | undefined {
  return nameProblem('topic', name);
}

export function topicKey(name: string): Key {
  return TOPIC + gidBytes(name);
}

/** All topics, by name; those behind `after` in the order of bytes where it is given. */
export function topicRange(after = ''): KeyRange {
  const { gte, lt } = prefixRange(TOPIC);
  return { gte: after === '' ? gte : `${topicKey(after)}\x00`, lt };
}

// --------------------------------------------------------------------------------------- parts

function prefixRange(prefix: string): KeyRange {
  const last = prefix.length - 1;
  const after = String.fromCharCode(prefix.charCodeAt(last) + 1);
  return { gte: prefix, lt: prefix.slice(0, last) + after };
}

export function newestFirst(timeMs: number): string {
  return u48(U48_MAX - clampU48(timeMs));
}

function u48(value: number): string {
  const clamped = clampU48(value);
  const high = Math.floor(clamped / 2 ** 24);
  const low = clamped % 2 ** 24;
  return String.fromCharCode(
    high >> 16,
    (high >> 8) & 0xff,
    high & 0xff,
    low >> 16,
    (low >> 8) & 0xff,
    low & 0xff,
  );
}

function clampU48(value: number): number {
  return Math.min(Math.max(0, Math.floor(value)), U48_MAX);
}

function readU48(key: Key, at: number): number {
  let value = 0;
  for (let offset = 0; offset < TIME_BYTES; offset += 1) {
    value = value * 256 + key.charCodeAt(at + offset);
  }
  return value;
}
