// The door of consensus.
export {
  type CoreBug,
  type CoreBugs,
  InvariantViolation,
  NO_BUGS,
  RaftCore,
  type RaftCoreOptions,
} from './core/index.ts';
export type * from './core/types.ts';
export type { CodecErrorCode } from './node/bytes.ts';
export { CodecError } from './node/bytes.ts';
export { decodeEntry, encodeEntry } from './node/entry-codec.ts';
export { decodeMessage, encodeMessage } from './node/message-codec.ts';
export {
  decodeConfiguration,
  decodeSnapshotMeta,
  encodeConfiguration,
  encodeSnapshotMeta,
} from './node/meta-codec.ts';
export type * from './node/ports.ts';
