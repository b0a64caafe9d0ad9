// A client of dtm's protocol, for Assent and for any other server of it: the patterns for initiators,
// barriers and answers for services. It stands alone: nothing of the server is in it, and the drivers
// of databases and of gRPC are the application's own.

export {
  type BranchGrpcStatus,
  type BranchHttpAnswer,
  grpcBranchHandler,
  grpcStatusOf,
  httpAnswerOf,
  serveBranch,
} from './answer.ts';
export { MongoBarrier, mongoBarrier } from './barrier/mongodb.ts';
export { mysqlBarrier } from './barrier/mysql.ts';
export { postgresBarrier } from './barrier/postgres.ts';
export { RedisBarrier, redisBarrier } from './barrier/redis.ts';
export type { BarrierResult } from './barrier/rules.ts';
export type { Barrier } from './barrier/sql-barrier.ts';
export { SqliteBarrier, sqliteBarrier } from './barrier/sqlite.ts';
export { barrierSchema } from './barrier/table.ts';
export { Branch, type BranchInfo, branchFromMetadata, branchFromQuery } from './branch.ts';
export { BranchReply } from './branch-caller.ts';
export { type ClientOptions, DtmClient } from './client.ts';
export type { StartOptions } from './context.ts';
export type { CallOptions, Subscription } from './coordinator/coordinator.ts';
export {
  BranchError,
  CancelledError,
  CommitUnknownError,
  CoordinatorError,
  DtmError,
  type DtmErrorCode,
  DuplicateError,
  FailureError,
  OngoingError,
  type Outcome,
  RefusedError,
  UnavailableError,
  UsageError,
} from './errors.ts';
export { newGid } from './gid.ts';
export type { Msg, MsgOptions, MsgStep } from './msg.ts';
export type { Saga, SagaOptions, SagaStep } from './saga.ts';
export type { Tcc, TccBranch } from './tcc.ts';
export type { Payload, TransactionOptions } from './transaction.ts';
export type {
  WorkflowEngine,
  WorkflowEngineOptions,
  WorkflowFunction,
  WorkflowOptions,
} from './workflow/engine.ts';
export type { Phase2Function, WorkflowRun } from './workflow/run.ts';
export type { StepValue, WorkflowBranch, WorkflowCall } from './workflow/workflow-branch.ts';
export { mysqlXa } from './xa/mysql.ts';
export { postgresXa } from './xa/postgres.ts';
export type { XaBranchId, XaResource } from './xa/resource.ts';
export type { Xa, XaBranch } from './xa.ts';
