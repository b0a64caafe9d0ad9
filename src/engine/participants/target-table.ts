// The targets of one transport: who may write to which of them now, and who waits.
//
// Owns: limits per target and over all, queues, circuits, and which idle target is forgotten. Does
// not own: how a call is written or what its answer means.
//
// Invariants: no more calls of a target are dispatched than its connections take at once, so that
// one that is dispatched is written as soon as its connection stands, and the dispatch lease can be
// asked when it is really written (docs/architecture.md §Consensus). A circuit that opens empties its
// target's queue at once. A target that is slow, hung or down delays no other target.

import type { Clock, Random } from '../../raft/index.ts';
import type { ParticipantsConfig } from './config.ts';
import { type Connections, type QueuedCall, Target } from './target.ts';
import type { CallOutcome, TargetStatus } from './types.ts';

/** What a request says about its target. */
export type Reach = 'connected' | 'notConnected' | 'nothing';

export type NotSent = Extract<CallOutcome, { kind: 'notSent' }>;

export interface TargetTableParts<T extends Connections> {
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ParticipantsConfig;
  /** Calls that one target's connections take at once. */
  readonly inflightPerTargetMax: number;
  readonly connect: (name: string) => T;
}

export class TargetTable<T extends Connections, C extends QueuedCall> {
  readonly #parts: TargetTableParts<T>;
  readonly #targets = new Map<string, Target<T, C>>();
  #queuedCount = 0;
  #useCount = 0;

  constructor(parts: TargetTableParts<T>) {
    this.#parts = parts;
  }

  /** Undefined: as many targets as are allowed are busy. */
  find(name: string): Target<T, C> | undefined {
    let target = this.#targets.get(name);
    if (target === undefined) {
      const { config, connect } = this.#parts;
      if (this.#targets.size >= config.targetsMax && !this.#forgetIdle()) {
        return undefined;
      }
      target = new Target(name, config, connect(name));
      this.#targets.set(name, target);
    }
    this.#useCount += 1;
    target.lastUse = this.#useCount;
    return target;
  }

  /** Why a call would be refused at once. */
  refusal(target: Target<T, C>): NotSent | undefined {
    const waitMs = target.circuit.waitMs(this.#parts.clock.monotonicMs());
    if (waitMs > 0) {
      return { kind: 'notSent', reason: 'circuitOpen', retryAfterMs: waitMs };
    }
    const { config, inflightPerTargetMax } = this.#parts;
    const full =
      target.inflightCount >= inflightPerTargetMax &&
      (target.queuedCount >= config.queuePerTargetMax || this.#queuedCount >= config.queueTotalMax);
    return full ? QUEUE_FULL : undefined;
  }

  enqueue(target: Target<T, C>, call: C): void {
    target.enqueue(call);
    this.#queuedCount += 1;
    this.#pump(target);
  }

  /** A dispatched call has given its place back. */
  slotFreed(target: Target<T, C>, call: C, reach: Reach): void {
    target.inflightCount -= 1;
    const nowMs = this.#parts.clock.monotonicMs();
    switch (reach) {
      case 'connected':
        target.circuit.reached();
        break;
      case 'notConnected':
        target.circuit.failedToConnect(nowMs, call.probe, this.#parts.random.next());
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

  /** Those of targets that have nothing to do. */
  idleConnections(): readonly T[] {
    return [...this.#targets.values()]
      .filter((target) => target.isIdle)
      .map((target) => target.connections);
  }

  /** Those that are busy or broken. */
  statuses(): readonly TargetStatus[] {
    const busy: TargetStatus[] = [];
    for (const target of this.#targets.values()) {
      if (!target.isIdle || target.circuit.kind !== 'closed') {
        busy.push(target.status());
      }
    }
    return busy;
  }

  async close(): Promise<void> {
    const targets = [...this.#targets.values()];
    this.#targets.clear();
    for (const target of targets) {
      this.#emptyQueue(target, { kind: 'notSent', reason: 'stopped' });
    }
    await Promise.all(targets.map((target) => target.connections.close()));
  }

  #forgetIdle(): boolean {
    let oldest: Target<T, C> | undefined;
    for (const target of this.#targets.values()) {
      if (target.isIdle && (oldest === undefined || target.lastUse < oldest.lastUse)) {
        oldest = target;
      }
    }
    if (oldest === undefined) {
      return false;
    }
    this.#targets.delete(oldest.name);
    // Nothing is in flight there, so nobody waits for it.
    void oldest.connections.close();
    return true;
  }

  #pump(target: Target<T, C>): void {
    while (target.queuedCount > 0 && target.inflightCount < this.#parts.inflightPerTargetMax) {
      const waitMs = target.circuit.waitMs(this.#parts.clock.monotonicMs());
      if (waitMs > 0) {
        this.#emptyQueue(target, { kind: 'notSent', reason: 'circuitOpen', retryAfterMs: waitMs });
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
        call.probe = target.circuit.sending();
        target.inflightCount += 1;
        call.dispatch();
      } else {
        call.refuseWrite();
      }
    }
  }

  #emptyQueue(target: Target<T, C>, outcome: NotSent): void {
    for (let call = target.dequeue(); call !== undefined; call = target.dequeue()) {
      this.#queuedCount -= 1;
      call.refuse(outcome);
    }
  }
}

export const QUEUE_FULL: NotSent = { kind: 'notSent', reason: 'queueFull' };
