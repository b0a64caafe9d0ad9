// The parsed form of a branch URL, and the query that every HTTP call carries (dtm reference §4.2).
//
// Branch URLs repeat: each is parsed once and remembered, so that a call costs one lookup and one
// concatenation.

import { ParseCache } from './parse-cache.ts';
import type { BranchCall } from './types.ts';

export interface CallUrl {
  readonly url: URL;
  /** Scheme, host and port: what limits, circuit and connections belong to. */
  readonly origin: string;
  /** Path and query, ending where the call's parameters are appended. */
  readonly prefix: string;
  /** From user information in the URL. */
  readonly authorization: string | undefined;
}

/** A string instead of a URL says why there is none. */
export function parseCallUrl(text: string, dockerHost: boolean): CallUrl | string {
  const address = dockerHost ? outsideContainer(text) : text;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return 'invalid url';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return `unsupported protocol scheme "${url.protocol.slice(0, -1)}"`;
  }
  return {
    url,
    origin: url.origin,
    prefix: url.pathname + (url.search === '' ? '?' : `${url.search}&`),
    authorization: authorizationOf(url),
  };
}

/** Inside a container, the first loopback names mean its host (dtm's `IS_DOCKER`). */
export function outsideContainer(address: string): string {
  return address
    .replace('localhost', 'host.docker.internal')
    .replace('127.0.0.1', 'host.docker.internal');
}

export function authorizationOf(url: URL): string | undefined {
  if (url.username === '' && url.password === '') {
    return undefined;
  }
  const user = `${decodeUserInfo(url.username)}:${decodeUserInfo(url.password)}`;
  return `Basic ${Buffer.from(user, 'utf8').toString('base64')}`;
}

function decodeUserInfo(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const UNRESERVED = /^[A-Za-z0-9_.~-]*$/;
const LONE_SURROGATE = /[\ud800-\udfff]/gu;

/** As a form encodes it: a space is `+`, and everything but unreserved characters is escaped. */
export function escapeQuery(text: string): string {
  if (UNRESERVED.test(text)) {
    return text;
  }
  return encodeURIComponent(text.replace(LONE_SURROGATE, '\ufffd'))
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}

/** Sorted by name, as dtm sends them. */
export function branchQuery(call: BranchCall): string {
  return `branch_id=${escapeQuery(call.branchId)}&gid=${escapeQuery(call.gid)}&op=${escapeQuery(call.op)}&trans_type=${call.type}`;
}

/** Remembers up to `sizeMax` parsed URLs. */
export class CallUrlCache extends ParseCache<CallUrl | string> {
  constructor(sizeMax: number, dockerHost: boolean) {
    super(sizeMax, (text) => parseCallUrl(text, dockerHost));
  }
}
