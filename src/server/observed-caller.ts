// Counts and times the calls of participants for the metrics.

import type { ParticipantCaller, TargetStatus } from '../engine/index.ts';
import type { Metrics } from './metrics.ts';

type Call = Parameters<ParticipantCaller['call']>;

export class ObservedCaller implements ParticipantCaller {
  readonly #caller: ParticipantCaller;
  readonly #metrics: Metrics;

  constructor(caller: ParticipantCaller, metrics: Metrics) {
    this.#caller = caller;
    this.#metrics = metrics;
  }

  call(call: Call[0], mayWrite: Call[1], done: Call[2]): void {
    this.#caller.call(call, mayWrite, (outcome) => {
      if (outcome.kind !== 'notSent') {
        const { type, branchId, op } = call;
        const { kind, durationMs } = outcome;
        this.#metrics.branchCalled({ type, branchId, op, outcome: kind, durationMs });
      }
      done(outcome);
    });
  }

  targets(): readonly TargetStatus[] {
    return this.#caller.targets();
  }

  close(): Promise<void> {
    return this.#caller.close();
  }
}
