// The headers of an HTTP call (dtm reference §4.2): JSON in both directions unless the
// transaction's branch headers say otherwise, and our own User-Agent. No Accept-Encoding is sent,
// so that an answer's size on the wire bounds what is read.

// They describe the connection, not the call; an HTTP client sets them itself.
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const SECRET_HEADERS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'cookie2']);

/** Names and values, alternating, as undici takes them. */
export class CallHeaders {
  readonly #userAgent: string;
  // Transactions share the objects of their options, so calls of one share the array.
  readonly #prepared = new WeakMap<Readonly<Record<string, string>>, string[]>();

  constructor(userAgent: string) {
    this.#userAgent = userAgent;
  }

  /** The array is shared: it must not be changed. */
  of(branchHeaders: Readonly<Record<string, string>>): string[] {
    const known = this.#prepared.get(branchHeaders);
    if (known !== undefined) {
      return known;
    }
    const prepared = this.#prepare(branchHeaders);
    this.#prepared.set(branchHeaders, prepared);
    return prepared;
  }

  #prepare(branchHeaders: Readonly<Record<string, string>>): string[] {
    const headers = new Map<string, readonly [string, string]>([
      ['content-type', ['Content-Type', 'application/json']],
      ['accept', ['Accept', 'application/json']],
      ['user-agent', ['User-Agent', this.#userAgent]],
    ]);
    for (const [name, value] of Object.entries(branchHeaders)) {
      const lower = name.toLowerCase();
      if (!CONNECTION_HEADERS.has(lower)) {
        headers.set(lower, [name, headerBytes(value)]);
      }
    }
    return [...headers.values()].flat();
  }
}

/** What may follow a redirect to another host: everything but credentials. */
export function withoutSecrets(headers: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!SECRET_HEADERS.has(name.toLowerCase())) {
      kept.push(name, headers[i + 1] ?? '');
    }
  }
  return kept;
}

/** Header values travel as latin1; other text travels as its UTF-8 bytes, as dtm sends it. */
function headerBytes(value: string): string {
  return Buffer.byteLength(value) === value.length
    ? value
    : Buffer.from(value, 'utf8').toString('latin1');
}
