// What the peer network counts.

import type { NodeId } from '../../raft/index.ts';
import type { Lane, RefusalCode } from './handshake.ts';

export interface PeerObserver {
  connected(peer: NodeId, lane: Lane): void;
  disconnected(peer: NodeId, lane: Lane): void;
  /** By either side. */
  handshakeRefused(code: RefusalCode): void;
  /** A message found no open connection or a full queue. */
  dropped(peer: NodeId, lane: Lane): void;
  protocolError(code: string): void;
}

export const NO_PEER_OBSERVER: PeerObserver = {
  connected: () => undefined,
  disconnected: () => undefined,
  handshakeRefused: () => undefined,
  dropped: () => undefined,
  protocolError: () => undefined,
};
