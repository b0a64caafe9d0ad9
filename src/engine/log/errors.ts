// The expected failures of the durable log, each with a stable code.

export type LogErrorCode =
  /** The directory has an identity; formatting again would forget votes and entries. */
  | 'ALREADY_FORMATTED'
  /** The directory holds nothing of ours. A node never formats one by itself. */
  | 'NOT_FORMATTED'
  /** Votes or identity cannot be known any more: refused until the node is re-admitted as new. */
  | 'IDENTITY_LOST'
  /** A file of another cluster, node or birth lies among ours. */
  | 'IDENTITY_MISMATCH'
  /** Written by a version that this one does not know. */
  | 'UNKNOWN_FORMAT'
  /** Checksums do not match; the message names file and offset. */
  | 'LOG_DAMAGED'
  /** Content with valid checksums that contradicts itself, or a caller that does. */
  | 'LOG_INVARIANT'
  | 'LOG_CLOSED';

export class LogError extends Error {
  readonly code: LogErrorCode;
  /** Nothing of a call that ends in one of these was made durable. */
  readonly outcome = 'none';

  constructor(code: LogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LogError';
    this.code = code;
  }
}

/** The `code` of an error of the file system, such as `ENOSPC`. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
