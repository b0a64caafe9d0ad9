// Databases that take part in XA transactions: what is active, what is prepared, and what the second
// phase makes of it.
//
// Owns: the xids. A branch that is active holds its locks, so a rollback that arrives meanwhile is told
// to come again; an xid that the database does not know is a success, and a rollback leaves a barrier
// row behind, so that a first phase that arrives later finds itself too late.
//
// Source: the dtm protocol reference §10.1 (XA).

import { type Answer, type Bank, type BranchWork, FAILURE, SUCCESS } from './bank.ts';
import { InvariantViolated } from './violation.ts';

export class XaDatabases {
  readonly #bank: Bank;
  readonly #active = new Set<string>();
  /** By gid and branch: the work whose locks are held, as the first phase brought it. */
  readonly #prepared = new Map<string, Map<string, BranchWork>>();

  constructor(bank: Bank) {
    this.#bank = bank;
  }

  get activeCount(): number {
    return this.#active.size;
  }

  preparedOf(gid: string): readonly string[] {
    return [...(this.#prepared.get(gid)?.keys() ?? [])];
  }

  /**
   * The service's first phase: business under an xid, registration as a branch, prepare. `business`
   * takes its time; `register` asks the coordinator and tells whether it agreed.
   */
  async prepare(
    work: BranchWork,
    business: () => Promise<void>,
    register: () => Promise<'registered' | 'refused' | 'unknown'>,
  ): Promise<Answer> {
    const { gid, branchId } = work;
    const xid = `${gid}/${branchId}`;
    if (this.#active.has(xid) || this.#prepared.get(gid)?.has(branchId) === true) {
      return { kind: 'unknown', detail: 'XAER_DUPID' };
    }
    if (!this.#bank.insert(gid, branchId, 'action')) {
      return FAILURE;
    }
    this.#active.add(xid);
    await business();
    const refused = this.#bank.refuses(gid, branchId);
    const registered = refused ? 'refused' : await register();
    this.#active.delete(xid);
    if (registered !== 'registered') {
      return registered === 'refused' ? FAILURE : { kind: 'unknown', detail: 'not registered' };
    }
    const prepared = this.#prepared.get(gid) ?? new Map<string, BranchWork>();
    this.#prepared.set(gid, prepared.set(branchId, work));
    return SUCCESS;
  }

  /** The second phase; its call carries no body. */
  settle(call: BranchWork): Answer {
    const { gid, branchId, op } = call;
    const isActive = this.#active.has(`${gid}/${branchId}`);
    const prepared = this.#prepared.get(gid)?.get(branchId);
    this.#prepared.get(gid)?.delete(branchId);
    if (call.payload.length > 0) {
      throw new InvariantViolated('XA', `${op} of ${gid}/${branchId} has a body`);
    }
    if (op === 'commit') {
      if (isActive) {
        throw new InvariantViolated('XA', `commit of ${gid}/${branchId}, which is not prepared`);
      }
      if (prepared !== undefined) {
        this.#bank.move({ ...prepared, op });
      }
      return SUCCESS;
    }
    if (isActive) {
      return { kind: 'unknown', detail: 'lock wait timeout exceeded' };
    }
    this.#bank.insert(gid, branchId, 'action');
    return SUCCESS;
  }
}
