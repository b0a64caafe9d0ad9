// What a pattern is: a pure function from a transaction, a time and what this leader knows beyond
// the committed state, to what should happen next.
//
// Owns: that contract. The scheduler carries actions out; the state machine checks and records them.

import type {
  BranchOp,
  BranchResult,
  Decision,
  OperationResult,
  Transaction,
  TransactionDefaults,
  TransactionInput,
} from '../machine/index.ts';
import type { CreatedAt } from './new-transaction.ts';

/** What the leader of this term knows and the log does not (yet). Rows are positions. */
export interface Knowledge {
  /** This leader has driven the transaction in its own term since it was accepted. */
  readonly drivenSinceAccepted: boolean;
  /** Rows this leader has started in its term, finished or not. Sticky (defect 12.20). */
  readonly started: ReadonlySet<number>;
  /** Rows with a call in flight. */
  readonly inflight: ReadonlySet<number>;
  /** Results that arrived and are not committed, by row. */
  readonly held: ReadonlyMap<number, BranchResult>;
  /** `UpdateBranchSync: 1`: every result is committed before the next step starts. */
  readonly commitEachResult: boolean;
}

export interface NextActions {
  /** Rows to call now. Empty-URL rows are included: the scheduler succeeds them without a call. */
  readonly call: readonly number[];
  /** Propose now: `results` are all held ones that the command carries. */
  readonly record:
    | {
        readonly results: readonly BranchResult[];
        readonly decision: Decision | undefined;
        readonly retries: number;
      }
    | undefined;
  /** Look again at this log time if nothing happens before; undefined: nothing to wait for. */
  readonly waitUntilMs: number | undefined;
  /** Why nothing (more) happens now, for operators: one short sentence without payloads. */
  readonly waitingFor: string;
}

/** One transaction pattern. All of dtm's §5 for it is here and nowhere else. Pure. */
export interface Pattern {
  /** Checks what is particular to the pattern: what can never finish is never accepted (12.13). */
  validate(input: TransactionInput): OperationResult | undefined;
  /** A new transaction from a prepare or a submit. */
  create(input: TransactionInput, defaults: TransactionDefaults, at: CreatedAt): Transaction;
  next(transaction: Transaction, nowMs: number, knowledge: Knowledge): NextActions;
  /** Whether the answer `failure` ends a row of this op; else it is retried as an unknown error. */
  failureEndsRow(op: BranchOp): boolean;
  /**
   * The decision as it takes effect on these rows, at the entry's time; undefined when what it
   * presupposes does not hold. `apply` trusts no leader with this.
   */
  checkDecision(transaction: Transaction, decision: Decision, timeMs: number): Decision | undefined;
  /** The row whose compensation a result of `row` makes necessary while the transaction aborts. */
  compensationOf(transaction: Transaction, row: number): number | undefined;
  /** How a row is called where its definition does not say it; absent: as defined. */
  callOf?(
    transaction: Transaction,
    row: number,
  ): { readonly op: string; readonly payload: Uint8Array };
  /** When the scheduler must look again if nothing happens before; undefined once finished. */
  dueMs(transaction: Transaction, nowMs: number): number | undefined;
}

/**
 * Deliberate bugs that the simulator must find. Test-only: nothing but a test passes a non-empty set.
 *
 * - `compensateOnlyRecorded`: after a takeover, what the old leader may have started is forgotten.
 * - `forgetOperationResult`: a repeated operation id runs again.
 * - `decideSucceedEarly`: a saga ends `succeed` when all but the last action have succeeded.
 * - `resubmitReruns`: a resubmit starts the transaction's rows from scratch (defect 12.1); a TCC then
 *   succeeds without its confirms.
 * - `timeoutAfterSubmit`: a TCC or XA that is submitted still times out, though some are confirmed.
 * - `registerAfterDecision`: registerBranch is accepted in any status.
 * - `cancelAfterTakeover`: a TCC or XA that is submitted is rolled back by the next leader.
 * - `commitBeforeSubmit`: the first branch of a TCC or XA is confirmed while it is prepared.
 * - `confirmAllButOne`: a TCC or XA ends before the last of its branches is called.
 * - `deliverWithoutCheckBack`: a message is sent at its timeout, and nobody is asked.
 * - `ignoreCheckBackFailure`: a message is sent whatever `query_prepared` answers.
 * - `ignoreDelay`: a message is sent before its time.
 * - `staleTopic`: a subscription counts three seconds after it was made (defect 12.10).
 * - `callbackTwice`: a workflow is called back while a callback runs.
 * - `callbackWithoutLease`: progress does not keep a workflow's callback away (defect 12.8).
 * - `workflowRecordOverwritten`: the last result of a workflow's step stands, not the first.
 */
export type Bugs = ReadonlySet<string>;
export const NO_BUGS: Bugs = new Set();
