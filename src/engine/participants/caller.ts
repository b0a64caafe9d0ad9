// Chooses the transport of each call (dtm reference §4.1) and hands it over.
//
// Transports that this version does not speak answer `unknown` with the reason: such a transaction
// stays visible and is retried, and goes on once a node that speaks them leads.

import type { Clock } from '../../raft/index.ts';
import type { Protocol } from '../machine/index.ts';
import { transportOf } from './transport-rule.ts';
import type { BranchCall, CallOutcome, ParticipantCaller, TargetStatus } from './types.ts';

export type Transports = Readonly<Partial<Record<Protocol, ParticipantCaller>>>;

export class ProtocolCaller implements ParticipantCaller {
  readonly #transports: Transports;
  readonly #clock: Clock;

  constructor(transports: Transports, clock: Clock) {
    this.#transports = transports;
    this.#clock = clock;
  }

  call(call: BranchCall, mayWrite: () => boolean, done: (outcome: CallOutcome) => void): void {
    const protocol = transportOf(call.protocol, call.url);
    const transport = this.#transports[protocol];
    if (transport !== undefined) {
      transport.call(call, mayWrite, done);
      return;
    }
    const detail = `protocol ${protocol} is not supported yet`;
    this.#clock.defer(() => done({ kind: 'unknown', detail, durationMs: 0 }));
  }

  targets(): readonly TargetStatus[] {
    return Object.values(this.#transports).flatMap((transport) => transport.targets());
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#transports).map((transport) => transport.close()));
  }
}
