// What a gid, a URL and the headers of a transaction may be. What can never be carried out is refused
// here, before anything is recorded (defects 12.13, 12.33).

import type { Protocol } from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import { shownValue } from './json-body.ts';

/** dtm has no bound of its own; its SQL stores have 128 characters. The engine could hold more. */
const GID_BYTES_MAX = 256;
const URL_LENGTH_MAX = 4_096;
const HEADERS_MAX = 64;
const HEADER_BYTES_MAX = 8_192;

// Control characters, and those that reorder or break a line where a gid is shown.
const NOT_IN_A_GID = /[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;
const DROPPED_FROM_A_GID = /[\n\r;]/g;

/** dtm deletes these from a gid in a body (reference §1.1). */
export function cleanGid(gid: string): string {
  return gid.replace(DROPPED_FROM_A_GID, '');
}

export function gidComplaint(gid: string): string | undefined {
  if (gid === '') return 'gid must not be empty';
  if (gid.length > GID_BYTES_MAX || Buffer.byteLength(gid) > GID_BYTES_MAX) {
    return `gid must be at most ${GID_BYTES_MAX} bytes, got ${shownValue(gid)}`;
  }
  if (NOT_IN_A_GID.test(gid)) {
    return `gid must not contain control characters, got ${printable(gid)}`;
  }
  return undefined;
}

/** JSON text in ASCII, so that nothing in a message can act on a terminal. */
function printable(text: string): string {
  return shownValue(text).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function checkGid(gid: string): string {
  const complaint = gidComplaint(gid);
  if (complaint !== undefined) throw new InvalidRequestError(complaint);
  return gid;
}
const CONTROL = /[\p{Cc}\p{Cs}]/u;

/** An empty URL succeeds without a call (reference §11.3). */
export function checkBranchUrl(url: string, protocol: Protocol | undefined, field: string): void {
  if (url === '') return;
  const refuse = (what: string): never => {
    throw new InvalidRequestError(`${field} ${what}, got ${printable(url)}`);
  };
  if (url.length > URL_LENGTH_MAX) refuse(`must be at most ${URL_LENGTH_MAX} characters`);
  if (CONTROL.test(url)) refuse('must not contain control characters');
  const isHttp = url.startsWith('http://') || url.startsWith('https://');
  if (!isHttp || !URL.canParse(url)) refuse('must be empty or an http:// or https:// URL');
  if (protocol === 'json-rpc' && url.includes('method')) {
    refuse('must not name a JSON-RPC method: this version calls branches by HTTP only');
  }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const NOT_IN_A_HEADER = /[^\P{Cc}\t]/u;
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  '__proto__',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function checkBranchHeaders(
  headers: ReadonlyMap<string, string>,
): Readonly<Record<string, string>> {
  if (headers.size > HEADERS_MAX) {
    throw new InvalidRequestError(
      `branch_headers must be at most ${HEADERS_MAX}, got ${headers.size}`,
    );
  }
  let length = 0;
  for (const [name, value] of headers) {
    if (!TOKEN.test(name)) {
      throw new InvalidRequestError(`branch_headers: ${printable(name)} is not a header name`);
    }
    if (CONNECTION_HEADERS.has(name.toLowerCase())) {
      throw new InvalidRequestError(`branch_headers must not set ${printable(name)}`);
    }
    if (NOT_IN_A_HEADER.test(value)) {
      throw new InvalidRequestError(
        `branch_headers.${name} must not contain control characters, got ${printable(value)}`,
      );
    }
    length += name.length + Buffer.byteLength(value);
  }
  if (length > HEADER_BYTES_MAX) {
    throw new InvalidRequestError(
      `branch_headers must be at most ${HEADER_BYTES_MAX} bytes together, got ${length}`,
    );
  }
  return Object.fromEntries(headers);
}
