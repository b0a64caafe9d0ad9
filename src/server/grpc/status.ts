// From a reply to the status of a gRPC call.
//
// ABORTED and FAILED_PRECONDITION are answers about transactions, and nothing else has them (P7): the
// catalogue of errors says what a condition of the cluster is (dtm reference §3.3).

import { Metadata, type ServerErrorResponse, status as Status } from '@grpc/grpc-js';
import { ERROR_CODES, type ErrorReply, type Reply, wellFormed } from '../requests/index.ts';

/** What dtm answers where it finds a request impossible: a panic, or an error that it returns. */
export type InvalidStatus = Status.INTERNAL | Status.UNKNOWN;

/** Percent-encoded, with its trailers, it must fit into the 8 KiB that some clients allow. */
const MESSAGE_BYTES_MAX = 6_000;

/** What the catalogue may use. Neither of the two answers about transactions is among them (P7). */
const CATALOGUED: ReadonlyMap<number, Status> = new Map(
  [
    Status.INVALID_ARGUMENT,
    Status.DEADLINE_EXCEEDED,
    Status.RESOURCE_EXHAUSTED,
    Status.UNIMPLEMENTED,
    Status.INTERNAL,
    Status.UNAVAILABLE,
  ].map((code) => [code, code]),
);

/** Undefined: a success. */
export function errorResponse(
  reply: Reply<unknown>,
  invalid: InvalidStatus,
): (ServerErrorResponse & { readonly code: Status }) | undefined {
  switch (reply.kind) {
    case 'success':
      return undefined;
    case 'failure':
      return response(Status.ABORTED, reply.message, new Metadata());
    case 'ongoing':
      return response(Status.FAILED_PRECONDITION, reply.message, new Metadata());
    case 'error':
      return response(errorStatus(reply, invalid), reply.message, errorMetadata(reply));
  }
}

function errorStatus({ code }: ErrorReply, invalid: InvalidStatus): Status {
  // A branch that was waited for gave no result. dtm hands the branch's own code on; here UNAVAILABLE
  // and DEADLINE_EXCEEDED are about the cluster, and make clients try another node.
  if (code === undefined) return Status.UNKNOWN;
  if (code === 'INVALID_REQUEST') return invalid;
  return CATALOGUED.get(ERROR_CODES[code].grpc) ?? Status.UNKNOWN;
}

function errorMetadata({ code, retryAfterMs }: ErrorReply): Metadata {
  const metadata = new Metadata();
  if (code !== undefined) metadata.set('assent-code', code);
  if (retryAfterMs !== undefined) metadata.set('retry-after-ms', String(Math.ceil(retryAfterMs)));
  return metadata;
}

function response(code: Status, message: string, metadata: Metadata) {
  const details = shortened(wellFormed(message));
  return Object.assign(new Error(details), { code, details, metadata });
}

function shortened(text: string): string {
  if (encodeURI(text).length <= MESSAGE_BYTES_MAX) return text;
  let bytes = 0;
  let short = '';
  for (const character of text) {
    bytes += encodeURI(character).length;
    if (bytes > MESSAGE_BYTES_MAX) break;
    short += character;
  }
  return short;
}
