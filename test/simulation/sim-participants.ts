// The participants: everything that is called over the network while transactions run.
//
// Owns: how requests travel. One may break, be answered ONGOING, FAILURE where that decides nothing,
// late or never, and may reach its service long after its caller gave up. Services themselves are
// in bank.ts, xa-databases.ts and local-transactions.ts; a workflow's callback is its client's.
//
// A call of the coordinator is written when the caller's lease allows it (`mayWrite`); from that moment
// it is in the world's hands and neither the death of the caller nor a pause stops it. Clients call
// services too (a try, a first phase, a step): they have no lease and give up after a while.
//
// Source: the dtm protocol reference §4 (answers), §10.4 (who calls whom).

import type {
  BranchCall,
  CallOutcome,
  ParticipantCaller,
  TargetStatus,
} from '../../src/engine/participants/index.ts';
import { type Answer, Bank, type BranchWork, type LedgerEntry } from './bank.ts';
import { LocalTransactions } from './local-transactions.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';
import type { VirtualTime } from './virtual-time.ts';
import { XaDatabases } from './xa-databases.ts';

export interface ParticipantOptions {
  readonly accounts: number;
  readonly latencyMeanMs: number;
  /** Probabilities, per branch, of a business refusal; per call, of the rest. */
  readonly refuseProbability: number;
  readonly ongoingProbability: number;
  readonly breakProbability: number;
  /** The answer is lost though the effect happened. */
  readonly lostAnswerProbability: number;
  /** The request takes up to `lateMaxMs` to reach its service. */
  readonly lateProbability: number;
  readonly lateMaxMs: number;
}

export interface CallObserver {
  /** A call leaves a node: the moment that P2 is about. */
  written(nodeId: number, call: BranchCall): void;
  /** The node has the answer of a call, or has given up. */
  ended(nodeId: number, call: BranchCall): void;
  /** An effect happened behind a barrier. */
  effect(entry: LedgerEntry): void;
  fail(error: Error): void;
}

type Serve = () => Answer | Promise<Answer>;

const TIMED_OUT: Answer = { kind: 'unknown', detail: 'request timed out' };
/** Ops that nothing but success ends, as a message's actions (reference §5.7–§5.9). */
const MUST_SUCCEED: ReadonlySet<string> = new Set([
  'compensate',
  'confirm',
  'cancel',
  'commit',
  'rollback',
]);

export class Participants {
  readonly bank: Bank;
  readonly xa: XaDatabases;
  readonly local: LocalTransactions;
  /** Resumes a workflow; set by whoever runs workflows. */
  onCallback: (call: BranchCall) => Promise<Answer> = () => Promise.resolve(TIMED_OUT);
  readonly #time: VirtualTime;
  readonly #random: Prng;
  readonly #options: ParticipantOptions;
  readonly #observer: CallObserver;
  /** False once the faults are over. */
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
    this.bank = new Bank(random, options, (entry) => observer.effect(entry));
    this.xa = new XaDatabases(this.bank);
    this.local = new LocalTransactions(this.bank);
  }

  /** What is still held for a transaction: reservations and prepared branches. */
  heldFor(gid: string): readonly string[] {
    return [...this.bank.reservedOf(gid), ...this.xa.preparedOf(gid)];
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
          this.#callFrom(process, life, call, (outcome) => {
            this.#observer.ended(nodeId, call);
            done(outcome);
          });
        });
      },
      targets: (): readonly TargetStatus[] => [],
      close: async () => {
        stopped = true;
      },
    };
  }

  #callFrom(
    process: SimProcess,
    life: number,
    call: BranchCall,
    done: (outcome: CallOutcome) => void,
  ): void {
    const beganMs = this.#time.nowMs;
    let answered = false;
    const finish = ({ kind, detail }: Answer): void => {
      if (!answered) {
        answered = true;
        cancelTimeout();
        done({ kind, detail, durationMs: this.#time.nowMs - beganMs });
      }
    };
    const cancelTimeout = process.clock().after(call.timeoutMs, () => finish(TIMED_OUT));
    this.#send(
      call,
      () => this.#serve(call),
      (answer) => process.enter(life, () => finish(answer)),
    );
  }

  /** A request of a client or a service to a service, which does `serve` when it arrives. */
  request(work: BranchWork, timeoutMs: number, serve: Serve): Promise<Answer> {
    return new Promise((resolve) => {
      const cancelTimeout = this.#time.after(timeoutMs, () => resolve(TIMED_OUT));
      this.#send(work, serve, (answer) => {
        cancelTimeout();
        resolve(answer);
      });
    });
  }

  /** There and back; what happens on the way is drawn when it starts. */
  #send(work: BranchWork, serve: Serve, deliver: (answer: Answer) => void): void {
    const { latencyMeanMs, lateProbability, lateMaxMs, lostAnswerProbability } = this.#options;
    const late = this.faulty && this.#random.chance(lateProbability);
    const travelMs =
      this.#random.exponential(latencyMeanMs) + (late ? this.#random.between(0, lateMaxMs) : 0);
    this.#time.after(travelMs, () => {
      const back = (answer: Answer): void => {
        const lost = this.faulty && this.#random.chance(lostAnswerProbability);
        this.#time.after(this.#random.exponential(latencyMeanMs), () => {
          if (!lost) {
            deliver(answer);
          }
        });
      };
      const trouble = this.#trouble(work);
      if (trouble !== undefined) {
        back(trouble);
        return;
      }
      try {
        const answer = serve();
        if (answer instanceof Promise) {
          answer.then(back).catch((error: unknown) => this.#failed(error));
        } else {
          back(answer);
        }
      } catch (error) {
        this.#failed(error);
      }
    });
  }

  /** Why a service does not even look at a request. */
  #trouble({ op, type }: BranchWork): Answer | undefined {
    if (!this.faulty) {
      return undefined;
    }
    if (this.#random.chance(this.#options.breakProbability)) {
      const mustSucceed = MUST_SUCCEED.has(op) || (type === 'msg' && op === 'action');
      return mustSucceed && this.#random.chance(0.3)
        ? { kind: 'failure', detail: 'not now: FAILURE' }
        : { kind: 'unknown', detail: 'status 500: the service is down' };
    }
    return this.#random.chance(this.#options.ongoingProbability)
      ? { kind: 'ongoing', detail: 'ONGOING' }
      : undefined;
  }

  #serve(call: BranchCall): Answer | Promise<Answer> {
    switch (call.type) {
      case 'xa':
        return this.xa.settle(call);
      case 'workflow':
        return this.onCallback(call);
      case 'msg':
        return call.op === 'msg' ? this.local.checkBack(call.gid) : this.#receive(call);
      case 'saga':
      case 'tcc':
        return this.bank.serve(call);
    }
  }

  /** A message is never refused for good: whoever receives it may say so, and is asked again. */
  #receive(call: BranchCall): Answer {
    if (this.bank.insert(call.gid, call.branchId, call.op)) {
      this.bank.move(call);
    }
    return { kind: 'success', detail: 'SUCCESS' };
  }

  #failed(error: unknown): void {
    this.#observer.fail(error instanceof Error ? error : new Error(String(error)));
  }
}
