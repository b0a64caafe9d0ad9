// A leader in miniature: drives one saga with the real `next` and the real machine through random
// answers, delays, lost and late commits and takeovers, and checks at every call what must hold.

import type { BranchResult, Command } from '../../../../src/engine/machine/index.ts';
import {
  createPatterns,
  type Knowledge,
  nextAttempt,
} from '../../../../src/engine/patterns/index.ts';
import { Replica, sagaInput } from '../machine/fixtures.ts';

/** Deterministic numbers in [0, 1) from a seed. */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Call {
  readonly row: number;
  readonly attempt: number;
  readonly term: number;
  readonly atMs: number;
  readonly outcome: BranchResult['outcome'];
}

export interface Shape {
  readonly steps: number;
  readonly concurrent: boolean;
  readonly orders: Readonly<Record<string, readonly number[]>>;
  /** Per step: the answers of its action before the last one repeats. */
  readonly actions: readonly (readonly BranchResult['outcome'][])[];
  readonly compensations: readonly (readonly BranchResult['outcome'][])[];
  readonly timeoutToFailS: number;
  readonly retryLimit: number;
  readonly commitEachResult: boolean;
}

const STEPS_MAX = 4000;

export class SagaDriver {
  readonly replica: Replica;
  readonly #shape: Shape;
  readonly #random: () => number;
  readonly #pattern;
  readonly #before: readonly (readonly number[])[];
  /** What participants know: how often each row was called, and which rows they answered success. */
  readonly calls: number[];
  readonly done = new Set<number>();
  /** Order in which rows were first called. */
  readonly order: number[] = [];
  takeovers = 0;
  #running: Call[] = [];
  #proposed: Command | undefined;
  #started = new Set<number>();
  #inflight = new Set<number>();
  #held = new Map<number, BranchResult>();

