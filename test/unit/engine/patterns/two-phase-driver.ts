// A client, a leader in miniature and participants: registers branches, decides, and drives one TCC or
// XA transaction with the real `next` and the real machine through random answers, repeats, lost and
// late commits and takeovers, and checks at every call what must hold.

import type {
  BranchResult,
  Command,
  OperationRequest,
} from '../../../../src/engine/machine/index.ts';
import {
  createPatterns,
  type Knowledge,
  nextAttempt,
} from '../../../../src/engine/patterns/index.ts';
import { bareInput, bytes, DEFAULTS, Replica } from '../machine/fixtures.ts';
import { randomOf } from './saga-driver.ts';

export interface Shape {
  readonly type: 'tcc' | 'xa';
  readonly branches: number;
  /** Per branch: the answers of the row that is called, before the last one repeats. */
  readonly answers: readonly (readonly BranchResult['outcome'][])[];
  readonly emptyUrls: ReadonlySet<number>;
  /** What the client does when its branches are registered: nothing means that it dies. */
  readonly ends: 'submit' | 'abort' | 'dies';
  /** How often, in all, the client sends its last request again. */
  readonly repeats: number;
  readonly commitEachResult: boolean;
}

interface Call {
  readonly row: number;
  readonly attempt: number;
  readonly term: number;
  readonly atMs: number;
  readonly outcome: BranchResult['outcome'];
}

const STEPS_MAX = 4000;

export class TwoPhaseDriver {
  readonly replica: Replica;
  readonly #shape: Shape;
  readonly #random: () => number;
  readonly #pattern;
  readonly calls: string[] = [];
  /** Rows that their participants answered success. */
  readonly #done = new Set<number>();
  readonly #calledCount = new Map<number, number>();
  /** Registrations that the client was told are accepted. */
  #registered = 0;
  #repeats = 0;
  #takeovers = 0;
  /** What the client was told of its submit or abort. */
  #accepted: 'submit' | 'abort' | undefined;
  #asked = false;
  #running: Call[] = [];
  #proposed: Command | undefined;
  #started = new Set<number>();
  #inflight = new Set<number>();
  #held = new Map<number, BranchResult>();

  constructor(shape: Shape, seed: number, bugs?: ReadonlySet<string>) {
    this.#shape = shape;
    this.#random = randomOf(seed);
    this.replica = new Replica(bugs);
    const pattern = createPatterns(bugs)[shape.type];
    if (pattern === undefined) throw new Error('there is no such pattern');
    this.#pattern = pattern;
  }

