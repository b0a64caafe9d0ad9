// What the log is for: transactions, the commands that change them, and what applying one yields.
//
// Owns: the shapes shared by the state machine, the patterns, the scheduler and the server. Statuses
// and ops are dtm's own words (docs/glossary.md). All times are cluster time (the entry's), in ms.
//
// Sources: docs/architecture.md §Transactions; the dtm protocol reference, §1.3, §1.5, §5.

export type TransactionType = 'saga' | 'tcc' | 'xa' | 'msg' | 'workflow';
export type TransactionStatus = 'prepared' | 'submitted' | 'aborting' | 'succeed' | 'failed';
export type BranchStatus = 'prepared' | 'succeed' | 'failed';
export type Protocol = 'http' | 'grpc' | 'json-rpc';
export type BranchOp =
  | 'action'
  | 'compensate'
  | 'confirm'
  | 'cancel'
  | 'commit'
  | 'rollback'
  /** The check-back of a message: the coordinator's own call. */
  | 'msg'
  /** A workflow's first half of a local XA. */
  | 'business'
  /** The resumption of a workflow: the coordinator's own call; on the wire, the workflow's name. */
  | 'callback';

/** The options of a transaction, resolved: nothing left to a default that nodes could disagree on. */
export interface TransactionOptions {
  readonly waitResult: boolean;
  /** As given, in seconds; 0 = not given. Kept for the wire. */
  readonly timeoutToFailS: number;
  readonly requestTimeoutS: number;
  readonly retryIntervalS: number;
  readonly retryLimit: number;
  readonly retryCount: number;
  readonly branchHeaders: Readonly<Record<string, string>>;
  /** Top-level `concurrent` as sent (msg honours it; saga reads `customData`). */
  readonly concurrent: boolean;
}

/** Defaults of the node that received the request; they travel with the command (P3). */
export interface TransactionDefaults {
  readonly timeoutToFailMs: number;
  readonly retryIntervalMs: number;
  readonly requestTimeoutMs: number;
  /** Finished transactions are forgotten this long after their end; ≥ 24 h. */
  readonly retentionMs: number;
  /** A prepared transaction that is never submitted fails at this age. */
  readonly preparedExpiryMs: number;
  /** dtm's answer to a resubmit of a finished transaction (P6). */
  readonly strictResubmit: boolean;
}

/** A transaction as a client sends it. `undefined` = the key was absent, null or empty. */
export interface TransactionInput {
  readonly gid: string;
  readonly type: TransactionType;
  readonly steps: readonly StepInput[] | undefined;
  /** One per step (legacy `steps[].data` already merged, reference §1.3). */
  readonly payloads: readonly Uint8Array[] | undefined;
  readonly queryPrepared: string | undefined;
  readonly protocol: Protocol | undefined;
  readonly customData: string | undefined;
  readonly rollbackReason: string | undefined;
  /** Workflow submit only (`req_extra`): how the client's run ended. */
  readonly workflowEnd?: WorkflowEnd | undefined;
  readonly options: Partial<TransactionOptions>;
}
export interface WorkflowEnd {
  readonly status: 'succeed' | 'failed';
  readonly rollbackReason: string;
  /** As the client sent it: base64 by convention, opaque here. */
  readonly result: string;
}
/** What a registerBranch adds, by the type it states (dtm reference §1.4). */
export type Registration =
  | { readonly kind: 'tcc'; readonly confirm: string; readonly cancel: string }
  | { readonly kind: 'xa'; readonly url: string }
  | { readonly kind: 'workflow'; readonly op: string; readonly status: string };

export interface StepInput {
  readonly action: string;
  readonly compensate: string;
}

/** One attempt to call a branch, as it is remembered. */
export interface Attempt {
  /** 1-based number of the attempt on this row. */
  readonly attempt: number;
  /** Term of the leader that called. */
  readonly term: number;
  /** Cluster time at which the call was written. */
  readonly atMs: number;
  readonly durationMs: number;
  readonly outcome: 'success' | 'failure' | 'ongoing' | 'unknown';
  /** First KiB of the answer, or what went wrong. */
  readonly detail: string;
  /** When the next attempt was planned, if one was. */
  readonly retryAtMs: number | undefined;
}

/** A branch row: what never changes about it. */
export interface BranchDefinition {
  readonly branchId: string;
  readonly op: BranchOp;
  /** Empty: succeeds without a call. */
  readonly url: string;
  /** Index into `TransactionDefinition.payloads`; undefined = no payload. */
  readonly payload: number | undefined;
}

