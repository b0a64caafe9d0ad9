// Counts and times the calls of participants for the metrics.

import { type ParticipantCaller, type TargetStatus, transportOf } from '../engine/index.ts';
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
        const { type, branchId } = call;
        const { kind, durationMs } = outcome;
        // What is called of a workflow bears the workflow's name, which its client chooses.
        const op = type === 'workflow' ? 'callback' : call.op;
        const protocol = transportOf(call.protocol, call.url);
        this.#metrics.branchCalled({ type, branchId, op, protocol, outcome: kind, durationMs });
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