  run(): void {
    this.replica.prepare(bareInput('g', { type: this.#shape.type }));
    for (let step = 0; !this.#settled(); step += 1) {
      if (step > STEPS_MAX) {
        throw new Error(`does not end: ${JSON.stringify(this.replica.get('g'))}`);
      }
      this.#client();
      this.#act();
      this.#happen();
    }
    this.#checkEnd();
  }

  get status(): string {
    return this.replica.get('g').state.status;
  }

  #settled(): boolean {
    const ended = ['succeed', 'failed'].includes(this.status);
    return ended && this.#running.length === 0 && this.#repeats >= this.#shape.repeats;
  }

  // ------------------------------------------------------------------------------- the client

  #client(): void {
    const { type, branches, ends, repeats } = this.#shape;
    if (this.#registered < branches && !this.#asked) {
      const at = this.#registered;
      const url = (name: string) => (this.#shape.emptyUrls.has(at) ? '' : `http://s${at}/${name}`);
      const request: OperationRequest = {
        kind: 'registerBranch',
        gid: 'g',
        branchId: String(at + 1).padStart(2, '0'),
        registration:
          type === 'tcc'
            ? { kind: 'tcc', confirm: url('ok'), cancel: url('undo') }
            : { kind: 'xa', url: url('xa') },
        payload: bytes(`{"n":${at}}`),
      };
      const answer = this.replica.operate(request);
      // Its answer is sometimes lost, and the same is sent again.
      const again = this.#random() < 0.3 ? this.replica.operate(request) : answer;
      if (answer.kind !== again.kind) throw new Error('a repeated registration is told otherwise');
      if (again.kind === 'success') this.#registered += 1;
      else this.#asked = true;
      return;
    }
    if (ends === 'dies' || (this.#asked && this.#repeats >= repeats)) {
      this.#repeats = repeats;
      return;
    }
    if (this.#asked && this.#random() < 0.7) return;
    if (this.#asked) this.#repeats += 1;
    this.#asked = true;
    const answer =
      ends === 'submit'
        ? this.replica.submit(bareInput('g', { type }), DEFAULTS)
        : this.replica.operate({ kind: 'abort', gid: 'g', type, rollbackReason: 'r' });
    if (answer.kind === 'success') this.#accepted = ends;
    else if (this.#accepted === ends) throw new Error(`P6: a repeat is told: ${answer.message}`);
  }

  // ------------------------------------------------------------------------------- the leader

  #knowledge(): Knowledge {
    return {
      drivenSinceAccepted: this.replica.get('g').state.acceptedTerm === this.replica.term,
      started: this.#started,
      inflight: this.#inflight,
      held: this.#held,
      commitEachResult: this.#shape.commitEachResult,
    };
  }

  #act(): void {
    const transaction = this.replica.get('g');
    const next = this.#pattern.next(transaction, this.replica.nowMs, this.#knowledge());
    const deciding = this.#proposed?.kind === 'advance' && this.#proposed.decision !== undefined;
    if (!deciding) for (const row of next.call) this.#call(row);
    if (next.record !== undefined && this.#proposed === undefined) {
      const { results, decision, retries } = next.record;
      if (decision !== undefined && next.call.length > 0) {
        throw new Error('calls beside a decision');
      }
      const expectStatus = transaction.state.status;
      this.#proposed = { kind: 'advance', gid: 'g', expectStatus, results, decision, retries };
    }
    const waits = next.call.length === 0 && next.record === undefined;
    if (!waits || this.#running.length > 0 || this.#proposed !== undefined) return;
    const clientActs = !this.#asked || this.#repeats < this.#shape.repeats;
    if (clientActs && this.#shape.ends !== 'dies') return;
    if (next.waitUntilMs !== undefined) {
      this.replica.nowMs = Math.max(this.replica.nowMs, next.waitUntilMs);
    } else if (!['succeed', 'failed'].includes(this.status)) {
      throw new Error(`waits for nothing: ${next.waitingFor}`);
    }
  }

  #call(row: number): void {
    const { definition, state } = this.replica.get('g');
    const branch = definition.branches[row];
    if (branch === undefined) throw new Error(`no row ${row}`);
    if (this.#inflight.size > 0) throw new Error('two calls at once');
    if (this.#held.has(row)) throw new Error(`row ${row} is called with its answer held`);
    const attempt = (state.branches[row]?.attemptCount ?? 0) + 1;
    const { term, nowMs } = this.replica;
    this.#started.add(row);
    if (branch.url === '') {
      this.#done.add(row);
      this.#held.set(row, {
        row,
        attempt,
        term,
        atMs: nowMs,
        durationMs: 0,
        outcome: 'success',
        detail: '',
        retryAtMs: undefined,
        intervalMs: 1,
      });
      return;
    }
    this.#checkCall(row);
    const count = this.#calledCount.get(row) ?? 0;
    this.#calledCount.set(row, count + 1);
    this.calls.push(`${branch.op} ${branch.branchId}`);
    const script = this.#shape.answers[row >> 1] ?? [];
    const outcome = script[Math.min(count, script.length - 1)] ?? 'success';
    if (outcome === 'success') this.#done.add(row);
    this.#inflight.add(row);
    this.#running.push({ row, attempt, term, atMs: nowMs, outcome });
  }

  #checkCall(row: number): void {
    const { definition, state } = this.replica.get('g');
    const forward = row % 2 === 1;
    if (state.status !== (forward ? 'submitted' : 'aborting')) {
      throw new Error(`P2: ${definition.branches[row]?.op} called while ${state.status}`);
    }
    for (const other of this.#calledCount.keys()) {
      if (other % 2 !== row % 2) throw new Error('P3: called both ways');
    }
    const before: number[] = [];
    const { length } = definition.branches;
    if (this.#shape.type === 'tcc') for (let at = row + 2; at < length; at += 2) before.push(at);
    else for (let at = row - 2; at >= 0; at -= 2) before.push(at);
    let uncommitted = 0;
    for (const other of before) {
      if (!this.#done.has(other)) throw new Error(`row ${row} called before row ${other}`);
      const isEmpty = definition.branches[other]?.url === '';
      if (!isEmpty && state.branches[other]?.status !== 'succeed') uncommitted += 1;
    }
    const most = this.#shape.commitEachResult ? 0 : 1;
    if (uncommitted > most) throw new Error(`${uncommitted} uncommitted levels`);
  }

  // -------------------------------------------------------------------------------- the world

  #happen(): void {
    const roll = this.#random();
    if (roll < 0.45 && this.#running.length > 0) this.#answer();
    else if (roll < 0.8 && this.#proposed !== undefined) this.#commit();
    else if (roll < 0.84 && this.#takeovers < 6) this.#takeOver();
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
    this.#takeovers += 1;
    this.replica.term += 1;
    this.#started = new Set();
    this.#inflight = new Set();
    this.#held = new Map();
  }

  #checkEnd(): void {
    const { state, definition } = this.replica.get('g');
    const rows = definition.branches.length;
    if (rows < 2 * this.#registered) throw new Error('P1: an accepted branch is missing');
    const forward = state.status === 'succeed';
    if (this.#accepted === 'submit' && !forward) throw new Error('submitted, but not confirmed');
    if (this.#accepted === 'abort' && forward) throw new Error('aborted, but confirmed');
    if (this.#accepted === undefined && forward) throw new Error('confirmed without a submit');
    for (let row = forward ? 1 : 0; row < rows; row += 2) {
      if (!this.#done.has(row)) throw new Error(`${state.status} without row ${row}`);
      const other = state.branches[row ^ 1];
      if (other?.status !== 'prepared' || other.attemptCount > 0) {
        throw new Error('a row of the direction not taken was touched');
      }
    }
    if (state.dueMs !== undefined) throw new Error('a finished transaction is due');
  }
}