/** A branch row: what changes. Rows are identified by their position. */
export interface BranchProgress {
  readonly status: BranchStatus;
  readonly createTimeMs: number;
  readonly updateTimeMs: number;
  readonly finishTimeMs: number | undefined;
  /** Sticky: an abort decision named this row as one whose compensation is wanted. */
  readonly wanted: boolean;
  /** Not before this time; undefined = at once. */
  readonly retryAtMs: number | undefined;
  /** Current back-off interval of the row. */
  readonly intervalMs: number;
  readonly attemptCount: number;
  readonly ongoingCount: number;
  readonly unknownCount: number;
  /** The first two and the last five attempts. */
  readonly firstAttempts: readonly Attempt[];
  readonly lastAttempts: readonly Attempt[];
  /** Sticky: an alert about this row was delivered. Absent = false. */
  readonly alerted?: boolean;
}

/** What a create (or the merge of prepare and submit) fixed. */
export interface TransactionDefinition {
  readonly gid: string;
  readonly type: TransactionType;
  readonly protocol: Protocol;
  readonly steps: readonly StepInput[];
  readonly payloads: readonly Uint8Array[];
  readonly queryPrepared: string;
  readonly customData: string;
  readonly options: TransactionOptions;
  readonly branches: readonly BranchDefinition[];
  /** Parsed from customData for sagas: steps that must have succeeded first, by step number. */
  readonly concurrent: boolean;
  readonly orders: ReadonlyMap<number, readonly number[]>;
  /** Effective limits, in ms; undefined = never. */
  readonly timeoutMs: number | undefined;
  readonly requestTimeoutMs: number;
  readonly baseIntervalMs: number;
  readonly retentionMs: number;
  readonly preparedExpiryMs: number;
}

/** What changes while a transaction runs. */
export interface TransactionState {
  readonly gid: string;
  readonly type: TransactionType;
  readonly status: TransactionStatus;
  readonly createTimeMs: number;
  readonly updateTimeMs: number;
  readonly finishTimeMs: number | undefined;
  readonly rollbackTimeMs: number | undefined;
  readonly rollbackReason: string;
  /** Workflow: what its client submitted, as sent; empty otherwise. */
  readonly result: string;
  /** Term whose leader applied the command that made it `submitted`; for "driven since accepted". */
  readonly acceptedTerm: number;
  /** Calls repeated because of `retry_limit`, over all leaders (defect 12.17). */
  readonly retryCount: number;
  /** When the scheduler must look again (dtm's next_cron_time) and the interval it shows. */
  readonly dueMs: number | undefined;
  readonly intervalMs: number;
  readonly forced: { readonly by: string; readonly reason: string } | undefined;
  readonly branches: readonly BranchProgress[];
}

export interface Transaction {
  readonly definition: TransactionDefinition;
  readonly state: TransactionState;
}

// ---------------------------------------------------------------------------------- commands

/** Who asked: the receiving node, its incarnation (boot id), and its own sequence. */
export interface OperationId {
  readonly nodeId: number;
  readonly incarnation: number;
  readonly seq: number;
}

export type OperationRequest =
  | {
      readonly kind: 'prepare' | 'submit';
      readonly transaction: TransactionInput;
      readonly defaults: TransactionDefaults;
    }
  | {
      readonly kind: 'abort';
      readonly gid: string;
      /** As stated in the request; compared with the stored type (defect 12.12). */
      readonly type: string;
      readonly rollbackReason: string;
      /** dtm's answer to a repeat (P6); absent = false. */
      readonly strict?: boolean;
    }
  | {
      readonly kind: 'forceStop';
      readonly gid: string;
      readonly by: string;
      readonly reason: string;
      /** dtm's answer to a repeat (P6); absent = false. */
      readonly strict?: boolean;
    }
  | {
      readonly kind: 'registerBranch';
      readonly gid: string;
      readonly branchId: string;
      readonly registration: Registration;
      readonly payload: Uint8Array;
    }
  /** Creates a workflow, or finds it in any status: the caller then reads its progress. */
  | {
      readonly kind: 'prepareWorkflow';
      readonly transaction: TransactionInput;
      readonly defaults: TransactionDefaults;
    }
  | {
      readonly kind: 'subscribe';
      readonly topic: string;
      readonly url: string;
      readonly remark: string;
    }
  | { readonly kind: 'unsubscribe'; readonly topic: string; readonly url: string }
  | { readonly kind: 'deleteTopic'; readonly topic: string }
  /** `next_cron_time` := now, for each gid that exists; unknown ones are counted out. */
  | {
      readonly kind: 'resetNextCronTime';
      readonly gids: readonly string[];
      /** True: a gid that is unknown makes the whole operation an error. */
      readonly mustExist: boolean;
    };

/** A topic as stored: the dtm reference's KV of category `topics`. */
export interface Topic {
  readonly name: string;
  /** Starts at 1; one more with every subscribe and unsubscribe. */
  readonly version: number;
  readonly createTimeMs: number;
  readonly updateTimeMs: number;
  readonly subscribers: readonly { readonly url: string; readonly remark: string }[];
}

