// The parsed form of a gRPC branch URL, `host:port/package.Service/Method` (dtm reference §3.4): what
// is before the first slash is dialled, the rest is the method.
//
// The target is always a name or an address, never a scheme of the gRPC library (`unix:`, `xds:`):
// a branch URL comes from a client, and must not reach what only this machine can.

import { outsideContainer } from './call-url.ts';
import { ParseCache } from './parse-cache.ts';

export interface GrpcUrl {
  /** As dialled: limits, circuit and channel belong to it. */
  readonly target: string;
  /** With its leading slash. */
  readonly method: string;
  /** For the egress policy. */
  readonly url: URL;
}

const AUTHORITY = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const METHOD = /^\/[!-~]+$/;

/** A string instead of a URL says why there is none. */
export function parseGrpcUrl(text: string, dockerHost: boolean): GrpcUrl | string {
  if (text.includes('://')) {
    return 'invalid gRPC url: service discovery is not served';
  }
  const slashAt = text.indexOf('/');
  if (slashAt === -1) {
    return 'invalid gRPC url: host:port/package.Service/Method is expected';
  }
  const authority = text.slice(0, slashAt);
  const target = dockerHost ? outsideContainer(authority) : authority;
  const method = text.slice(slashAt);
  if (!AUTHORITY.test(target) || !METHOD.test(method) || !URL.canParse(`grpc://${target}`)) {
    return 'invalid gRPC url: host:port/package.Service/Method is expected';
  }
  return { target, method, url: new URL(`grpc://${target}${method}`) };
}

/** Remembers up to `sizeMax` parsed URLs. */
export class GrpcUrlCache extends ParseCache<GrpcUrl | string> {
  constructor(sizeMax: number, dockerHost: boolean) {
    super(sizeMax, (text) => parseGrpcUrl(text, dockerHost));
  }
}
