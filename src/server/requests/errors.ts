// Every error code that the API can answer with, in one place. docs/errors.md is tested against it.
//
// Invariant (P7): FAILURE and ONGOING, HTTP 409 and 425, gRPC ABORTED (10) and FAILED_PRECONDITION
// (9) are answers about transactions. No code of this catalogue uses them: a client would take a
// condition of the cluster for a business result.

export interface ErrorSpec {
  readonly http: number;
  readonly grpc: number;
  readonly retryable: boolean;
  /** `none`: certainly not done. `unknown`: may have been done; repeat with the same gid. */
  readonly outcome: 'none' | 'unknown';
  readonly meaning: string;
}

export const ERROR_CODES = {
  INVALID_REQUEST: {
    http: 500,
    grpc: 3,
    retryable: false,
    outcome: 'none',
    meaning:
      'The body or a parameter is wrong; the message names the field, its value and what is allowed. 500 is what dtm answers.',
  },
  MALFORMED_HTTP: {
    http: 400,
    grpc: 3,
    retryable: false,
    outcome: 'none',
    meaning: 'The bytes are not an HTTP request.',
  },
  NOT_FOUND: {
    http: 404,
    grpc: 12,
    retryable: false,
    outcome: 'none',
    meaning: 'No such route, or not with this method.',
  },
  RECEIVE_TIMEOUT: {
    http: 408,
    grpc: 4,
    retryable: true,
    outcome: 'none',
    meaning: 'The request did not arrive whole within api.receiveTimeoutMs.',
  },
  BODY_TOO_LARGE: {
    http: 413,
    grpc: 8,
    retryable: false,
    outcome: 'none',
    meaning: 'The body is longer than api.bodyBytesMax.',
  },
  HEADERS_TOO_LARGE: {
    http: 431,
    grpc: 8,
    retryable: false,
    outcome: 'none',
    meaning: 'The headers are longer than api.headerBytesMax.',
  },
  NO_LEADER: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'No leader was found in time: an election is under way, or a majority is missing.',
  },
  OVERLOADED: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'A bound of this node or of the leader is reached; new work waits outside.',
  },
  NO_SPACE: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'The disk is nearly full: running work goes on, new work is not admitted.',
  },
  DRAINING: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'This node is stopping; another one serves.',
  },
  STARTING: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'This node is opening its log and its state.',
  },
  RECOVERING: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'This node found damage and is healed by its peers.',
  },
  READ_TIMEOUT: {
    http: 503,
    grpc: 14,
    retryable: true,
    outcome: 'none',
    meaning: 'A read could not be confirmed in time.',
  },
  OUTCOME_UNKNOWN: {
    http: 504,
    grpc: 4,
    retryable: true,
    outcome: 'unknown',
    meaning:
      'The request may have been carried out: repeat it with the same gid, or query the gid.',
  },
  INTERNAL: {
    http: 500,
    grpc: 13,
    retryable: false,
    outcome: 'unknown',
    meaning: 'A defect of this server; its log has the details.',
  },
} as const satisfies Readonly<Record<string, ErrorSpec>>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** A request that is refused for what it says. Expected: never logged as an error. */
export class InvalidRequestError extends Error {
  override readonly name = 'InvalidRequestError';
  readonly code = 'INVALID_REQUEST';
  readonly outcome = 'none';
}

/** The tables of docs/errors.md. */
export function errorsTable(): string {
  const lines = ['| code | HTTP | gRPC | retry | outcome | meaning |', '|---|---|---|---|---|---|'];
  for (const [code, spec] of Object.entries(ERROR_CODES)) {
    const retry = spec.retryable ? 'yes' : 'no';
    lines.push(
      `| \`${code}\` | ${spec.http} | ${spec.grpc} | ${retry} | ${spec.outcome} | ${spec.meaning} |`,
    );
  }
  return lines.join('\n');
}
