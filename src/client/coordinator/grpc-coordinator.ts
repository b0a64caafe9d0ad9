// A coordinator over the gRPC service dtmgimp.Dtm, at several endpoints.
//
// Source: dtm reference §3. Status codes: §3.3 and docs/errors.md.

import {
  CoordinatorError,
  joined,
  OngoingError,
  type Outcome,
  RefusedError,
  UsageError,
} from '../errors.ts';
import type { BranchRegistration, TransactionRequest } from '../transaction.ts';
import type { CallOptions, Coordinator, Subscription, WorkflowRecord } from './coordinator.ts';
import { AttemptError, Failover, type FailoverOptions } from './failover.ts';
import type { GrpcAnswer, GrpcChannels } from './grpc-channels.ts';
import {
  parseGid,
  parseWorkflowReply,
  registrationMessage,
  topicMessage,
  transactionMessage,
} from './grpc-messages.ts';
import { GrpcStatus } from './grpc-status.ts';

const EMPTY = new Uint8Array();

/** What another node may answer differently. */
const ASK_ANOTHER: ReadonlySet<number> = new Set([
  GrpcStatus.unavailable,
  GrpcStatus.deadlineExceeded,
  GrpcStatus.cancelled,
]);
/** Refused for what the request says, before anything was done. */
const NOT_DONE: ReadonlySet<number> = new Set([
  GrpcStatus.invalidArgument,
  GrpcStatus.unimplemented,
  GrpcStatus.permissionDenied,
  GrpcStatus.unauthenticated,
]);

/** Codes of the catalogue after which the request may have been carried out (docs/errors.md). */
const PERHAPS_DONE: ReadonlySet<string> = new Set(['OUTCOME_UNKNOWN', 'INTERNAL']);
/** grpc-js's words for a call that found no connection to go out on. */
const NOT_SENT =
  /No connection established|Name resolution failed|Channel closed before call started/;

type Refusal = Exclude<GrpcAnswer, { readonly kind: 'ok' }>;

/** UNAVAILABLE without a code of the catalogue may come after the request went out. */
function outcomeOf({ code, details, assentCode }: Refusal): Outcome {
  if (assentCode !== undefined) return PERHAPS_DONE.has(assentCode) ? 'unknown' : 'none';
  if (code === GrpcStatus.unavailable && NOT_SENT.test(details)) return 'none';
  return NOT_DONE.has(code) ? 'none' : 'unknown';
}

/** `host:36790`. */
export function grpcEndpoint(endpoint: string): string {
  if (endpoint.includes('/') || !/.:\d{1,5}$/.test(endpoint)) {
    throw new UsageError(`"${endpoint}" is no gRPC endpoint, such as 127.0.0.1:36790`);
  }
  return endpoint;
}

export class GrpcCoordinator implements Coordinator {
  readonly protocol = 'grpc';
  readonly #failover: Failover;
  readonly #channels: GrpcChannels;
  readonly #metadata: Readonly<Record<string, string>>;

  constructor(
    options: FailoverOptions & {
      readonly channels: GrpcChannels;
      readonly metadata?: Readonly<Record<string, string>>;
    },
  ) {
    this.#failover = new Failover({ ...options, endpoints: options.endpoints.map(grpcEndpoint) });
    this.#channels = options.channels;
    this.#metadata = options.metadata ?? {};
  }

  get address(): string {
    return this.#failover.current;
  }

  async newGid(options: CallOptions = {}): Promise<string> {
    return parseGid(await this.#call('NewGid', EMPTY, options));
  }

  async prepare(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    await this.#call('Prepare', transactionMessage(request), options);
  }

  async submit(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    const refused = request.options.waitResult === true ? 'unknown' : 'none';
    await this.#call('Submit', transactionMessage(request), options, refused);
  }

  async abort(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    await this.#call('Abort', transactionMessage(request), options);
  }

  async registerBranch(registration: BranchRegistration, options: CallOptions = {}): Promise<void> {
    await this.#call('RegisterBranch', registrationMessage(registration), options);
  }

  async prepareWorkflow(
    request: TransactionRequest,
    options: CallOptions = {},
  ): Promise<WorkflowRecord> {
    const message = transactionMessage(request);
    return parseWorkflowReply(await this.#call('PrepareWorkflow', message, options));
  }

  async subscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    await this.#call('Subscribe', topicMessage(subscription), options);
  }

  async unsubscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    await this.#call('Unsubscribe', topicMessage(subscription), options);
  }

  async deleteTopic(topic: string, options: CallOptions = {}): Promise<void> {
    await this.#call('DeleteTopic', topicMessage({ topic, url: '' }), options);
  }

  close(): void {
    this.#channels.close();
  }

  #call(
    name: string,
    message: Uint8Array,
    options: CallOptions,
    refusedOutcome: Outcome = 'none',
  ): Promise<Uint8Array> {
    return this.#failover.run(async ({ endpoint, signal, earlierOutcome }) => {
      const method = `/dtmgimp.Dtm/${name}`;
      const metadata = this.#metadata;
      const call = { target: endpoint, method, message, metadata, signal };
      const answer = await this.#channels.call(call);
      if (answer.kind === 'ok') return answer.message;
      const { code, details } = answer;
      if (code === GrpcStatus.failedPrecondition) throw new OngoingError(details);
      if (code === GrpcStatus.aborted) {
        throw new RefusedError(details, joined(earlierOutcome, refusedOutcome));
      }
      const outcome = outcomeOf(answer);
      if (ASK_ANOTHER.has(code)) throw new AttemptError(`${endpoint} ${name}: ${details}`, outcome);
      throw new CoordinatorError(details, code, joined(earlierOutcome, outcome));
    }, options.signal);
  }
}
