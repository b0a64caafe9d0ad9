// Every bound of the peer network, with its default.

export interface PeerLimits {
  /** Largest frame after the handshake. An append carries one entry of any size. */
  readonly frameBytesMax: number;
  /** Largest frame of a connection that has not said who it is. */
  readonly helloBytesMax: number;
  /** Connections that have not said who they are. */
  readonly strangersMax: number;
  /** Bytes that wait to be written, per peer and lane; one frame is always allowed. */
  readonly controlQueueBytesMax: number;
  readonly appendQueueBytesMax: number;
  readonly forwardQueueBytesMax: number;
  /** Forwarded requests without a reply, per peer and direction. */
  readonly forwardInflightMax: number;
  /** A forwarded request without a reply is given up as lost after this long. */
  readonly forwardTimeoutMs: number;
  readonly connectMsMax: number;
  readonly handshakeMsMax: number;
  /** Longest pause between two attempts to connect. */
  readonly reconnectMsMax: number;
  readonly keepaliveMs: number;
  /** A connection on which nothing arrives for this long is half open: it is closed. */
  readonly idleMsMax: number;
  /** A snapshot stream without progress for this long is given up. */
  readonly snapshotStallMs: number;
  /** Bytes of a snapshot that were received and not yet taken. */
  readonly snapshotBufferBytesMax: number;
  /** At most one report that a peer is unreachable, and one that it refused, in this time. */
  readonly reportMs: number;
  readonly closeMsMax: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_PEER_LIMITS: PeerLimits = {
  frameBytesMax: 24 * MIB,
  helloBytesMax: 4096,
  strangersMax: 64,
  controlQueueBytesMax: MIB,
  appendQueueBytesMax: 32 * MIB,
  forwardQueueBytesMax: 32 * MIB,
  forwardInflightMax: 16_384,
  forwardTimeoutMs: 10_000,
  connectMsMax: 1_000,
  handshakeMsMax: 1_000,
  reconnectMsMax: 100,
  keepaliveMs: 800,
  idleMsMax: 2_000,
  snapshotStallMs: 30_000,
  snapshotBufferBytesMax: 4 * MIB,
  reportMs: 50,
  closeMsMax: 500,
};
