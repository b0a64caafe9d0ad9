// Waiting for a transaction to end, on this node's own apply, so that a wait survives any leader.
//
// Owns: who waits for which gid, and when a wait ends: final; idle but not finished; too long; or
// unknown because a leader was missing when time ran out (never 409: P7).
//
// Sources: docs/architecture.md §Transactions (waits); the dtm reference §5.4, §11.36 (clients give
// up after 8–10 s, so RequestTimeout + 4 s is the most that a wait may last).

import type { Cancel, Clock } from '../../raft/index.ts';
import type { AppliedEntry, Transaction, TransactionChange } from '../machine/index.ts';
import { isNotFinishedButIdle } from '../scheduler/index.ts';
import type { WaitOutcome } from './types.ts';

interface Wait {
  readonly gid: string;
  readonly done: (outcome: WaitOutcome) => void;
  readonly leaderGapsBefore: number;
  cancelTimer: Cancel;
  last: Transaction | undefined;
}

interface Recent {
  transaction: Transaction | undefined;
  timeMs: number;
}

export class Waits {
  readonly #clock: Clock;
  readonly #load: (gid: string) => Promise<Transaction | undefined>;
  readonly #logTimeNowMs: () => number;
  readonly #nodeId: number;
  readonly #waits = new Map<string, Set<Wait>>();
  /**
   * What operations of this node have made of their transactions in this turn: whoever asked for one
   * is about to wait for it, and need not read it back.
   */
  readonly #recent = new Map<string, Recent>();
  #count = 0;
  /** Periods without a known leader, begun so far; odd parts are told by `#leaderMissing`. */
  #leaderGaps = 0;
  #leaderMissing = true;

  constructor(
    clock: Clock,
    load: (gid: string) => Promise<Transaction | undefined>,
    logTimeNowMs: () => number,
    nodeId: number,
  ) {
    this.#nodeId = nodeId;
    this.#clock = clock;
    this.#load = load;
    this.#logTimeNowMs = logTimeNowMs;
  }

  get count(): number {
    return this.#count;
  }

  /** Ends once, within `timeoutMs`. The caller's operation on `gid` has been applied here. */
  wait(gid: string, timeoutMs: number): Promise<WaitOutcome> {
    return new Promise((resolve) => {
      const wait: Wait = {
        gid,
        done: resolve,
        leaderGapsBefore: this.#leaderGaps,
        cancelTimer: this.#clock.after(timeoutMs, () => this.#expire(wait)),
        last: undefined,
      };
      const set = this.#waits.get(gid) ?? new Set();
      set.add(wait);
      this.#waits.set(gid, set);
      this.#count += 1;
      const recent = this.#recent.get(gid);
      if (recent !== undefined) {
        this.#look(wait, recent.transaction, recent.timeMs);
        return;
      }
      // What was applied before the wait was registered announces itself through the state.
      this.#load(gid).then(
        (transaction) => {
          if (wait.last === undefined) this.#look(wait, transaction, this.#logTimeNowMs());
        },
        (error: unknown) => this.#end(wait, { kind: 'unknown', message: String(error) }),
      );
    });
  }

  applied(entry: AppliedEntry): void {
    for (const change of entry.changes) {
      this.#remember(change, entry.timeMs);
      const set = this.#waits.get(change.gid);
      if (set === undefined) continue;
      for (const wait of [...set]) this.#look(wait, change.after, entry.timeMs);
    }
  }

  leadershipChanged(leaderKnown: boolean): void {
    if (!leaderKnown && !this.#leaderMissing) this.#leaderGaps += 1;
    this.#leaderMissing = !leaderKnown;
  }

  stop(): void {
    for (const set of [...this.#waits.values()]) {
      for (const wait of [...set]) {
        this.#end(wait, {
          kind: 'unknown',
          message: 'this node is stopping; query the transaction',
        });
      }
    }
  }

  #remember({ gid, after, opId }: TransactionChange, timeMs: number): void {
    const recent = this.#recent.get(gid);
    if (recent !== undefined) {
      recent.transaction = after;
      recent.timeMs = timeMs;
    } else if (opId?.nodeId === this.#nodeId) {
      if (this.#recent.size === 0) this.#clock.defer(() => this.#recent.clear());
      this.#recent.set(gid, { transaction: after, timeMs });
    }
  }

  #look(wait: Wait, transaction: Transaction | undefined, nowMs: number): void {
    if (transaction === undefined) return;
    wait.last = transaction;
    const { status } = transaction.state;
    if (status === 'succeed' || status === 'failed') {
      this.#end(wait, { kind: 'final', transaction });
    } else if (isNotFinishedButIdle(transaction, nowMs)) {
      this.#end(wait, { kind: 'notFinished', transaction });
    }
  }

  #expire(wait: Wait): void {
    const gap = this.#leaderMissing || wait.leaderGapsBefore !== this.#leaderGaps;
    if (gap || wait.last === undefined) {
      this.#end(wait, {
        kind: 'unknown',
        message: 'a leader was missing while the transaction was waited for',
      });
    } else {
      this.#end(wait, { kind: 'notFinished', transaction: wait.last });
    }
  }

  #end(wait: Wait, outcome: WaitOutcome): void {
    const set = this.#waits.get(wait.gid);
    if (set === undefined || !set.delete(wait)) return;
    if (set.size === 0) this.#waits.delete(wait.gid);
    this.#count -= 1;
    wait.cancelTimer();
    wait.done(outcome);
  }
}
