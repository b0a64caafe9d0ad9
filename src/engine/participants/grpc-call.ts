// One gRPC call from dispatch to outcome.
//
// Does not own queues and limits: its owner does. Invariants: `done` runs once; a dispatch ends in
// exactly one `slotFreed`; `notSent` is answered only when nothing was written.
//
// The dispatch lease is asked where the library asks for the credentials of a call: after a
// connection has been chosen, right before the stream is opened on it, and again whenever it chooses
// anew. Nothing lies between that moment and the write but one microtask.

import {
  CallCredentials,
  type Client,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js';
import type { Done } from './answering.ts';
import type { GrpcChannel } from './grpc-channel.ts';
import { readGrpcStatus } from './grpc-outcome.ts';
import type { QueuedCall, Target } from './target.ts';
import type { NotSent, Reach } from './target-table.ts';
import type { CallOutcome } from './types.ts';

export type GrpcTarget = Target<GrpcChannel, GrpcCall>;

export interface GrpcCallOwner {
  readonly detailBytesMax: number;
  nowMs(): number;
  wallMs(): number;
  dispatched(call: GrpcCall): void;
  slotFreed(call: GrpcCall, reach: Reach): void;
  settled(call: GrpcCall, outcome: CallOutcome): void;
}

export interface GrpcRequest {
  readonly method: string;
  readonly message: Buffer;
  readonly metadata: Metadata;
  readonly timeoutMs: number;
}

const NOT_ALLOWED = new Error('dispatching has ended');
const passThrough = (bytes: Buffer): Buffer => bytes;
const ignoreAnswer = (): undefined => undefined;

export class GrpcCall implements QueuedCall {
  readonly mayWrite: () => boolean;
  readonly done: Done;
  readonly target: GrpcTarget;
  readonly #owner: GrpcCallOwner;
  readonly #request: GrpcRequest;
  probe = false;
  isSettled = false;
  #startedAtMs: number | undefined;
  #writtenAtMs: number | undefined;
  #leaseEnded = false;
  /** Something came from the service itself. */
  #answered = false;
  #client: Client | undefined;
  #inflight: ClientUnaryCall | undefined;

  constructor(
    callbacks: { readonly mayWrite: () => boolean; readonly done: Done },
    owner: GrpcCallOwner,
    target: GrpcTarget,
    request: GrpcRequest,
  ) {
    this.mayWrite = callbacks.mayWrite;
    this.done = callbacks.done;
    this.target = target;
    this.#owner = owner;
    this.#request = request;
  }

  dispatch(): void {
    const { method, message, metadata, timeoutMs } = this.#request;
    this.#startedAtMs = this.#owner.nowMs();
    this.#owner.dispatched(this);
    try {
      const client = this.target.connections.client();
      this.#client = client;
      this.#inflight = client.makeUnaryRequest(
        method,
        passThrough,
        ignoreAnswer,
        message,
        metadata,
        { credentials: this.#leaseCheck(), deadline: this.#owner.wallMs() + timeoutMs },
        (error) => this.#ended(error),
      );
      this.#inflight.on('metadata', () => {
        this.#answered = true;
      });
    } catch (error) {
      this.#owner.slotFreed(this, 'nothing');
      this.#settle(this.#unknown(error instanceof Error ? error.message : String(error)));
    }
  }

  refuseWrite(): void {
    this.#settle({ kind: 'notSent', reason: 'lease' });
  }

  refuse(outcome: NotSent): void {
    this.#settle(outcome);
  }

  /** Breaks a running call off; its end is reported as usual. */
  cancel(): void {
    this.#inflight?.cancel();
  }

  #leaseCheck(): CallCredentials {
    return CallCredentials.createFromMetadataGenerator((_options, answer) => {
      if (this.mayWrite()) {
        this.#writtenAtMs ??= this.#owner.nowMs();
        answer(null, new Metadata());
      } else {
        this.#leaseEnded = true;
        answer(NOT_ALLOWED);
      }
    });
  }

  #ended(error: ServiceError | null): void {
    this.#owner.slotFreed(this, this.#reach(error));
    if (this.#leaseEnded) {
      // A stream that the service refused unseen may have been written before.
      this.#settle(
        this.#writtenAtMs === undefined
          ? { kind: 'notSent', reason: 'lease' }
          : this.#unknown('dispatching ended before the call was repeated'),
      );
    } else if (error === null) {
      this.#settle({ kind: 'success', detail: '', durationMs: this.#durationMs() });
    } else {
      this.#settle(this.#outcomeOf(error));
    }
  }

  #outcomeOf(error: ServiceError): CallOutcome {
    const { code, details } = error;
    const kind = readGrpcStatus(code, details);
    if (kind !== 'unknown') {
      return { kind, detail: this.#cut(details), durationMs: this.#durationMs() };
    }
    if (code === Status.DEADLINE_EXCEEDED && this.#durationMs() >= this.#request.timeoutMs - 1) {
      const phase = this.#writtenAtMs === undefined ? ' while connecting' : '';
      return this.#unknown(`timeout after ${this.#request.timeoutMs} ms${phase}`);
    }
    const outcome = this.#unknown(`${nameOf(code)}: ${details}`);
    return this.#hasAnswer(error) ? { ...outcome, status: nameOf(code) } : outcome;
  }

  /** An answer without a message consists of trailers alone; errors made here have none. */
  #hasAnswer(error: ServiceError | null): boolean {
    return this.#answered || error === null || Object.keys(error.metadata.getMap()).length > 0;
  }

  /** What the call's end says about its target; a channel that is of no use any more is retired. */
  #reach(error: ServiceError | null): Reach {
    const { connections } = this.target;
    if (error === null || this.#hasAnswer(error)) {
      connections.answeredAtMs = this.#owner.nowMs();
      return 'connected';
    }
    if (this.#leaseEnded || error.code === Status.CANCELLED) {
      return 'nothing';
    }
    if (this.#writtenAtMs === undefined) {
      this.#retireChannel();
      return 'notConnected';
    }
    if (connections.answeredAtMs < this.#writtenAtMs) {
      this.#retireChannel();
    }
    // A connection that broke while it was used, or was silent: its service may be restarting.
    return 'nothing';
  }

  #retireChannel(): void {
    if (this.#client !== undefined) {
      this.target.connections.retire(this.#client);
    }
  }

  #settle(outcome: CallOutcome): void {
    if (!this.isSettled) {
      this.isSettled = true;
      this.#owner.settled(this, outcome);
    }
  }

  #unknown(detail: string): Exclude<CallOutcome, NotSent> {
    return { kind: 'unknown', detail: this.#cut(detail), durationMs: this.#durationMs() };
  }

  #cut(text: string): string {
    const { detailBytesMax } = this.#owner;
    return text.length * 3 <= detailBytesMax
      ? text
      : Buffer.from(text, 'utf8').toString('utf8', 0, detailBytesMax);
  }

  #durationMs(): number {
    return this.#startedAtMs === undefined ? 0 : this.#owner.nowMs() - this.#startedAtMs;
  }
}

/** Services of other makers send numbers that are no status. */
function nameOf(code: number): string {
  const name: unknown = Status[code];
  return typeof name === 'string' ? name : `status ${code}`;
}
