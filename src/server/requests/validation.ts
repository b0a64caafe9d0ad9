// What a gid, a URL and the headers of a transaction may be. What can never be carried out is refused
// here, before anything is recorded (defects 12.13, 12.33).

import { type Protocol, parseGrpcUrl } from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import { printable, shownValue } from './shown-value.ts';

/** dtm has no bound of its own; its SQL stores have 128 characters. The engine could hold more. */
const GID_BYTES_MAX = 256;
const BRANCH_ID_BYTES_MAX = 1_024;
const URL_LENGTH_MAX = 4_096;
const HEADERS_MAX = 64;
const HEADER_BYTES_MAX = 8_192;

// Control characters, and those that reorder or break a line where a gid is shown.
const NOT_IN_A_GID = /[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;
// What is no text becomes this wherever it is read, in JSON, protobuf and queries: ids would meet in it.
const REPLACEMENT = '\ufffd';
const DROPPED_FROM_A_GID = /[\n\r;]/g;
const PRINTABLE_ASCII = /^[ -~]*$/;

/** dtm deletes these from a gid in the body of a POST, and nowhere else (reference §1.1). */
export function cleanGid(gid: string): string {
  return gid.replace(DROPPED_FROM_A_GID, '');
}

function nameComplaint(name: string, field: string, bytesMax: number): string | undefined {
  if (name.length > bytesMax || Buffer.byteLength(name) > bytesMax) {
    return `${field} must be at most ${bytesMax} bytes, got ${shownValue(name)}`;
  }
  if (name.includes(REPLACEMENT)) {
    return `${field} must be valid Unicode, got ${printable(name)}`;
  }
  if (NOT_IN_A_GID.test(name)) {
    return `${field} must not contain control characters, got ${printable(name)}`;
  }
  return undefined;
}

export function gidComplaint(gid: string): string | undefined {
  if (gid === '') return 'gid must not be empty';
  return nameComplaint(gid, 'gid', GID_BYTES_MAX);
}

export function checkGid(gid: string): string {
  const complaint = gidComplaint(gid);
  if (complaint !== undefined) throw new InvalidRequestError(complaint);
  return gid;
}

/** Branch ids are opaque: clients choose them, and some choose oddly (reference §11.32). */
export function checkBranchId(branchId: string): string {
  const complaint = nameComplaint(branchId, 'branch_id', BRANCH_ID_BYTES_MAX);
  if (complaint !== undefined) throw new InvalidRequestError(complaint);
  return branchId;
}

/** What travels as gRPC metadata must be printable ASCII, or no call could be made (12.33). */
export function checkPrintable(text: string, field: string): void {
  if (PRINTABLE_ASCII.test(text)) return;
  throw new InvalidRequestError(
    `${field} must be printable ASCII in a transaction of gRPC, got ${printable(text)}`,
  );
}

const CONTROL = /[\p{Cc}\p{Cs}]/u;

export function isHttpUrl(url: string): boolean {
  return url.startsWith('http://') || url.startsWith('https://');
}

/**
 * `protocol`: of the transaction; undefined where it is not known, so that either form will do. With
 * `http` every URL is called by HTTP; with the others what has no scheme is gRPC (reference §4.1).
 */
export function checkBranchUrl(url: string, protocol: Protocol | undefined, field: string): void {
  // An empty URL succeeds without a call (reference §11.3).
  if (url === '') return;
  const refuse = (what: string): never => {
    throw new InvalidRequestError(`${field} ${what}, got ${printable(url)}`);
  };
  if (url.length > URL_LENGTH_MAX) refuse(`must be at most ${URL_LENGTH_MAX} characters`);
  if (CONTROL.test(url)) refuse('must not contain control characters');
  if (isHttpUrl(url) && URL.canParse(url)) return;
  if (protocol === 'http') refuse('must be empty or an http:// or https:// URL');
  // As it will be dialled: what the caller could not read would be retried for ever.
  if (typeof parseGrpcUrl(url, false) === 'string') {
    refuse('must be empty, an http:// or https:// URL, or host:port/package.Service/Method');
  }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const METADATA_KEY = /^[0-9A-Za-z_.-]+$/;
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

function checkHeader(name: string, value: string, protocol: Protocol): void {
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
  if (protocol !== 'grpc') return;
  const key = name.toLowerCase();
  if (!METADATA_KEY.test(key) || key.startsWith('grpc-') || key.endsWith('-bin')) {
    throw new InvalidRequestError(`branch_headers: ${printable(name)} is not a key of metadata`);
  }
  checkPrintable(value, `branch_headers.${name}`);
}

export function checkBranchHeaders(
  headers: ReadonlyMap<string, string>,
  protocol: Protocol,
): Readonly<Record<string, string>> {
  if (headers.size > HEADERS_MAX) {
    throw new InvalidRequestError(
      `branch_headers must be at most ${HEADERS_MAX}, got ${headers.size}`,
    );
  }
  let length = 0;
  for (const [name, value] of headers) {
    checkHeader(name, value, protocol);
    length += name.length + Buffer.byteLength(value);
  }
  if (length > HEADER_BYTES_MAX) {
    throw new InvalidRequestError(
      `branch_headers must be at most ${HEADER_BYTES_MAX} bytes together, got ${length}`,
    );
  }
  return Object.fromEntries(headers);
}
