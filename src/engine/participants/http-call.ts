// One HTTP call from dispatch to outcome, over every redirect: what undici reports, read as the
// protocol wants it.
//
// Does not own queues, limits or deadlines: its owner does. Invariants: `settle` takes effect once;
// each dispatch ends in exactly one `slotFreed`; `notSent` is answered only when no byte of any hop
// was written.

import type { Dispatcher, Pool } from 'undici';
import type { Deadline } from './deadlines.ts';
import type { HttpForm, HttpRequest } from './http-form.ts';
import type { Connections, QueuedCall, Target } from './target.ts';
import type { NotSent, Reach } from './target-table.ts';
import type { BranchCall, CallOutcome } from './types.ts';

/**
 * As many connections as calls may be in flight: a request that is handed to the pool is written at
 * once or as soon as its own connection stands; none waits inside undici behind another.
 */
export class HttpConnections implements Connections {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  dispatch(call: HttpCall): void {
    const { path, method, headers, body } = call;
    this.#pool.dispatch({ path, method, headers, body }, call);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

export type HttpTarget = Target<HttpConnections, HttpCall>;

export interface HttpCallOwner {
  readonly answerBytesMax: number;
  readonly detailBytesMax: number;
  nowMs(): number;
  /** The call's time begins to run. */
  started(call: HttpCall): void;
  /** undici is finished with the call's current request. */
  slotFreed(call: HttpCall, reach: Reach): void;
  /** The answer asks for another address. */
  redirected(call: HttpCall, status: number, location: string): void;
  settled(call: HttpCall, outcome: CallOutcome): void;
}

const GIVEN_UP = new Error('given up');

export class HttpCall implements Dispatcher.DispatchHandler, QueuedCall {
  readonly call: BranchCall;
  readonly mayWrite: () => boolean;
  readonly done: (outcome: CallOutcome) => void;
  readonly #owner: HttpCallOwner;
  readonly #read: HttpForm['read'];

  /** Where the current hop goes. */
  target: HttpTarget;
  url: URL;
  path: string;
  method: 'GET' | 'POST';
  headers: string[];
  body: Uint8Array | null;
  redirectCount = 0;

  probe = false;
  deadline: Deadline | undefined;
  isSettled = false;

  #startedAtMs: number | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** Something of this call, on any hop, may have reached a service. */
  #anythingWritten = false;
  #hopWritten = false;
  #leaseEnded = false;
  #status = 0;
  #location: string | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(
    callbacks: {
      readonly call: BranchCall;
      readonly mayWrite: () => boolean;
      readonly done: (outcome: CallOutcome) => void;
      readonly read: HttpForm['read'];
    },
    owner: HttpCallOwner,
    at: HttpRequest & {
      readonly target: HttpTarget;
      readonly url: URL;
      readonly headers: string[];
    },
  ) {
    this.call = callbacks.call;
    this.mayWrite = callbacks.mayWrite;
    this.done = callbacks.done;
    this.#read = callbacks.read;
    this.#owner = owner;
    this.target = at.target;
    this.url = at.url;
    this.path = at.path;
    this.method = at.method;
    this.body = at.body;
    this.headers = at.headers;
  }

  /** Hands the current hop to a connection; from now on undici reports to this call. */
  dispatch(): void {
    if (this.#startedAtMs === undefined) {
      this.#startedAtMs = this.#owner.nowMs();
      this.#owner.started(this);
    }
    this.target.connections.dispatch(this);
  }

  /** Prepares the next hop; the owner queues it on its target. */
  follow(hop: {
    readonly target: HttpTarget;
    readonly url: URL;
    readonly headers: string[];
    readonly keepBody: boolean;
  }): void {
    this.target = hop.target;
    this.url = hop.url;
    this.path = hop.url.pathname + hop.url.search;
    this.headers = hop.headers;
    if (!hop.keepBody) {
      this.method = 'GET';
      this.body = null;
    }
    this.redirectCount += 1;
    this.#hopWritten = false;
    this.#controller = undefined;
    this.#status = 0;
    this.#location = undefined;
    this.#chunks = [];
    this.#bytes = 0;
  }

