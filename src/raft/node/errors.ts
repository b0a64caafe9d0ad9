// Expected failures of a Raft node, as its callers tell them apart.

export type RaftNodeErrorCode =
  /** The node stops; nothing was done on behalf of the caller. */
  | 'stopped'
  /** The read was not confirmed, or the index not applied here, in time. */
  | 'timeout'
  /** Too many waits are open. */
  | 'overloaded'
  /** Another snapshot is being received or installed. */
  | 'snapshotBusy'
  | 'commandTooLarge';

export class RaftNodeError extends Error {
  readonly code: RaftNodeErrorCode;
  readonly outcome = 'none';

  constructor(code: RaftNodeErrorCode, message: string) {
    super(message);
    this.name = 'RaftNodeError';
    this.code = code;
  }
}

/** Rejections may be of any type; what stops a node or is logged is an `Error`. */
export function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause));
}
