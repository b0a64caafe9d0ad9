// Calls branches over HTTP: finds the target, keeps the limits, and follows redirects.
//
// Invariants: `done` runs once per call and never inside `call`; a target that is slow, hung or
// down delays no other target; a circuit that opens empties its target's queue at once.

import type { Clock, Random } from '../../raft/index.ts';
import { CallHeaders, withoutSecrets } from './call-headers.ts';
import { authorizationOf, branchQuery, type CallUrl, CallUrlCache } from './call-url.ts';
import type { ParticipantsConfig } from './config.ts';
import { Deadlines } from './deadlines.ts';
import type { EgressPolicy } from './egress.ts';
import { HttpCall, type HttpCallOwner, type Reach } from './http-call.ts';
import { Target } from './target.ts';
import type { BranchCall, CallOutcome, ParticipantCaller, TargetStatus } from './types.ts';

type Done = (outcome: CallOutcome) => void;

export interface HttpCallerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: EgressPolicy;
}

export class HttpCaller implements ParticipantCaller {
  readonly #config: ParticipantsConfig;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #egress: EgressPolicy;
  readonly #deadlines: Deadlines;
  readonly #urls: CallUrlCache;
  readonly #headers: CallHeaders;
  readonly #targets = new Map<string, Target>();
  readonly #owner: HttpCallOwner;
  #queuedCount = 0;
  #useCount = 0;
  /** Inside `call`: outcomes that are known already wait for the next turn. */
  #calling = false;
  #closed = false;

