// The door of the engine: what a server composes and talks to.
export {
  EXIT_NO_SPACE,
  type FileHandle,
  type Files,
  formatDirectory,
  type Identity,
  LogError,
  NodeFiles,
} from './log/index.ts';
export {
  type AppliedEntry,
  GID_BYTES_MAX,
  gidProblem,
  type OperationRequest,
  type OperationResult,
  type Protocol,
  type StepInput,
  type Transaction,
  type TransactionDefaults,
  type TransactionInput,
  type TransactionOptions,
  type TransactionStatus,
  type TransactionType,
} from './machine/index.ts';
export type {
  Coordinator,
  ForwardHandler,
  ForwardResult,
  ForwardTransport,
  ListFilter,
  ListPage,
  OperationOutcome,
  ReadOutcome,
  RefusalCode,
  WaitOutcome,
} from './operations/index.ts';
export {
  allowAllEgress,
  DEFAULT_PARTICIPANTS_CONFIG,
  HttpCaller,
  type ParticipantCaller,
  ProtocolCaller,
  type TargetStatus,
} from './participants/index.ts';
export {
  LocalReplica,
  type ReplicaConfig,
  type ReplicaPorts,
  type ReplicaSelf,
} from './replica/index.ts';
export { DEFAULT_SCHEDULER_CONFIG } from './scheduler/index.ts';
export { DEFAULT_STORE_CONFIG, LevelKvOpener, StoreError } from './store/index.ts';
