// A bank: accounts behind dtm's branch barrier, for every pattern that calls branches.
//
// Owns: balances, reservations (between a TCC's try and its confirm or cancel), the barrier table, and
// the ledger of every effect. Whether a bank refuses a branch is a function of the seed and the branch,
// so that whoever asks again is told the same.
//
// Source: the dtm protocol reference §10.1 (barrier).

import type { BranchCall } from '../../src/engine/participants/index.ts';
import type { Prng } from './prng.ts';
import { InvariantViolated } from './violation.ts';

/** What a participant answers. */
export interface Answer {
  readonly kind: 'success' | 'failure' | 'ongoing' | 'unknown';
  readonly detail: string;
}

export const SUCCESS: Answer = { kind: 'success', detail: 'SUCCESS' };
export const FAILURE: Answer = { kind: 'failure', detail: 'FAILURE' };

/** What a payload says. */
export interface Movement {
  readonly account: number;
  readonly amount: number;
}

/** One change of an account: what the ledger keeps. */
export interface LedgerEntry {
  readonly gid: string;
  readonly branchId: string;
  readonly op: string;
  readonly account: number;
  readonly amount: number;
}

/** What identifies a branch's work at its participant. */
export type BranchWork = Pick<BranchCall, 'gid' | 'branchId' | 'op' | 'payload'> &
  Partial<Pick<BranchCall, 'type'>>;

export const OPENING_BALANCE = 1_000_000;

/** The op whose work an op undoes (reference §10.1). */
const ORIGINS: Readonly<Record<string, string>> = {
  compensate: 'action',
  rollback: 'action',
  cancel: 'try',
};

export class Bank {
  readonly balances: number[];
  readonly #random: Prng;
  readonly #refuseProbability: number;
  readonly #effect: (entry: LedgerEntry) => void;
  readonly #barrier = new Set<string>();
  readonly #reserved = new Map<string, Set<string>>();

  /** `effect`: told of every effect behind the barrier. */
  constructor(
    random: Prng,
    options: { readonly accounts: number; readonly refuseProbability: number },
    effect: (entry: LedgerEntry) => void,
  ) {
    this.#random = random;
    this.#refuseProbability = options.refuseProbability;
    this.#effect = effect;
    this.balances = Array<number>(options.accounts).fill(OPENING_BALANCE);
  }

  get total(): number {
    return this.balances.reduce((sum, balance) => sum + balance, 0);
  }

  /** Branches of a TCC that are tried, and neither confirmed nor cancelled. */
  reservedOf(gid: string): readonly string[] {
    return [...(this.#reserved.get(gid) ?? [])];
  }

  /** The business of one branch and op; nothing of it can fail half way. */
  serve(call: BranchWork): Answer {
    switch (call.op) {
      case 'action':
        return this.#act(call);
      case 'try':
        return this.#try(call);
      case 'confirm':
      case 'cancel':
        return this.#settle(call);
      case 'compensate':
      case 'rollback':
        return this.#undo(call);
      // The second half of a workflow's step that has nothing left to do.
      case 'commit':
        return SUCCESS;
      default:
        throw new Error(`no bank knows the op ${call.op}`);
    }
  }

  /** A movement that other machinery than the barrier of a branch guards: a local transaction, or XA. */
  move(work: BranchWork): void {
    this.#move(work, 1);
  }

  refuses(gid: string, branchId: string): boolean {
    return this.#random.split(`${gid}/${branchId}`).chance(this.#refuseProbability);
  }

  /** Insert-ignore into the barrier table; true when the row is new. */
  insert(gid: string, branchId: string, op: string): boolean {
    const row = `${gid}/${branchId}/${op}`;
    if (this.#barrier.has(row)) {
      return false;
    }
    this.#barrier.add(row);
    return true;
  }

  #act(call: BranchWork): Answer {
    // The local transaction rolls back, and its barrier row with it.
    if (this.refuses(call.gid, call.branchId)) {
      return FAILURE;
    }
    if (this.insert(call.gid, call.branchId, call.op)) {
      this.#move(call, 1);
    }
    return SUCCESS;
  }

  #undo(call: BranchWork): Answer {
    if (this.#passes(call)) {
      this.#move(call, -1);
    }
    return SUCCESS;
  }

  #try(call: BranchWork): Answer {
    if (this.refuses(call.gid, call.branchId)) {
      return FAILURE;
    }
    if (this.insert(call.gid, call.branchId, call.op)) {
      const reserved = this.#reserved.get(call.gid) ?? new Set();
      this.#reserved.set(call.gid, reserved.add(call.branchId));
    }
    return SUCCESS;
  }

  /** Confirms or cancels what a try has reserved. */
  #settle(call: BranchWork): Answer {
    if (!this.#passes(call)) {
      return SUCCESS;
    }
    if (this.#reserved.get(call.gid)?.delete(call.branchId) !== true) {
      throw new InvariantViolated(
        'TCC',
        `${call.op} of ${call.gid}/${call.branchId}, which holds no reservation`,
      );
    }
    this.#move(call, call.op === 'confirm' ? 1 : 0);
    return SUCCESS;
  }

  /** The barrier: false for a repeat, and for undoing what was never done. */
  #passes({ gid, branchId, op }: BranchWork): boolean {
    const origin = ORIGINS[op];
    const originIsNew = origin !== undefined && this.insert(gid, branchId, origin);
    const isNew = this.insert(gid, branchId, op);
    return isNew && !originIsNew;
  }

  #move({ gid, branchId, op, payload }: BranchWork, times: number): void {
    const { account, amount } = decodeMovement(payload);
    this.balances[account] = (this.balances[account] ?? 0) + times * amount;
    this.#effect({ gid, branchId, op, account, amount: times * amount });
  }
}

export function encodeMovement(movement: Movement): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(movement));
}

function decodeMovement(payload: Uint8Array): Movement {
  return JSON.parse(new TextDecoder().decode(payload)) as Movement;
}
