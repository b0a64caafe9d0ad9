// How outcomes reach whoever asked: once, never inside `call`, and so that what they throw is not
// swallowed by the library that reported the outcome.

import type { Clock } from '../../raft/index.ts';
import type { CallOutcome } from './types.ts';

export type Done = (outcome: CallOutcome) => void;

export class Answering {
  readonly #clock: Clock;
  /** Inside `call`: outcomes that are known already wait for the next turn. */
  #calling = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  duringCall(run: () => void): void {
    this.#calling = true;
    try {
      run();
    } finally {
      this.#calling = false;
    }
  }

  answer(done: Done, outcome: CallOutcome): void {
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
