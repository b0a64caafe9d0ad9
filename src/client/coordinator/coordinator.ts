// What the patterns need from a coordinator, whatever the protocol.

import type { BranchRegistration, TransactionRequest } from '../transaction.ts';

export interface CallOptions {
  /** Stops waiting; what was asked for may still happen (outcome unknown). */
  readonly signal?: AbortSignal | undefined;
}

/** What the coordinator keeps of a workflow. */
export interface WorkflowRecord {
  readonly status: string;
  readonly rollbackReason: string;
  readonly result: Uint8Array;
  readonly progresses: readonly WorkflowProgress[];
}

export interface WorkflowProgress {
  readonly branchId: string;
  readonly op: string;
  readonly status: string;
  readonly data: Uint8Array;
}

export interface Subscription {
  readonly topic: string;
  readonly url: string;
  readonly remark?: string;
}

export interface Coordinator {
  readonly protocol: 'http' | 'grpc';
  /** The endpoint in use, as branches are told of it: nested branches register there. */
  readonly address: string;
  newGid(options?: CallOptions): Promise<string>;
  prepare(request: TransactionRequest, options?: CallOptions): Promise<void>;
  submit(request: TransactionRequest, options?: CallOptions): Promise<void>;
  abort(request: TransactionRequest, options?: CallOptions): Promise<void>;
  registerBranch(registration: BranchRegistration, options?: CallOptions): Promise<void>;
  prepareWorkflow(request: TransactionRequest, options?: CallOptions): Promise<WorkflowRecord>;
  subscribe(subscription: Subscription, options?: CallOptions): Promise<void>;
  unsubscribe(subscription: Subscription, options?: CallOptions): Promise<void>;
  deleteTopic(topic: string, options?: CallOptions): Promise<void>;
  close(): void;
}
