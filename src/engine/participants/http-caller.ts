// Calls branches over HTTP: finds the target, and follows redirects.
//
// Owns: what every HTTP call shares (URLs, headers, deadlines). Does not own: limits and queues
// (target-table.ts), what is sent and what an answer means (http-form.ts).
// Invariant: `done` runs once per call and never inside `call`.

import { Pool } from 'undici';
import type { Clock, Random } from '../../raft/index.ts';
import { Answering, type Done } from './answering.ts';
import { CallHeaders, withoutSecrets } from './call-headers.ts';
import { authorizationOf, type CallUrl, CallUrlCache } from './call-url.ts';
import type { ParticipantsConfig } from './config.ts';
import { Deadlines } from './deadlines.ts';
import type { EgressPolicy } from './egress.ts';
import { HttpCall, type HttpCallOwner, HttpConnections, type HttpTarget } from './http-call.ts';
import { branchForm, type HttpForm } from './http-form.ts';
import { QUEUE_FULL, TargetTable } from './target-table.ts';
import type { BranchCall, CallOutcome, ParticipantCaller, TargetStatus } from './types.ts';

export interface HttpCallerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: EgressPolicy;
}

export class HttpCaller implements ParticipantCaller {
  readonly #config: ParticipantsConfig;
  readonly #clock: Clock;
  readonly #egress: EgressPolicy;
  readonly #answering: Answering;
  readonly #deadlines: Deadlines;
  readonly #urls: CallUrlCache;
  readonly #headers: CallHeaders;
  readonly #targets: TargetTable<HttpConnections, HttpCall>;
  readonly #owner: HttpCallOwner;
  #closed = false;

  constructor(ports: HttpCallerPorts, config: ParticipantsConfig) {
    this.#config = config;
    this.#clock = ports.clock;
    this.#egress = ports.egress;
    this.#answering = new Answering(ports.clock);
    this.#deadlines = new Deadlines(ports.clock);
    this.#urls = new CallUrlCache(config.parsedUrlsMax, config.dockerHost);
    this.#headers = new CallHeaders(config.userAgent);
    this.#targets = new TargetTable({
      clock: ports.clock,
      random: ports.random,
      config,
      inflightPerTargetMax: config.connectionsPerTargetMax,
      connect: (origin) => new HttpConnections(poolOf(origin, config)),
    });
    this.#owner = {
      answerBytesMax: config.answerBytesMax,
      detailBytesMax: config.detailBytesMax,
      nowMs: () => this.#clock.monotonicMs(),
      started: (call) => {
        call.deadline = this.#deadlines.add(call.call.timeoutMs, () => call.timedOut());
      },
      slotFreed: (call, reach) => this.#targets.slotFreed(call.target, call, reach),
      redirected: (call, status, location) => this.#redirected(call, status, location),
      settled: (call, outcome) => this.#settled(call, outcome),
    };
  }

  call(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    this.callAs(branchForm, call, mayWrite, done);
  }

  /** As `call`, with another form of request and answer on the same targets. */
  callAs(form: HttpForm, call: BranchCall, mayWrite: () => boolean, done: Done): void {
    this.#answering.duringCall(() => this.#start(form, call, mayWrite, done));
  }

  targets(): readonly TargetStatus[] {
    return this.#targets.statuses();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#targets.close();
    this.#deadlines.close();
  }

  #start(form: HttpForm, call: BranchCall, mayWrite: () => boolean, done: Done): void {
    if (this.#closed) {
      this.#answering.answer(done, { kind: 'notSent', reason: 'stopped' });
      return;
    }
    const url = this.#urls.get(call.url);
    const refused = typeof url === 'string' ? url : this.#refusedByEgress(url.url);
    if (typeof url === 'string' || refused !== undefined) {
      this.#refuse(done, refused ?? '');
      return;
    }
    const request = form.request(call, url);
    if (typeof request === 'string') {
      this.#refuse(done, request);
      return;
    }
    const target = this.#targets.find(url.origin);
    const refusal = target === undefined ? QUEUE_FULL : this.#targets.refusal(target);
    if (target === undefined || refusal !== undefined) {
      this.#answering.answer(done, refusal ?? QUEUE_FULL);
      return;
    }
    const at = { target, url: url.url, ...request, headers: this.#headersFor(call, url) };
    const made = new HttpCall({ call, mayWrite, done, read: form.read }, this.#owner, at);
    this.#targets.enqueue(target, made);
  }

  #refuse(done: Done, detail: string): void {
    this.#answering.answer(done, { kind: 'unknown', detail, durationMs: 0 });
  }

  #refusedByEgress(url: URL): string | undefined {
    const reason = this.#egress.allow(url);
    return reason === undefined ? undefined : `refused by the egress policy: ${reason}`;
  }

  #headersFor(call: BranchCall, url: CallUrl): string[] {
    const headers = this.#headers.of(call.headers);
    return url.authorization === undefined
      ? headers
      : [...headers, 'Authorization', url.authorization];
  }

  #redirected(call: HttpCall, status: number, location: string): void {
    if (call.redirectCount >= this.#config.redirectsMax) {
      call.settle(call.unknown(`stopped after ${this.#config.redirectsMax} redirects`, status));
      return;
    }
    const url = redirectUrl(location, call.url);
    const refused = typeof url === 'string' ? url : this.#refusedByEgress(url);
    if (typeof url === 'string' || refused !== undefined) {
      call.settle(call.unknown(`redirect not followed: ${refused ?? ''}`, status));
      return;
    }
    const target = this.#targets.find(url.origin);
    if (target === undefined || this.#targets.refusal(target) !== undefined) {
      call.settle(call.unknown(`redirect not followed: no room at ${url.origin}`, status));
      return;
    }
    this.#follow(call, target, url, status === 307 || status === 308);
  }

  #follow(call: HttpCall, target: HttpTarget, url: URL, keepBody: boolean): void {
    const headers =
      url.hostname === call.url.hostname ? call.headers : withoutSecrets(call.headers);
    const authorization = authorizationOf(url);
    call.follow({
      target,
      url,
      headers: authorization === undefined ? headers : [...headers, 'Authorization', authorization],
      keepBody,
    });
    this.#targets.enqueue(target, call);
  }

  #settled(call: HttpCall, outcome: CallOutcome): void {
    if (call.deadline !== undefined) {
      this.#deadlines.remove(call.deadline);
    }
    this.#answering.answer(call.done, outcome);
  }
}

function poolOf(origin: string, config: ParticipantsConfig): Pool {
  return new Pool(origin, {
    connections: config.connectionsPerTargetMax,
    pipelining: 1,
    connectTimeout: config.connectTimeoutMs,
    keepAliveTimeout: config.keepAliveMs,
    // One deadline for the whole call is kept elsewhere; undici would arm timers per request.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

function redirectUrl(location: string, from: URL): URL | string {
  let url: URL;
  try {
    url = new URL(location, from);
  } catch {
    return 'invalid url';
  }
  return url.protocol === 'http:' || url.protocol === 'https:'
    ? url
    : `unsupported protocol scheme "${url.protocol.slice(0, -1)}"`;
}
