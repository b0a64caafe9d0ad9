// What can go wrong between two nodes, as codes.

export type PeerErrorCode =
  /** The other side broke the protocol: the connection is closed. */
  | 'frameTooLarge'
  | 'malformed'
  | 'unexpectedFrame'
  /** The snapshot arrived damaged, or its stream was cut or stalled. */
  | 'snapshotDamaged'
  | 'snapshotCut'
  | 'snapshotStalled'
  /** The receiver would not take the snapshot. */
  | 'snapshotRejected'
  | 'unreachable'
  | 'closing'
  | 'handshakeRefused';

export class PeerError extends Error {
  readonly code: PeerErrorCode;

  constructor(code: PeerErrorCode, message: string) {
    super(message);
    this.name = 'PeerError';
    this.code = code;
  }
}

/** The system's error code of a failed socket, if it has one. */
export function systemCode(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
