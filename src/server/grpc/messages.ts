// The messages of proto/dtmgimp.proto in our words, and back.
//
// Does not own: what a field may be (server/requests checks it).
// Source: the dtm protocol reference, §3.2.

import type { Transaction } from '../../engine/index.ts';
import {
  type GivenRegistration,
  type GivenTransaction,
  givenStepsOfText,
  InvalidRequestError,
  type JsonLimits,
  type NamedTransaction,
  wellFormed,
  workflowProgresses,
} from '../requests/index.ts';

type Texts = Readonly<Record<string, string>>;

/** As decoded: every field is there, with its default. */
export interface DtmRequest {
  readonly Gid: string;
  readonly TransType: string;
  readonly TransOptions: DtmTransOptions | null;
  readonly CustomedData: string;
  readonly BinPayloads: readonly Buffer[];
  readonly QueryPrepared: string;
  readonly Steps: string;
  readonly ReqExtra: Texts;
  readonly RollbackReason: string;
}
export interface DtmTransOptions {
  readonly WaitResult: boolean;
  readonly TimeoutToFail: number;
  readonly RetryInterval: number;
  readonly BranchHeaders: Texts;
  readonly RequestTimeout: number;
  readonly RetryLimit: number;
}
export interface DtmBranchRequest {
  readonly Gid: string;
  readonly TransType: string;
  readonly BranchID: string;
  readonly Op: string;
  readonly Data: Texts;
  readonly BusiPayload: Buffer;
}
export interface DtmTopicRequest {
  readonly Topic: string;
  readonly URL: string;
  readonly Remark: string;
}
export interface DtmProgressesReply {
  readonly Transaction: {
    readonly Gid: string;
    readonly Status: string;
    readonly RollbackReason: string;
    readonly Result: string;
  };
  readonly Progresses: readonly {
    readonly Status: string;
    readonly BinData: Uint8Array;
    readonly BranchID: string;
    readonly Op: string;
  }[];
}

/** @throws InvalidRequestError */
export function givenTransaction(request: DtmRequest, limits: JsonLimits): GivenTransaction {
  const options = request.TransOptions;
  return {
    gid: request.Gid,
    type: request.TransType,
    steps: givenStepsOfText(request.Steps, limits),
    payloads: request.BinPayloads,
    queryPrepared: request.QueryPrepared,
    protocol: 'grpc',
    customData: request.CustomedData,
    rollbackReason: request.RollbackReason,
    options: {
      waitResult: options?.WaitResult ?? false,
      // Neither can be said over gRPC.
      concurrent: false,
      retryCount: undefined,
      timeoutToFailS: options?.TimeoutToFail,
      requestTimeoutS: options?.RequestTimeout,
      retryIntervalS: options?.RetryInterval,
      retryLimit: options?.RetryLimit,
      branchHeaders: textsOf(options?.BranchHeaders ?? {}, 'BranchHeaders'),
    },
    requestExtra: textsOf(request.ReqExtra, 'ReqExtra'),
  };
}

export function namedTransaction(request: DtmRequest): NamedTransaction {
  return {
    gid: request.Gid,
    type: request.TransType,
    rollbackReason: request.RollbackReason,
  };
}

/** @throws InvalidRequestError */
export function givenRegistration(request: DtmBranchRequest): GivenRegistration {
  return {
    gid: request.Gid,
    type: request.TransType,
    branchId: request.BranchID,
    texts: textsOf(request.Data, 'Data'),
    payload: request.BusiPayload,
  };
}

/** The result too: a client that runs a finished workflow again needs it (defect 12.2). */
export function progressesReply(transaction: Transaction): DtmProgressesReply {
  const { gid, status, rollbackReason, result } = transaction.state;
  return {
    Transaction: {
      Gid: gid,
      Status: status,
      RollbackReason: wellFormed(rollbackReason),
      Result: result,
    },
    Progresses: workflowProgresses(transaction).map((progress) => ({
      Status: progress.status,
      BinData: progress.data,
      BranchID: progress.branchId,
      Op: progress.op,
    })),
  };
}

/** A map of the wire. The library makes an object of it, on which this key is no plain property. */
function textsOf(texts: Texts, field: string): ReadonlyMap<string, string> {
  if (Object.hasOwn(texts, '__proto__')) {
    throw new InvalidRequestError(`${field} must not contain the key __proto__`);
  }
  return new Map(Object.entries(texts));
}
