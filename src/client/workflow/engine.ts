// The workflows of a program: registered by name at start, executed by the program, and resumed by the
// coordinator's callback.
//
// Source: dtm reference §10.5, §5.10, §3.5 (the callback over gRPC).

import type { BranchHttpAnswer } from '../answer.ts';
import { grpcStatusOf, httpAnswerOf } from '../answer.ts';
import {
  branchFromMetadata,
  branchFromQuery,
  type MetadataSource,
  type QuerySource,
} from '../branch.ts';
import type { Context } from '../context.ts';
import type { CallOptions, WorkflowRecord } from '../coordinator/coordinator.ts';
import { parseWorkflowData } from '../coordinator/grpc-messages.ts';
import { DtmError, FailureError, failureText, UsageError } from '../errors.ts';
import { checkGid, type TransactionOptions, type TransactionRequest } from '../transaction.ts';
import { Progress } from './progress.ts';
import { WorkflowRun } from './run.ts';
import { type StepValue, stepBytes } from './workflow-branch.ts';

/** Must take the same steps in the same order at every execution with the same data and results. */
export type WorkflowFunction = (run: WorkflowRun, data: Uint8Array) => Promise<StepValue>;

export interface WorkflowEngineOptions {
  /** Where the coordinator resumes: a URL, or for gRPC `host:port` of the program's own server. */
  readonly callback: string;
}

export interface WorkflowOptions {
  /** Default: false, as dtm's Go client. */
  readonly compensateFailedBranch?: boolean;
  readonly transaction?: TransactionOptions;
}

interface Registered {
  readonly execute: WorkflowFunction;
  readonly options: WorkflowOptions;
}

const EXECUTE_METHOD = '/workflow.Workflow/Execute';
const NO_DATA = new Uint8Array();

export class WorkflowEngine {
  readonly #context: Context;
  readonly #queryPrepared: string;
  readonly #workflows = new Map<string, Registered>();

  constructor(context: Context, { callback }: WorkflowEngineOptions) {
    this.#context = context;
    const grpc = context.coordinator.protocol === 'grpc';
    this.#queryPrepared = grpc && !callback.includes('/') ? callback + EXECUTE_METHOD : callback;
  }

  register(name: string, execute: WorkflowFunction, options: WorkflowOptions = {}): this {
    if (this.#workflows.has(name)) throw new UsageError(`workflow "${name}" is registered already`);
    this.#workflows.set(name, { execute, options });
    return this;
  }

  /**
   * Starts the workflow, or goes on with it, or answers what it ended with. A FailureError: it was
   * rolled back. Any other error: it goes on later, by the coordinator's callback.
   */
  async execute(
    name: string,
    gid: string,
    data?: StepValue,
    options: CallOptions = {},
  ): Promise<Uint8Array> {
    const workflow = this.#workflows.get(name);
    if (workflow === undefined) throw new UsageError(`workflow "${name}" is not registered`);
    const bytes = data === undefined ? undefined : stepBytes(data);
    const request = this.#request(name, checkGid(gid), bytes, workflow.options);
    const record = await this.#context.coordinator.prepareWorkflow(request, options);
    const ended = endedResult(record);
    if (ended !== undefined) return ended;
    const { coordinator, caller } = this.#context;
    const run = new WorkflowRun({
      coordinator,
      caller,
      gid,
      progress: new Progress(record.progresses),
      options: { compensateFailedBranch: workflow.options.compensateFailedBranch ?? false },
      signal: options.signal,
    });
    return await this.#runToEnd(run, workflow, request, bytes ?? NO_DATA);
  }

  /** Answers the coordinator's callback over HTTP. */
  async serveCallback(query: QuerySource, body: Uint8Array): Promise<BranchHttpAnswer> {
    try {
      const { op, gid } = branchFromQuery(query);
      await this.execute(op, gid, body.length === 0 ? undefined : body);
      return httpAnswerOf();
    } catch (error) {
      return httpAnswerOf(error ?? new Error('rejected without a reason'));
    }
  }

  /** The service to add to the program's gRPC server: `server.addService(definition, handlers)`. */
  grpcService() {
    const bytes = (value: Buffer): Buffer => value;
    return {
      definition: {
        Execute: {
          path: EXECUTE_METHOD,
          requestStream: false,
          responseStream: false,
          requestSerialize: bytes,
          requestDeserialize: bytes,
          responseSerialize: bytes,
          responseDeserialize: bytes,
        },
      } as const,
      handlers: {
        Execute: (
          call: { readonly metadata: MetadataSource; readonly request: Buffer },
          callback: (error: { code: number; details: string } | null, reply?: Buffer) => void,
        ): void => {
          this.#resume(call.metadata, call.request).then(
            () => callback(null, Buffer.alloc(0)),
            (error: unknown) => callback(grpcStatusOf(error)),
          );
        },
      },
    };
  }

  async #resume(metadata: MetadataSource, message: Uint8Array): Promise<void> {
    const { op, gid } = branchFromMetadata(metadata);
    const data = parseWorkflowData(message);
    await this.execute(op, gid, data.length === 0 ? undefined : data);
  }

  async #runToEnd(
    run: WorkflowRun,
    workflow: Registered,
    request: TransactionRequest,
    data: Uint8Array,
  ): Promise<Uint8Array> {
    let result: Uint8Array;
    try {
      result = stepBytes(await workflow.execute(run, data));
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      await run.finish('rollback');
      await this.#submit(request, 'failed', { reason: failureText(error), result: NO_DATA }, run);
      throw error;
    }
    await run.finish('commit');
    await this.#submit(request, 'succeed', { reason: '', result }, run);
    return result;
  }

  async #submit(
    request: TransactionRequest,
    status: 'succeed' | 'failed',
    end: { readonly reason: string; readonly result: Uint8Array },
    { signal }: WorkflowRun,
  ): Promise<void> {
    const { coordinator } = this.#context;
    const result = Buffer.from(end.result).toString('base64');
    const requestExtra = { status, rollback_reason: end.reason, result };
    try {
      await coordinator.submit({ ...request, requestExtra }, { signal });
    } catch (error) {
      if (!(error instanceof DtmError) || error.code === 'CANCELLED') throw error;
      // A lost first answer makes the repeat an error with dtm; what is stored decides.
      const stored = await coordinator.prepareWorkflow(request, { signal }).catch(() => undefined);
      if (stored?.status !== status) throw error;
    }
  }

  #request(
    name: string,
    gid: string,
    data: Uint8Array | undefined,
    { transaction = {} }: WorkflowOptions,
  ): TransactionRequest {
    const encoded = data === undefined ? null : Buffer.from(data).toString('base64');
    return {
      gid,
      transactionType: 'workflow',
      options: transaction,
      queryPrepared: this.#queryPrepared,
      // In the order of dtm's Go client: the same text for the same workflow.
      customData: JSON.stringify({ data: encoded, name }),
    };
  }
}

/** Undefined: not ended. */
function endedResult(record: WorkflowRecord): Uint8Array | undefined {
  if (record.status === 'failed') throw new FailureError(record.rollbackReason);
  return record.status === 'succeed' ? record.result : undefined;
}
