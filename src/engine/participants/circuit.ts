// The circuit breaker of one target: after several consecutive failures to connect nothing is sent
// until a delay has passed; then one call probes. The delay doubles up to a cap, with jitter, so
// that a service that comes back is not met by everyone at once.
//
// Only failures to connect count: a service that answers, however badly, is reachable, and its
// answers have a back-off of their own. Pure: time and randomness are passed in.

import type { ParticipantsConfig } from './config.ts';

export type CircuitLimits = Pick<
  ParticipantsConfig,
  'circuitFailuresMax' | 'circuitDelayMsMin' | 'circuitDelayMsMax'
>;

type State =
  | { readonly kind: 'closed'; readonly failureCount: number }
  | { readonly kind: 'open'; readonly openCount: number; readonly retryAtMs: number }
  | { readonly kind: 'halfOpen'; readonly openCount: number };

export class Circuit {
  readonly #limits: CircuitLimits;
  #state: State = { kind: 'closed', failureCount: 0 };

  constructor(limits: CircuitLimits) {
    this.#limits = limits;
  }

  get kind(): 'closed' | 'open' | 'halfOpen' {
    return this.#state.kind;
  }

  get retryAtMs(): number | undefined {
    return this.#state.kind === 'open' ? this.#state.retryAtMs : undefined;
  }

  /** 0: a call may be sent now; otherwise how long to wait. Changes nothing. */
  waitMs(nowMs: number): number {
    switch (this.#state.kind) {
      case 'closed':
        return 0;
      case 'open':
        return Math.max(0, this.#state.retryAtMs - nowMs);
      case 'halfOpen':
        return this.#limits.circuitDelayMsMin;
    }
  }

  /** A call is being sent. True: it is the probe. */
  sending(): boolean {
    if (this.#state.kind !== 'open') {
      return false;
    }
    this.#state = { kind: 'halfOpen', openCount: this.#state.openCount };
    return true;
  }

  /** The probe was given up before anything was learnt from it. */
  probeGivenUp(nowMs: number): void {
    if (this.#state.kind === 'halfOpen') {
      this.#state = { kind: 'open', openCount: this.#state.openCount, retryAtMs: nowMs };
    }
  }

  reached(): void {
    if (this.#state.kind !== 'closed' || this.#state.failureCount > 0) {
      this.#state = { kind: 'closed', failureCount: 0 };
    }
  }

  /** True: this failure opened the circuit. `random` is uniform in [0, 1). */
  failedToConnect(nowMs: number, probe: boolean, random: number): boolean {
    const state = this.#state;
    if (state.kind === 'closed') {
      const failureCount = state.failureCount + 1;
      if (failureCount < this.#limits.circuitFailuresMax) {
        this.#state = { kind: 'closed', failureCount };
        return false;
      }
      this.#open(1, nowMs, random);
      return true;
    }
    if (state.kind === 'halfOpen' && probe) {
      this.#open(state.openCount + 1, nowMs, random);
      return true;
    }
    // A call from before the circuit opened: nothing new.
    return false;
  }

  #open(openCount: number, nowMs: number, random: number): void {
    const { circuitDelayMsMin, circuitDelayMsMax } = this.#limits;
    const doubled = circuitDelayMsMin * 2 ** Math.min(openCount - 1, 30);
    const delayMs = Math.min(circuitDelayMsMax, doubled) * (0.5 + random / 2);
    this.#state = { kind: 'open', openCount, retryAtMs: nowMs + delayMs };
  }
}