  /** The lease, or the owner's wish to call, has ended; asked before anything of a hop is sent. */
  refuseWrite(): void {
    this.settle(
      this.#anythingWritten
        ? this.unknown('dispatching ended before the redirect was followed')
        : { kind: 'notSent', reason: 'lease' },
    );
  }

  refuse(outcome: NotSent): void {
    if (this.redirectCount === 0) {
      this.settle(outcome);
      return;
    }
    const why = outcome.reason === 'circuitOpen' ? 'circuit open' : 'stopped';
    this.settle(this.unknown(`${why} at the address of the redirect`));
  }

  unknown(detail: string, status?: number): CallOutcome {
    return {
      kind: 'unknown',
      detail,
      durationMs: this.#durationMs(),
      ...(status === undefined ? {} : { status: String(status) }),
    };
  }

  /** The total time is over: the request is broken off and its connection freed. */
  timedOut(): void {
    const phase = this.#anythingWritten ? '' : ' while connecting';
    this.settle(this.unknown(`timeout after ${this.call.timeoutMs} ms${phase}`));
    this.#controller?.abort(GIVEN_UP);
  }

  settle(outcome: CallOutcome): void {
    if (!this.isSettled) {
      this.isSettled = true;
      this.#chunks = [];
      this.#owner.settled(this, outcome);
    }
  }

  // Runs right before the request is written to its connection.
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.isSettled) {
      controller.abort(GIVEN_UP);
      return;
    }
    if (!this.mayWrite()) {
      this.#leaseEnded = true;
      controller.abort(GIVEN_UP);
      return;
    }
    this.#controller = controller;
    this.#anythingWritten = true;
    this.#hopWritten = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.#status = status;
    const location = headers['location'];
    this.#location = Array.isArray(location) ? location[0] : location;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#owner.answerBytesMax) {
      this.settle(this.unknown(`answer too large: more than ${this.#owner.answerBytesMax} bytes`));
      controller.abort(GIVEN_UP);
      return;
    }
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#owner.slotFreed(this, 'connected');
    if (this.isSettled) {
      return;
    }
    const location = this.#location;
    if (location !== undefined && location !== '' && isRedirect(this.#status)) {
      this.#owner.redirected(this, this.#status, location);
    } else {
      this.settle(this.#readAnswer());
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#owner.slotFreed(this, this.#reachAfter(error));
    if (this.#leaseEnded) {
      this.refuseWrite();
    } else {
      this.settle(this.unknown(errorText(error)));
    }
  }

  #readAnswer(): CallOutcome {
    const [first] = this.#chunks;
    const all =
      this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    const text = all.toString('utf8').trim();
    const { detailBytesMax } = this.#owner;
    const kind = this.#read(this.#status, text);
    return {
      kind,
      ...(kind === 'unknown' ? { status: String(this.#status) } : {}),
      detail: all.length <= detailBytesMax ? text : all.toString('utf8', 0, detailBytesMax).trim(),
      durationMs: this.#durationMs(),
    };
  }

  #reachAfter(error: Error): Reach {
    const ours = error === GIVEN_UP;
    if (this.#status !== 0 || (ours && this.#hopWritten)) {
      return 'connected';
    }
    // A connection that broke while it was used says neither: its service may just be restarting.
    const neither = ours || this.#hopWritten || codeOf(error) === 'UND_ERR_INVALID_ARG';
    return neither ? 'nothing' : 'notConnected';
  }

  #durationMs(): number {
    return this.#startedAtMs === undefined ? 0 : this.#owner.nowMs() - this.#startedAtMs;
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function errorText(error: Error): string {
  const text = error.message !== '' ? error.message : codeOf(error);
  return text !== '' ? text : error.name;
}
