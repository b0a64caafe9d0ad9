// The client: endpoints, protocol and limits, and from it every pattern.

import type { Branch } from './branch.ts';
import { BranchCaller } from './branch-caller.ts';
import type { Context, Started, StartOptions } from './context.ts';
import type { CallOptions, Coordinator, Subscription } from './coordinator/coordinator.ts';
import { FAILOVER_DEFAULTS, type FailoverOptions } from './coordinator/failover.ts';
import { type Credentials, GrpcChannels } from './coordinator/grpc-channels.ts';
import { GrpcCoordinator } from './coordinator/grpc-coordinator.ts';
import { HttpCoordinator, httpEndpoint } from './coordinator/http-coordinator.ts';
import { UsageError } from './errors.ts';
import { checkClientOptions } from './given.ts';
import { Msg, type MsgOptions } from './msg.ts';
import { Saga, type SagaOptions } from './saga.ts';
import { runTcc, Tcc } from './tcc.ts';
import type { TransactionType } from './transaction.ts';
import { WorkflowEngine, type WorkflowEngineOptions } from './workflow/engine.ts';
import { xaLocal } from './xa/local.ts';
import type { XaResource } from './xa/resource.ts';
import { runXa, Xa } from './xa.ts';

export interface ClientOptions extends Partial<FailoverOptions> {
  /** `http://host:36789`, or for gRPC `host:36790`; any node of the cluster, best several. */
  readonly endpoints: readonly string[];
  /** Default: http. */
  readonly protocol?: 'http' | 'grpc';
  /** Of each branch that this client itself calls; default 10,000. */
  readonly branchTimeoutMs?: number;
  /**
   * Headers, or metadata, of every request to `endpoints`. A coordinator that only the request for a
   * branch names gets none: whoever sends that request would learn them.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of gRPC; default: not encrypted. */
  readonly credentials?: Credentials;
  /** Told of an error that another one hides; default: a warning of the process. */
  readonly onHiddenError?: (error: unknown, doing: string) => void;
}

const BRANCH_TIMEOUT_MS = 10_000;
/** Other coordinators that nested branches named. */
const FOREIGN_MAX = 16;

function warn(error: unknown, doing: string): void {
  process.emitWarning(`${doing}: ${String(error)}`, 'DtmHiddenError');
}

export class DtmClient {
  readonly #options: ClientOptions;
  readonly #channels: GrpcChannels;
  readonly #context: Context;
  readonly #foreign = new Map<string, Context>();

  constructor(options: ClientOptions) {
    checkClientOptions(options);
    this.#options = options;
    this.#channels = new GrpcChannels(options.credentials);
    const caller = new BranchCaller(this.#channels, options.branchTimeoutMs ?? BRANCH_TIMEOUT_MS);
    const coordinator = this.#coordinator(
      options.protocol ?? 'http',
      options.endpoints,
      options.headers,
    );
    this.#context = { coordinator, caller, onHiddenError: options.onHiddenError ?? warn };
  }

  saga(options: SagaOptions = {}): Saga {
    return new Saga(this.#context, options);
  }

  msg(options: MsgOptions = {}): Msg {
    return new Msg(this.#context, options);
  }

  /** Prepares, runs `execute`, then submits; an error of `execute` aborts and is thrown. */
  tcc<T>(execute: (tcc: Tcc) => Promise<T>, options: StartOptions = {}): Promise<T> {
    return runTcc(this.#context, execute, options);
  }

  /** Prepares, runs `execute`, then submits; an error of `execute` aborts and is thrown. */
  xa<T>(execute: (xa: Xa) => Promise<T>, options: StartOptions = {}): Promise<T> {
    return runXa(this.#context, execute, options);
  }

  /** For a service that is itself a branch of a TCC: its own branches join the same transaction. */
  tccWithin(branch: Branch): Tcc {
    const transaction = nested(branch, 'tcc');
    return new Tcc(this.#contextOf(branch.dtm), transaction, branch.branchId);
  }

  xaWithin(branch: Branch): Xa {
    const transaction = nested(branch, 'xa');
    return new Xa(this.#contextOf(branch.dtm), transaction, branch.branchId);
  }

  /** A service's part of an XA transaction: both phases, as `branch.op` says. */
  xaLocal<Connection>(
    branch: Branch,
    resource: XaResource<Connection>,
    business: (connection: Connection) => Promise<void>,
  ): Promise<void> {
    return xaLocal(this.#contextOf(branch.dtm).coordinator, branch, resource, business);
  }

  workflows(options: WorkflowEngineOptions): WorkflowEngine {
    return new WorkflowEngine(this.#context, options);
  }

  /** A gid of the coordinator's; `newGid()` of this module makes one without asking. */
  newGid(options: CallOptions = {}): Promise<string> {
    return this.#context.coordinator.newGid(options);
  }

  /** The stored status; undefined: unknown gid. gRPC offers no query. */
  async queryStatus(gid: string, options: CallOptions = {}): Promise<string | undefined> {
    const { coordinator } = this.#context;
    if (coordinator instanceof HttpCoordinator) return coordinator.queryStatus(gid, options);
    throw new UsageError('dtm offers no query over gRPC: use an HTTP client');
  }

  subscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    return this.#context.coordinator.subscribe(subscription, options);
  }

  unsubscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    return this.#context.coordinator.unsubscribe(subscription, options);
  }

  deleteTopic(topic: string, options: CallOptions = {}): Promise<void> {
    return this.#context.coordinator.deleteTopic(topic, options);
  }

  close(): void {
    this.#channels.close();
  }

  #coordinator(
    protocol: 'http' | 'grpc',
    endpoints: readonly string[],
    headers: Readonly<Record<string, string>> = {},
  ): Coordinator {
    const options = { ...FAILOVER_DEFAULTS, ...this.#options, endpoints };
    if (protocol === 'http') return new HttpCoordinator({ ...options, headers });
    return new GrpcCoordinator({ ...options, channels: this.#channels, metadata: headers });
  }

  /** Of the coordinator that the initiator uses: this client's own, where it knows that endpoint. */
  #contextOf(dtm: string): Context {
    const { endpoints, protocol = 'http' } = this.#options;
    const own = protocol === 'http' ? endpoints.map(httpEndpoint) : endpoints;
    const address = dtm.includes('://') ? httpEndpoint(dtm) : dtm;
    if (address === '' || own.includes(address)) return this.#context;
    const known = this.#foreign.get(address);
    if (known !== undefined) return known;
    if (this.#foreign.size >= FOREIGN_MAX) this.#foreign.clear();
    const coordinator = this.#coordinator(dtm.includes('://') ? 'http' : 'grpc', [address]);
    const context = { ...this.#context, coordinator };
    this.#foreign.set(address, context);
    return context;
  }
}

function nested(branch: Branch, transactionType: TransactionType): Started {
  if (branch.transactionType === transactionType) {
    return { gid: branch.gid, transactionType, options: {} };
  }
  throw new UsageError(`${branch.gid} is a ${branch.transactionType}, no ${transactionType}`);
}
