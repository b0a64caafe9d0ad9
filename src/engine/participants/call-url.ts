// The parsed form of a branch URL, and the query that every HTTP call carries (dtm reference §4.2).
//
// Branch URLs repeat: each is parsed once and remembered, oldest first out, so that a
// call costs one lookup and one concatenation.

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
  const address = dockerHost
    ? text.replace('localhost', 'host.docker.internal').replace('127.0.0.1', 'host.docker.internal')
    : text;
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
export class CallUrlCache {
  readonly #sizeMax: number;
  readonly #dockerHost: boolean;
  readonly #parsed = new Map<string, CallUrl | string>();

  constructor(sizeMax: number, dockerHost: boolean) {
    this.#sizeMax = sizeMax;
    this.#dockerHost = dockerHost;
  }

  get(text: string): CallUrl | string {
    const known = this.#parsed.get(text);
    if (known !== undefined) {
      return known;
    }
    const parsed = parseCallUrl(text, this.#dockerHost);
    if (this.#parsed.size >= this.#sizeMax) {
      this.#forgetOldest();
    }
    this.#parsed.set(text, parsed);
    return parsed;
  }

  get size(): number {
    return this.#parsed.size;
  }

  // First in, first out is near enough to least recently used here, and a hit costs no write.
  #forgetOldest(): void {
    for (const key of this.#parsed.keys()) {
      this.#parsed.delete(key);
      return;
    }
  }
}
