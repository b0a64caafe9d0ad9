// The door of the engine: what a server composes and talks to.
export type {
  Alert,
  AlertOutcome,
  AlertSender,
  AlertStats,
  AlertsConfig,
} from './alerts/index.ts';
export {
  type FileHandle,
  type Files,
  formatDirectory,
  type Identity,
  NodeFiles,
  requireFormatted,
} from './log/index.ts';
export type {
  AppliedEntry,
  OperationRequest,
  OperationResult,
  Protocol,
  Registration,
  StepInput,
  Topic,
  TopicPage,
  Transaction,
  TransactionDefaults,
  TransactionInput,
  TransactionOptions,
  TransactionStatus,
  TransactionType,
  WorkflowEnd,
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
  TopicFilter,
  WaitOutcome,
} from './operations/index.ts';
export {
  allowAllEgress,
  DEFAULT_PARTICIPANTS_CONFIG,
  GrpcCaller,
  HttpCaller,
  JsonRpcCaller,
  type ParticipantCaller,
  type ParticipantsConfig,
  ProtocolCaller,
  parseGrpcUrl,
  type TargetStatus,
  transportOf,
} from './participants/index.ts';
export { isOwnCall } from './patterns/index.ts';
export {
  LocalReplica,
  type ReplicaConfig,
  type ReplicaPorts,
  type ReplicaSelf,
} from './replica/index.ts';
export {
  DEFAULT_SCHEDULER_CONFIG,
  type EndedCall,
  type Unfinished,
  unfinishedBecause,
} from './scheduler/index.ts';
export { DEFAULT_STORE_CONFIG, LevelKvOpener } from './store/index.ts';
