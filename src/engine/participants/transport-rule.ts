// Which transport calls a URL (dtm reference §4.1). Pure.

import type { Protocol } from '../machine/index.ts';

/** `url` is not empty: an empty one succeeds without a call, which the scheduler knows. */
export function transportOf(protocol: Protocol, url: string): Protocol {
  if (protocol === 'http' || url.startsWith('http://') || url.startsWith('https://')) {
    return protocol === 'json-rpc' && url.includes('method') ? 'json-rpc' : 'http';
  }
  return 'grpc';
}
