// What an operator is told of a call that gave no result: in words, and without anything that a
// participant or a client wrote.

import type { EndedCall } from '../engine/index.ts';

const ADDRESS_LENGTH_MAX = 256;

/** What the network says, by the code in the text of its error. */
const NETWORK_WORDS: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'connection refused'],
  [/ENOTFOUND|Name resolution failed/, 'host name not found'],
  [/EAI_AGAIN/, 'host name not resolved for now'],
  [/EHOSTUNREACH|ENETUNREACH/, 'no route to the host'],
  [/UND_ERR_CONNECT_TIMEOUT|Connect Timeout|ETIMEDOUT/, 'connecting timed out'],
  [/ECONNRESET|EPIPE|other side closed/, 'connection closed by the other side'],
  [/CERT|certificate|self-signed|SSL|TLS/i, 'TLS failed'],
];

/** Texts that this node makes itself, whole. */
const OWN_WORDS =
  /^(?:timeout after \d+ ms(?: while connecting)?|answer too large: more than \d+ bytes|stopped after \d+ redirects|redirect not followed: no room|redirect not followed|invalid url|invalid gRPC url|unsupported protocol scheme|circuit open|queue full|refused by the egress policy|dispatching ended)/;

export function failureReason({ detail, status }: EndedCall['end']): string {
  const own = OWN_WORDS.exec(detail)?.[0];
  if (status !== undefined) return answeredReason(status, own);
  if (own !== undefined) return own;
  return NETWORK_WORDS.find(([pattern]) => pattern.test(detail))?.[1] ?? 'the call broke off';
}

function answeredReason(status: string, own: string | undefined): string {
  if (/^3\d\d$/.test(status)) return `status ${status}: ${own ?? 'a redirect without an address'}`;
  if (/^2\d\d$/.test(status) && status !== '200') {
    return `status ${status}, where only 200 is success`;
  }
  if (status === '200') return 'status 200, without a result of JSON-RPC';
  return `status ${status}`;
}

/** Where a call goes, without its query, its fragment and its user information. */
export function shownAddress(url: string): string {
  const bare = url.replace(/[?#].*$/s, '').replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/]*@/i, '$1');
  return bare.length <= ADDRESS_LENGTH_MAX ? bare : `${bare.slice(0, ADDRESS_LENGTH_MAX)}…`;
}
