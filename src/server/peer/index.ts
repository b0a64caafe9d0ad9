// The door of the peer network.
export type { PeerErrorCode } from './errors.ts';
export type { Lane, RefusalCode, SelfIdentity } from './handshake.ts';
export { DEFAULT_PEER_LIMITS, type PeerLimits } from './limits.ts';
export type { PeerObserver } from './observer.ts';
export type { PeerAddress } from './peer.ts';
export { type PeerConnectivity, PeerNetwork, type PeerNetworkDeps } from './peer-network.ts';
export { PLAIN_TCP, type SocketFactory } from './sockets.ts';