  constructor(ports: HttpCallerPorts, config: ParticipantsConfig) {
    this.#config = config;
    this.#clock = ports.clock;
    this.#random = ports.random;
    this.#egress = ports.egress;
    this.#deadlines = new Deadlines(ports.clock);
    this.#urls = new CallUrlCache(config.parsedUrlsMax, config.dockerHost);
    this.#headers = new CallHeaders(config.userAgent);
    this.#owner = {
      answerBytesMax: config.answerBytesMax,
      detailBytesMax: config.detailBytesMax,
      nowMs: () => this.#clock.monotonicMs(),
      slotFreed: (call, reach) => this.#slotFreed(call, reach),
      redirected: (call, status, location) => this.#redirected(call, status, location),
      settled: (call, outcome) => this.#settled(call, outcome),
    };
  }

  call(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    this.#calling = true;
    try {
      this.#start(call, mayWrite, done);
    } finally {
      this.#calling = false;
    }
  }

  targets(): readonly TargetStatus[] {
    const busy: TargetStatus[] = [];
    for (const target of this.#targets.values()) {
      if (!target.isIdle || target.circuit.kind !== 'closed') {
        busy.push(target.status());
      }
    }
    return busy;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const targets = [...this.#targets.values()];
    this.#targets.clear();
    for (const target of targets) {
      this.#emptyQueue(target, (call) => call.settle({ kind: 'notSent', reason: 'stopped' }));
    }
    await Promise.all(targets.map((target) => target.close()));
    this.#deadlines.close();
  }

  #start(call: BranchCall, mayWrite: () => boolean, done: Done): void {
    if (this.#closed) {
      this.#answer(done, { kind: 'notSent', reason: 'stopped' });
      return;
    }
    const url = this.#urls.get(call.url);
    const refused = typeof url === 'string' ? url : this.#refusedByEgress(url.url);
    if (typeof url === 'string' || refused !== undefined) {
      this.#answer(done, { kind: 'unknown', detail: refused ?? '', durationMs: 0 });
      return;
    }
    const target = this.#targetOf(url.origin);
    const noRoom = target === undefined ? noRoomAtAll : this.#noRoomAt(target);
    if (target === undefined || noRoom !== undefined) {
      this.#answer(done, noRoom ?? noRoomAtAll);
      return;
    }
    const at = { target, url, query: branchQuery(call) };
    const headers = this.#headersFor(call, url);
    this.#enqueue(new HttpCall({ call, mayWrite, done }, this.#owner, at, headers));
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

  /** Undefined: as many targets as are allowed are busy. */
  #targetOf(origin: string): Target | undefined {
    let target = this.#targets.get(origin);
    if (target === undefined) {
      if (this.#targets.size >= this.#config.targetsMax && !this.#forgetIdleTarget()) {
        return undefined;
      }
      target = new Target(origin, this.#config);
      this.#targets.set(origin, target);
    }
    this.#useCount += 1;
    target.lastUse = this.#useCount;
    return target;
  }

  #forgetIdleTarget(): boolean {
    let oldest: Target | undefined;
    for (const target of this.#targets.values()) {
      if (target.isIdle && (oldest === undefined || target.lastUse < oldest.lastUse)) {
        oldest = target;
      }
    }
    if (oldest === undefined) {
      return false;
    }
    this.#targets.delete(oldest.origin);
    // Nothing is in flight there, so nobody waits for it.
    void oldest.close();
    return true;
  }

  #noRoomAt(target: Target): CallOutcome | undefined {
    const waitMs = target.circuit.waitMs(this.#clock.monotonicMs());
    if (waitMs > 0) {
      return { kind: 'notSent', reason: 'circuitOpen', retryAfterMs: waitMs };
    }
    const full =
      target.inflightCount >= this.#config.connectionsPerTargetMax &&
      (target.queuedCount >= this.#config.queuePerTargetMax ||
        this.#queuedCount >= this.#config.queueTotalMax);
    return full ? { kind: 'notSent', reason: 'queueFull' } : undefined;
  }

  #enqueue(call: HttpCall): void {
    call.target.enqueue(call);
    this.#queuedCount += 1;
    this.#pump(call.target);
  }

  #pump(target: Target): void {
    while (target.queuedCount > 0 && target.inflightCount < this.#config.connectionsPerTargetMax) {
      const waitMs = target.circuit.waitMs(this.#clock.monotonicMs());
      if (waitMs > 0) {
        this.#emptyQueue(target, (call) => this.#refuseByCircuit(call, waitMs));
        return;
      }
      const call = target.dequeue();
      if (call === undefined) {
        return;
      }
      this.#queuedCount -= 1;
      if (call.isSettled) {
        continue;
      }
      if (call.mayWrite()) {
        this.#dispatch(call);
      } else {
        call.refuseWrite();
      }
    }
  }

  #dispatch(call: HttpCall): void {
    if (call.startedAtMs === undefined) {
      call.startedAtMs = this.#clock.monotonicMs();
      call.deadline = this.#deadlines.add(call.call.timeoutMs, () => call.timedOut());
    }
    call.probe = call.target.circuit.sending();
    call.target.dispatch(call);
  }

  #emptyQueue(target: Target, refuse: (call: HttpCall) => void): void {
    for (let call = target.dequeue(); call !== undefined; call = target.dequeue()) {
      this.#queuedCount -= 1;
      refuse(call);
    }
  }

  #refuseByCircuit(call: HttpCall, retryAfterMs: number): void {
    if (call.redirectCount > 0) {
      call.settle(call.unknown('circuit open at the address of the redirect'));
    } else {
      call.settle({ kind: 'notSent', reason: 'circuitOpen', retryAfterMs });
    }
  }

  #slotFreed(call: HttpCall, reach: Reach): void {
    const { target } = call;
    target.inflightCount -= 1;
    const nowMs = this.#clock.monotonicMs();
    switch (reach) {
      case 'connected':
        target.circuit.reached();
        break;
      case 'notConnected':
        target.circuit.failedToConnect(nowMs, call.probe, this.#random.next());
        break;
      case 'nothing':
        if (call.probe) {
          target.circuit.probeGivenUp(nowMs);
        }
        break;
    }
    call.probe = false;
    if (target.queuedCount > 0) {
      this.#pump(target);
    }
  }

  #redirected(call: HttpCall, status: number, location: string): void {
    if (call.redirectCount >= this.#config.redirectsMax) {
      call.settle(call.unknown(`stopped after ${this.#config.redirectsMax} redirects`));
      return;
    }
    const url = redirectUrl(location, call.url);
    const refused = typeof url === 'string' ? url : this.#refusedByEgress(url);
    if (typeof url === 'string' || refused !== undefined) {
      call.settle(call.unknown(`redirect not followed: ${refused ?? ''}`));
      return;
    }
    const target = this.#targetOf(url.origin);
    if (target === undefined || this.#noRoomAt(target) !== undefined) {
      call.settle(call.unknown(`redirect not followed: no room at ${url.origin}`));
      return;
    }
    const headers =
      url.hostname === call.url.hostname ? call.headers : withoutSecrets(call.headers);
    const authorization = authorizationOf(url);
    call.follow({
      target,
      url,
      headers: authorization === undefined ? headers : [...headers, 'Authorization', authorization],
      keepBody: status === 307 || status === 308,
    });
    this.#enqueue(call);
  }

  #settled(call: HttpCall, outcome: CallOutcome): void {
    if (call.deadline !== undefined) {
      this.#deadlines.remove(call.deadline);
    }
    this.#answer(call.done, outcome);
  }

  #answer(done: Done, outcome: CallOutcome): void {
    if (this.#calling) {
      this.#clock.defer(() => done(outcome));
      return;
    }
    try {
      done(outcome);
    } catch (error) {
      // undici swallows what its handlers throw; a broken invariant must reach the process.
      this.#clock.defer(() => {
        throw error;
      });
    }
  }
}

const noRoomAtAll: CallOutcome = { kind: 'notSent', reason: 'queueFull' };

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
