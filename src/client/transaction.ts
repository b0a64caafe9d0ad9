// A transaction as the application describes it, before any protocol. Pure.
//
// Source: dtm reference §1.3 (fields), §5.3 (options).

import { UsageError } from './errors.ts';
import { checkText } from './given.ts';

export type TransactionType = 'saga' | 'tcc' | 'msg' | 'xa' | 'workflow';

/** Durations are whole seconds: the protocol has no finer unit. */
export interface TransactionOptions {
  /** Answer only when the transaction has ended, or a first attempt has. */
  readonly waitResult?: boolean;
  readonly timeoutToFailSeconds?: number;
  /** Of each call that the coordinator makes to a branch. */
  readonly requestTimeoutSeconds?: number;
  readonly retryIntervalSeconds?: number;
  /** Headers or metadata of every call to a branch. */
  readonly branchHeaders?: Readonly<Record<string, string>>;
  /** Saga: give up, and compensate, after this many repetitions. */
  readonly retryLimit?: number;
  /**
   * How the coordinator calls branches whose URL does not say: `grpc` for host:port/service/method,
   * `json-rpc` for URLs with a `method` parameter. Default: the protocol of this client.
   */
  readonly branchProtocol?: 'http' | 'grpc' | 'json-rpc';
}

export interface Step {
  readonly action: string;
  readonly compensate?: string;
}

/** What goes to a branch: bytes as they are, anything else as JSON. */
export type Payload = unknown;

export interface TransactionRequest {
  readonly gid: string;
  readonly transactionType: TransactionType;
  readonly options: TransactionOptions;
  readonly steps?: readonly Step[];
  readonly payloads?: readonly Uint8Array[];
  /** JSON text. */
  readonly customData?: string;
  readonly queryPrepared?: string;
  readonly rollbackReason?: string;
  readonly concurrent?: boolean;
  /** Of a workflow's submit. */
  readonly requestExtra?: Readonly<Record<string, string>>;
}

export interface BranchRegistration {
  readonly gid: string;
  readonly transactionType: TransactionType;
  readonly branchId: string;
  readonly payload: Uint8Array | undefined;
  /** confirm and cancel, or url, or op and status. */
  readonly fields: Readonly<Record<string, string>>;
}

/** `undefined` becomes the JSON text null, as dtm's Go client sends it: branches are always POSTed. */
export function payloadBytes(payload: Payload): Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  return new TextEncoder().encode(JSON.stringify(payload ?? null));
}

/** HTTP carries payloads as JSON strings, which hold no bytes that are not UTF-8. */
export function payloadText(payload: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch (error) {
    throw new UsageError(`${what} is not UTF-8: over HTTP only text can be sent; use gRPC`, error);
  }
}

export function checkGid(gid: string): string {
  checkText(gid, 'gid', 'text that is not empty');
  if (gid === '') throw new UsageError('the gid is empty');
  // The coordinator deletes these from gids over HTTP (dtm reference §1.1): ids would no longer match.
  if (/[\n\r;]/.test(gid)) throw new UsageError('a gid has no line breaks and no semicolons');
  return gid;
}
