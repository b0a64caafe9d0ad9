// Chooses the transport of each call (dtm reference §4.1) and hands it over.

import type { Protocol } from '../machine/index.ts';
import { transportOf } from './transport-rule.ts';
import type { BranchCall, CallOutcome, ParticipantCaller, TargetStatus } from './types.ts';

export type Transports = Readonly<Record<Protocol, ParticipantCaller>>;

export class ProtocolCaller implements ParticipantCaller {
  readonly #transports: Transports;

  constructor(transports: Transports) {
    this.#transports = transports;
  }

  call(call: BranchCall, mayWrite: () => boolean, done: (outcome: CallOutcome) => void): void {
    this.#transports[transportOf(call.protocol, call.url)].call(call, mayWrite, done);
  }

  targets(): readonly TargetStatus[] {
    return Object.values(this.#transports).flatMap((transport) => transport.targets());
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#transports).map((transport) => transport.close()));
  }
}
