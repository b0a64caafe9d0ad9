// One HTTP request and its whole answer, through the platform's fetch.

import { messageOf, type Outcome } from '../errors.ts';
import { AttemptError } from './failover.ts';
import type { HttpAnswer } from './http-answer.ts';

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly body?: string | Uint8Array | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Conditions in which no byte of the request has left this machine. */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function codesOf(error: unknown): readonly string[] {
  if (!(error instanceof Error)) return [];
  const own = 'code' in error && typeof error.code === 'string' ? [error.code] : [];
  // A host with several addresses fails with the errors of all.
  const inner = error instanceof AggregateError ? (error.errors as unknown[]) : [error.cause];
  return [...own, ...inner.flatMap((each) => codesOf(each))];
}

function outcomeOf(error: unknown): Outcome {
  const codes = codesOf(error);
  return codes.length > 0 && codes.every((code) => NOT_SENT.has(code)) ? 'none' : 'unknown';
}

/** The error of a host with several addresses has no text of its own. */
function reasonText(reason: unknown): string {
  const text = messageOf(reason);
  return text === '' ? codesOf(reason).join(', ') : text;
}

/** Names match in any case: what is given takes the place of ours. */
function headersWith(given: Readonly<Record<string, string>> = {}): Headers {
  const headers = new Headers({ 'content-type': 'application/json', accept: 'application/json' });
  for (const [name, value] of Object.entries(given)) headers.set(name, value);
  return headers;
}

/** Throws an AttemptError when there is no whole answer. */
export async function sendHttp(request: HttpRequest): Promise<HttpAnswer> {
  const { method, url, body, headers, signal } = request;
  try {
    const response = await fetch(url, {
      method,
      headers: headersWith(headers),
      ...(body === undefined ? {} : { body: body as string | Uint8Array<ArrayBuffer> }),
      ...(signal === undefined ? {} : { signal }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, bytes, text: bytes.toString() };
  } catch (error) {
    const reason = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new AttemptError(`${method} ${url}: ${reasonText(reason)}`, outcomeOf(error), error);
  }
}
