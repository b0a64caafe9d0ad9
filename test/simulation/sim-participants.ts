// The banks that sagas move money between: participants behind dtm's branch barrier.
//
// Owns: accounts, the barrier table of each bank, and a ledger of every effect. A bank may refuse
// (business FAILURE), ask for patience (ONGOING), break, answer late or never, and a request may
// reach it long after its caller gave up: whatever a call is drawn to do is a function of the seed,
// the gid, the branch and the attempt. Compensations are delayed and broken too, never refused.
//
// A call is written when the caller's lease allows it (`mayWrite`); from that moment it is in the
// world's hands and neither the death of the caller nor a pause stops it.
//
// Source: the dtm protocol reference §10.1 (barrier), §4 (answers).

import type {
  BranchCall,
  CallOutcome,
  ParticipantCaller,
  TargetStatus,
} from '../../src/engine/participants/index.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface ParticipantOptions {
  readonly accounts: number;
  readonly latencyMeanMs: number;
  /** Probabilities, per branch, of a business refusal; per call, of the rest. */
  readonly refuseProbability: number;
  readonly ongoingProbability: number;
  readonly breakProbability: number;
  /** The answer is lost though the effect happened. */
  readonly lostAnswerProbability: number;
  /** The request takes up to `lateMaxMs` to reach the bank. */
  readonly lateProbability: number;
  readonly lateMaxMs: number;
}

/** What a payload says. */
export interface Movement {
  readonly account: number;
  readonly amount: number;
}

/** One change of an account: what the ledger keeps. */
export interface LedgerEntry {
  readonly atMs: number;
  readonly gid: string;
  readonly branchId: string;
  readonly op: string;
  readonly account: number;
  readonly amount: number;
}

export interface CallObserver {
  /** A call leaves a node: the moment that P2 is about. */
  written(nodeId: number, call: BranchCall): void;
  /** An effect happened behind the barrier. */
  effect(entry: LedgerEntry): void;
}

export const OPENING_BALANCE = 1_000_000;

export class Banks {
  readonly balances: number[];
  readonly ledger: LedgerEntry[] = [];
  readonly #time: VirtualTime;
  readonly #random: Prng;
  readonly #options: ParticipantOptions;
  readonly #observer: CallObserver;
  readonly #barrier = new Set<string>();
  readonly #attempts = new Map<string, number>();
  /** False in the liveness phase: every bank answers, at once and well. */
  faulty = true;

  constructor(
    time: VirtualTime,
    random: Prng,
    options: ParticipantOptions,
    observer: CallObserver,
  ) {
    this.#time = time;
    this.#random = random;
    this.#options = options;
    this.#observer = observer;
    this.balances = Array<number>(options.accounts).fill(OPENING_BALANCE);
  }

  get total(): number {
    return this.balances.reduce((sum, balance) => sum + balance, 0);
  }

  /** The `ParticipantCaller` of one node's current life. */
  callerFor(process: SimProcess): ParticipantCaller {
    const { life, nodeId } = process;
    let stopped = false;
    return {
      call: (call, mayWrite, done) => {
        // The target's own queue: the lease is asked when the request is really written.
        process.afterTrue(this.#random.exponential(0.2), () => {
          if (stopped || !mayWrite()) {
            done({ kind: 'notSent', reason: stopped ? 'stopped' : 'lease' });
            return;
          }
          this.#observer.written(nodeId, call);
          this.#send(process, life, call, done);
        });
      },
      targets: (): readonly TargetStatus[] => [],
      close: async () => {
        stopped = true;
      },
    };
  }

  #send(
    process: SimProcess,
    life: number,
    call: BranchCall,
    done: (outcome: CallOutcome) => void,
  ): void {
    const beganMs = this.#time.nowMs;
    let answered = false;
    const finish = (kind: 'success' | 'failure' | 'ongoing' | 'unknown', detail: string): void => {
      if (!answered) {
        answered = true;
        cancelTimeout();
        done({ kind, detail, durationMs: this.#time.nowMs - beganMs });
      }
    };
    const cancelTimeout = process
      .clock()
      .after(call.timeoutMs, () => finish('unknown', 'request timed out'));
    const late = this.faulty && this.#random.chance(this.#options.lateProbability);
    const travelMs =
      this.#random.exponential(this.#options.latencyMeanMs) +
      (late ? this.#random.between(0, this.#options.lateMaxMs) : 0);
    this.#time.after(travelMs, () => {
      const answer = this.#serve(call);
      const lost = this.faulty && this.#random.chance(this.#options.lostAnswerProbability);
      this.#time.after(this.#random.exponential(this.#options.latencyMeanMs), () => {
        if (!lost) {
          process.enter(life, () => finish(answer.kind, answer.detail));
        }
      });
    });
  }

  /** Business logic of a bank behind the barrier of reference §10.1. */
  #serve(call: BranchCall): {
    kind: 'success' | 'failure' | 'ongoing' | 'unknown';
    detail: string;
  } {
    const key = `${call.gid}/${call.branchId}`;
    const attemptKey = `${key}/${call.op}`;
    const attempt = (this.#attempts.get(attemptKey) ?? 0) + 1;
    this.#attempts.set(attemptKey, attempt);
    if (this.faulty && this.#random.chance(this.#options.breakProbability)) {
      return { kind: 'unknown', detail: 'status 500: bank is down' };
    }
    if (this.faulty && this.#random.chance(this.#options.ongoingProbability)) {
      return { kind: 'ongoing', detail: 'ONGOING' };
    }
    const compensating = call.op === 'compensate';
    if (!compensating && this.#random.split(key).chance(this.#options.refuseProbability)) {
      // The local transaction rolls back, and its barrier row with it.
      return { kind: 'failure', detail: 'FAILURE' };
    }
    const originIsNew = compensating && this.#insert(`${key}/action`);
    const isNew = this.#insert(`${key}/${call.op}`);
    if (originIsNew || !isNew) {
      return { kind: 'success', detail: 'SUCCESS' };
    }
    const { account, amount } = decodeMovement(call.payload);
    const change = compensating ? -amount : amount;
    this.balances[account] = (this.balances[account] ?? 0) + change;
    const entry: LedgerEntry = {
      atMs: this.#time.nowMs,
      gid: call.gid,
      branchId: call.branchId,
      op: call.op,
      account,
      amount: change,
    };
    this.ledger.push(entry);
    this.#observer.effect(entry);
    return { kind: 'success', detail: 'SUCCESS' };
  }

  /** Insert-ignore; true when the row is new. */
  #insert(row: string): boolean {
    if (this.#barrier.has(row)) {
      return false;
    }
    this.#barrier.add(row);
    return true;
  }
}

export function encodeMovement(movement: Movement): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(movement));
}

function decodeMovement(payload: Uint8Array): Movement {
  return JSON.parse(new TextDecoder().decode(payload)) as Movement;
}
