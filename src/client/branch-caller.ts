// Calls of branches that the initiator itself makes: try of tcc, action of xa, the check-back of a
// message whose local transaction ended unclearly, steps of workflows.
//
// Source: dtm reference §10.4 (parameters), §3.4 (metadata), §4.1 (which protocol).

import { grpcBranchError, httpBranchError, httpStepError } from './branch-outcome.ts';
import { AttemptError } from './coordinator/failover.ts';
import type { GrpcChannels } from './coordinator/grpc-channels.ts';
import { sendHttp } from './coordinator/http-request.ts';
import { BranchError, CancelledError, messageOf, UsageError } from './errors.ts';

export interface BranchCall {
  readonly url: string;
  readonly gid: string;
  readonly transactionType: string;
  readonly branchId: string;
  readonly op: string;
  /** Undefined: not told. */
  readonly dtm?: string | undefined;
  readonly phase2Url?: string | undefined;
  /** Default: POST. */
  readonly method?: string | undefined;
  readonly payload?: Uint8Array | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Workflow steps go by the status alone; other calls also by the words in the text. */
  readonly reading?: 'status' | 'status-and-text';
}

/** What a branch answered. */
export class BranchReply {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get text(): string {
    return Buffer.from(this.bytes).toString();
  }

  json(): unknown {
    return JSON.parse(this.text);
  }
}

/** `host:port/package.Service/Method` at its first slash. */
export function splitGrpcUrl(url: string): { readonly target: string; readonly method: string } {
  const slash = url.indexOf('/');
  if (slash <= 0 || url.includes('://')) {
    throw new UsageError(`"${url}" is neither an HTTP URL nor host:port/package.Service/Method`);
  }
  return { target: url.slice(0, slash), method: url.slice(slash) };
}

export function isHttpUrl(url: string): boolean {
  return url.startsWith('http://') || url.startsWith('https://');
}

function parameters(call: BranchCall): [string, string][] {
  const { gid, transactionType, branchId, op, dtm, phase2Url } = call;
  const known: [string, string | undefined][] = [
    ['branch_id', branchId],
    ['dtm', dtm],
    ['gid', gid],
    ['op', op],
    ['phase2_url', phase2Url],
    ['trans_type', transactionType],
  ];
  return known.flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]));
}

export function branchUrl(call: BranchCall): string {
  const query = new URLSearchParams(parameters(call));
  return `${call.url}${call.url.includes('?') ? '&' : '?'}${query.toString()}`;
}

export class BranchCaller {
  readonly #channels: GrpcChannels;
  readonly #timeoutMs: number;

  constructor(channels: GrpcChannels, timeoutMs: number) {
    this.#channels = channels;
    this.#timeoutMs = timeoutMs;
  }

  /** Throws FailureError, OngoingError, or BranchError where the branch may or may not have run. */
  async call(call: BranchCall): Promise<BranchReply> {
    // An empty URL is a success without a call (dtm reference §4.1).
    if (call.url === '') return new BranchReply(new Uint8Array());
    const controller = new AbortController();
    const stop = () => controller.abort(call.signal?.reason);
    const late = new Error(`no answer within ${this.#timeoutMs} ms`);
    const timer = setTimeout(() => controller.abort(late), this.#timeoutMs);
    call.signal?.addEventListener('abort', stop, { once: true });
    if (call.signal?.aborted === true) stop();
    try {
      const limited = { ...call, signal: controller.signal };
      return isHttpUrl(call.url) ? await callHttp(limited) : await this.#callGrpc(limited);
    } catch (error) {
      if (call.signal?.aborted === true) {
        throw new CancelledError(`the call of ${call.url} was given up`, 'unknown', error);
      }
      if (error instanceof AttemptError) throw new BranchError(messageOf(error), error);
      throw error;
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', stop);
    }
  }

  async #callGrpc(call: BranchCall): Promise<BranchReply> {
    const metadata = Object.fromEntries(
      parameters(call).map(([key, value]) => [`dtm-${key}`, value]),
    );
    const answer = await this.#channels.call({
      ...splitGrpcUrl(call.url),
      message: call.payload ?? new Uint8Array(),
      metadata: { ...metadata, ...call.headers },
      signal: call.signal,
    });
    const error = grpcBranchError(answer);
    if (error !== undefined || answer.kind !== 'ok') throw error ?? new BranchError('no answer');
    return new BranchReply(answer.message);
  }
}

async function callHttp(call: BranchCall): Promise<BranchReply> {
  const { method = 'POST', payload, headers, signal, reading } = call;
  const answer = await sendHttp({ method, url: branchUrl(call), body: payload, headers, signal });
  const error = reading === 'status' ? httpStepError(answer) : httpBranchError(answer);
  if (error !== undefined) throw error;
  return new BranchReply(answer.bytes);
}