/** The result of an operation at apply; `message` is what a dtm client reads. */
export type OperationResult =
  | {
      readonly kind: 'success';
      readonly gid: string;
      readonly status: TransactionStatus;
      readonly count: number;
      /** The stored options' wait_result: abort waits by it (reference §11.7). */
      readonly waitResult: boolean;
    }
  /** 409 on the wire: an answer about the transaction. */
  | { readonly kind: 'failure'; readonly message: string }
  /** 500 on the wire: the request cannot be carried out. */
  | { readonly kind: 'error'; readonly message: string };

/** The result of one call, as the leader proposes it. */
export interface BranchResult extends Attempt {
  /** Position of the row. */
  readonly row: number;
  /** New back-off interval of the row, chosen by the leader (jitter is not deterministic). */
  readonly intervalMs: number;
  /** An alert about this row has been delivered. Absent = not that this leader knows. */
  readonly alerted?: boolean;
}

export type Decision =
  | {
      readonly to: 'aborting';
      readonly reason: string;
      /** Rows whose compensation is wanted: positions of the compensating rows. */
      readonly compensate: readonly number[];
    }
  | { readonly to: 'submitted' }
  | { readonly to: 'succeed' }
  | { readonly to: 'failed'; readonly reason: string };

export type Command =
  /** Opens a node's operation session; ends its older ones. */
  | { readonly kind: 'openSession'; readonly nodeId: number; readonly incarnation: number }
  | {
      readonly kind: 'operation';
      readonly opId: OperationId;
      /** Results of this session below this sequence may be forgotten. */
      readonly lowestOpenSeq: number;
      readonly request: OperationRequest;
    }
  /**
   * The leader's own: record results of calls and, with them or alone, a decision. Applies only
   * while `expectStatus` holds; each result only while its row is open. After a forced stop results
   * are still recorded, the decision is not (P3).
   */
  | {
      readonly kind: 'advance';
      readonly gid: string;
      readonly expectStatus: TransactionStatus;
      readonly results: readonly BranchResult[];
      readonly decision: Decision | undefined;
      /** Adds to `retryCount` (saga retry_limit). */
      readonly retries: number;
    }
  /** Retention: forgets those of `gids` whose expiry has passed and that are final. */
  | { readonly kind: 'purge'; readonly gids: readonly string[] }
  /** Every replica compares its own digest at `index`. */
  | { readonly kind: 'digest'; readonly index: number; readonly digest: bigint };

/** What applying one command changed, for those who watch: scheduler, waits, metrics. */
export interface TransactionChange {
  readonly gid: string;
  readonly before: TransactionStatus | undefined;
  /** Undefined: purged. */
  readonly after: Transaction | undefined;
  /** Present when the command was an operation on this transaction. */
  readonly opId: OperationId | undefined;
}

export interface AppliedOperation {
  readonly opId: OperationId;
  readonly result: OperationResult;
}

/** An entry of the log as apply takes it: decoded from the log's bytes, on the leader too. */
export interface CommandEntry {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  readonly commands: readonly Command[];
}

/** What applying one entry yielded, in command order. */
export interface AppliedEntry {
  readonly index: number;
  readonly term: number;
  readonly timeMs: number;
  readonly changes: readonly TransactionChange[];
  readonly operations: readonly AppliedOperation[];
  /** Commands of sessions that are not open: never run; their senders must open a new one. */
  readonly refusedOperations: readonly OperationId[];
  /** Sessions that `openSession` commands of this entry opened. */
  readonly sessionsOpened: readonly { readonly nodeId: number; readonly incarnation: number }[];
  /** Set when a `digest` command disagreed with this replica. */
  readonly divergence: { readonly index: number; readonly expected: bigint } | undefined;
}

// --------------------------------------------------------------------------- state the machine needs

/** Binary keys, compared as unsigned bytes; held as latin1 strings so that they can be map keys. */
export type Key = string;

/** Synchronous state for apply: everything `keysToRead` named has been fetched. */
export interface MutableState {
  /** @throws (a broken invariant) when the key was not named and is not in memory. */
  get(key: Key): Uint8Array | undefined;
  /** `isNew`: the key certainly does not exist, so nothing needs to be looked up. */
  put(key: Key, value: Uint8Array, isNew?: boolean): void;
  delete(key: Key): void;
}

/** Reads outside apply. A view is consistent: one applied index. */
export interface StateReader {
  get(key: Key): Promise<Uint8Array | undefined>;
  /** Pairs with `gte ≤ key < lt`, in order (descending when `reverse`), at most `limit`. */
  range(range: {
    readonly gte: Key;
    readonly lt: Key;
    readonly reverse?: boolean;
    readonly limit: number;
  }): Promise<readonly (readonly [Key, Uint8Array])[]>;
}
