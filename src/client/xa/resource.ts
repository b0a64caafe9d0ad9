// The part of a database in an XA transaction: prepare now, commit or roll back when the coordinator
// says so, possibly on another machine.
//
// Source: dtm reference §10.1.

export interface XaBranchId {
  readonly transactionType: string;
  readonly gid: string;
  readonly branchId: string;
}

export interface XaResource<Connection> {
  /**
   * Runs `business` in a transaction and prepares it. `business` registers the branch as its last act:
   * what is prepared is then known to the coordinator, and what fails before is not.
   */
  prepare<T>(branch: XaBranchId, business: (connection: Connection) => Promise<T>): Promise<T>;
  /** Succeeds as well when it was done before. */
  finish(branch: XaBranchId, decision: 'commit' | 'rollback'): Promise<void>;
}

/** As dtm's clients name it: any of them can end what another has prepared. */
export function xidOf({ gid, branchId }: XaBranchId): string {
  return `${gid}-${branchId}`;
}