  constructor(shape: Shape, seed: number, bugs?: ReadonlySet<string>) {
    this.#shape = shape;
    this.#random = randomOf(seed);
    this.replica = new Replica(bugs);
    const pattern = createPatterns(bugs).saga;
    if (pattern === undefined) throw new Error('there is no saga pattern');
    this.#pattern = pattern;
    this.calls = Array.from({ length: 2 * shape.steps }, () => 0);
    this.#before = shape.actions.map((_, step) => {
      const before = shape.orders[String(step)] ?? [];
      return !shape.concurrent && step > 0 ? [...before, step - 1] : before;
    });
  }

  run(): void {
    const { steps, concurrent, orders, timeoutToFailS, retryLimit } = this.#shape;
    const accepted = this.replica.submit(
      sagaInput('g', steps, {
        customData: JSON.stringify({ concurrent, orders }),
        options: { timeoutToFailS, retryLimit },
      }),
    );
    if (accepted.kind !== 'success') throw new Error(`not accepted: ${accepted.message}`);
    for (let step = 0; !this.#settled(); step += 1) {
      if (step > STEPS_MAX)
        throw new Error(`does not end: ${JSON.stringify(this.replica.get('g'))}`);
      this.#act();
      this.#happen();
    }
    this.#checkEnd();
  }

  get status(): string {
    return this.replica.get('g').state.status;
  }

  #settled(): boolean {
    return ['succeed', 'failed'].includes(this.status) && this.#running.length === 0;
  }

  #knowledge(): Knowledge {
    return {
      drivenSinceAccepted: this.replica.get('g').state.acceptedTerm === this.replica.term,
      started: this.#started,
      inflight: this.#inflight,
      held: this.#held,
      commitEachResult: this.#shape.commitEachResult,
    };
  }

  /** What the scheduler does with `next`: one command under way, calls at once. */
  #act(): void {
    const transaction = this.replica.get('g');
    const next = this.#pattern.next(transaction, this.replica.nowMs, this.#knowledge());
    const deciding = this.#proposed?.kind === 'advance' && this.#proposed.decision !== undefined;
    if (!deciding) for (const row of next.call) this.#call(row);
    if (next.record !== undefined && this.#proposed === undefined) {
      const { results, decision, retries } = next.record;
      if (decision !== undefined && next.call.length > 0)
        throw new Error('calls beside a decision');
      const expectStatus = transaction.state.status;
      this.#proposed = { kind: 'advance', gid: 'g', expectStatus, results, decision, retries };
    }
    const waits = next.call.length === 0 && next.record === undefined;
    if (waits && this.#running.length === 0 && this.#proposed === undefined) {
      const until = next.waitUntilMs;
      if (until === undefined) {
        if (this.#settled()) return;
        throw new Error(`waits for nothing: ${next.waitingFor}`);
      }
      this.replica.nowMs = Math.max(this.replica.nowMs, until);
    }
  }

  #call(row: number): void {
    if (this.#inflight.has(row)) throw new Error(`row ${row} is called twice at once`);
    if (this.#held.has(row)) throw new Error(`row ${row} is called with its answer held`);
    this.#checkCall(row);
    const count = this.calls[row] ?? 0;
    this.calls[row] = count + 1;
    if (count === 0) this.order.push(row);
    const script =
      (row % 2 === 1 ? this.#shape.actions : this.#shape.compensations)[row >> 1] ?? [];
    const outcome = script[Math.min(count, script.length - 1)] ?? 'success';
    if (outcome === 'success') this.done.add(row);
    const attempt = (this.replica.get('g').state.branches[row]?.attemptCount ?? 0) + 1;
    this.#started.add(row);
    this.#inflight.add(row);
    const { term, nowMs } = this.replica;
    this.#running.push({ row, attempt, term, atMs: nowMs, outcome });
  }

  #checkCall(row: number): void {
    const { state } = this.replica.get('g');
    const step = row >> 1;
    if (row % 2 === 1) {
      if (state.status !== 'submitted')
        throw new Error(`action ${step} called while ${state.status}`);
      const isUncommitted = (one: number) => state.branches[2 * one + 1]?.status !== 'succeed';
      for (const before of this.#before[step] ?? []) {
        if (!this.done.has(2 * before + 1))
          throw new Error(`action ${step} called before ${before}`);
        if (!isUncommitted(before)) continue;
        if (this.#shape.commitEachResult) throw new Error('started on an uncommitted result');
        if (this.#before[before]?.some(isUncommitted)) throw new Error('two uncommitted levels');
      }
      return;
    }
    if (state.status !== 'aborting') throw new Error(`P2: compensation while ${state.status}`);
    if (state.branches[row]?.wanted !== true) throw new Error(`compensation ${step} is not wanted`);
    if (this.#inflight.has(row + 1)) throw new Error(`compensation ${step} overtakes its action`);
    for (const [later, before] of this.#before.entries()) {
      const ran = (this.calls[2 * later + 1] ?? 0) > 0;
      if (before.includes(step) && ran && !this.done.has(2 * later)) {
        throw new Error(`compensation ${step} called before that of ${later}`);
      }
    }
  }

  /** One thing that the world does: an answer, a commit, a takeover, or time passing. */
  #happen(): void {
    const roll = this.#random();
    if (roll < 0.45 && this.#running.length > 0) this.#answer();
    else if (roll < 0.8 && this.#proposed !== undefined) this.#commit();
    else if (roll < 0.84 && this.takeovers < 6) this.#takeOver();
    else this.replica.nowMs += Math.floor(this.#random() * 2000);
  }

  #answer(): void {
    const [call] = this.#running.splice(Math.floor(this.#random() * this.#running.length), 1);
    if (call === undefined) return;
    const { state, definition } = this.replica.get('g');
    const row = state.branches[call.row];
    if (row === undefined) throw new Error(`no row ${call.row}`);
    const next = nextAttempt({
      row,
      outcome: call.outcome,
      baseIntervalMs: definition.baseIntervalMs,
      capMs: 60_000,
      random: this.#random(),
      nowMs: this.replica.nowMs,
    });
    const durationMs = this.replica.nowMs - call.atMs;
    const result = { ...call, durationMs, detail: 'no stock', ...next };
    // A leader that stepped down forwards what its calls answered, or it is lost.
    if (call.term !== this.replica.term) {
      if (this.#random() < 0.5) this.replica.advance('g', 'submitted', [result]);
      return;
    }
    this.#inflight.delete(call.row);
    this.#held.set(call.row, result);
  }

  #commit(): void {
    const command = this.#proposed;
    this.#proposed = undefined;
    if (command === undefined) return;
    this.replica.apply(command);
    // Sometimes its outcome was unknown, and it is committed once more.
    if (this.#random() < 0.1) this.replica.apply(command);
    const { branches } = this.replica.get('g').state;
    for (const [row, { term, attempt }] of this.#held) {
      const progress = branches[row];
      const attempts = [...(progress?.firstAttempts ?? []), ...(progress?.lastAttempts ?? [])];
      const known = attempts.some((one) => one.term === term && one.attempt === attempt);
      if (known || progress?.status !== 'prepared') this.#held.delete(row);
    }
  }

  /** What the old leader had proposed may still be committed; what it only knew is gone. */
  #takeOver(): void {
    if (this.#random() < 0.5) this.#commit();
    this.#proposed = undefined;
    this.takeovers += 1;
    this.replica.term += 1;
    this.#started = new Set();
    this.#inflight = new Set();
    this.#held = new Map();
  }

  #checkEnd(): void {
    const { state } = this.replica.get('g');
    for (let step = 0; step < this.#shape.steps; step += 1) {
      const acted = (this.calls[2 * step + 1] ?? 0) > 0;
      if (state.status === 'succeed') {
        if (!this.done.has(2 * step + 1)) throw new Error(`succeed without action ${step}`);
        if ((this.calls[2 * step] ?? 0) > 0) throw new Error(`succeed with compensation ${step}`);
      } else if (acted && !this.done.has(2 * step)) {
        throw new Error(`failed: action ${step} ran and was not compensated`);
      }
    }
    if (state.dueMs !== undefined) throw new Error('a finished saga is due');
  }
}
