// Callers that wait for a leadership transfer (thesis §3.10).
//
// Invariants: one transfer at a time, later callers share its end; every wait ends, at the latest
// after `timeoutMs`, because a node that does not lead starts none.

import type { NodeId } from '../core/index.ts';
import type { Cancel, Clock } from './ports.ts';

export class Transfers {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #begin: (to: NodeId | undefined) => void;
  #waiting: ((ok: boolean) => void)[] = [];
  #cancel: Cancel | undefined;
  #stopped = false;

  constructor(clock: Clock, timeoutMs: number, begin: (to: NodeId | undefined) => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#begin = begin;
  }

  transfer(to: NodeId | undefined): Promise<boolean> {
    if (this.#stopped) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length > 1) return;
      this.#cancel = this.#clock.after(this.#timeoutMs, () => this.ended(false));
      this.#begin(to);
    });
  }

  ended(ok: boolean): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(ok);
  }

  stop(): void {
    this.#stopped = true;
    this.ended(false);
  }
}
