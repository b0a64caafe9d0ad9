// The databases of those who send messages: a local transaction with its barrier row, and the answer
// to `query_prepared`.
//
// Owns: which local transaction is running, committed or ruled out. Asking rules out what has not begun
// (insert-ignore of the row with the reason `rollback`); while the transaction runs its row is locked,
// and whoever asks is told to come again.
//
// Source: the dtm protocol reference §10.1 (check-back), §10.4.

import { type Answer, type Bank, type BranchWork, FAILURE, SUCCESS } from './bank.ts';

type LocalState = 'running' | 'committed' | 'ruledOut';

export class LocalTransactions {
  readonly #bank: Bank;
  readonly #states = new Map<string, LocalState>();

  constructor(bank: Bank) {
    this.#bank = bank;
  }

  isCommitted(gid: string): boolean {
    return this.#states.get(gid) === 'committed';
  }

  /** False: the check-back came first, and the row is a duplicate. */
  begin(gid: string): boolean {
    if (this.#states.has(gid)) {
      return false;
    }
    this.#states.set(gid, 'running');
    return true;
  }

  commit(work: BranchWork): void {
    this.#states.set(work.gid, 'committed');
    this.#bank.move(work);
  }

  /** Its row is gone with it. */
  rollBack(gid: string): void {
    this.#states.delete(gid);
  }

  checkBack(gid: string): Answer {
    switch (this.#states.get(gid)) {
      case 'committed':
        return SUCCESS;
      case 'ruledOut':
        return FAILURE;
      case 'running':
        return { kind: 'ongoing', detail: 'ONGOING' };
      case undefined:
        this.#states.set(gid, 'ruledOut');
        return FAILURE;
    }
  }
}
