// The door of consensus.
export {
  type CoreBug,
  type CoreBugs,
  RaftCore,
  type RaftCoreOptions,
} from './core/index.ts';
export type * from './core/types.ts';
export type { CodecErrorCode } from './node/bytes.ts';
export { CodecError } from './node/bytes.ts';
export { type RaftNodeConfig, raftNodeConfig } from './node/config.ts';
export { decodeEntry, encodeEntry } from './node/entry-codec.ts';
export { RaftNodeError, type RaftNodeErrorCode } from './node/errors.ts';
export { decodeMessage, encodeMessage } from './node/message-codec.ts';
export {
  decodeSnapshotMeta,
  encodeSnapshotMeta,
} from './node/meta-codec.ts';
export type { RaftObserver } from './node/observer.ts';
export type * from './node/ports.ts';
export type { Lane, ProposeDone } from './node/proposals.ts';
export { type NodeBug, RaftNode, type RaftNodeDeps } from './node/raft-node.ts';
export type { Leadership, RaftNodeStatus, RoleChange } from './node/status.ts';
