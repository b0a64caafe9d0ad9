// The limits of the scheduler. Every queue and cache of this module is bounded by one.

export interface SchedulerConfig {
  /** Transactions driven at once: with calls, held results or a proposal under way. */
  readonly transactionsInFlightMax: number;
  /** Payload bytes of the transactions in memory; beyond it no further one is started. */
  readonly payloadBytesMax: number;
  /** Transactions accepted but not started yet; beyond it they wait for their due time. */
  readonly readyMax: number;
  /** Concurrent loads of transactions from the state. */
  readonly loadsMax: number;
  /** The due entries in memory: those of the next `dueWindowMs`, at most `dueEntriesMax`. */
  readonly dueWindowMs: number;
  readonly dueEntriesMax: number;
  /** Entries read from an index at once. */
  readonly pageSize: number;
  /** After a takeover: resumed transactions at once, growing to the full limit in `rampMs`. */
  readonly rampInitial: number;
  readonly rampMs: number;
  /** After a takeover no timeout decides anything for this long: clients' requests come first. */
  readonly timeoutGraceMs: number;
  /** `UpdateBranchSync: 1`: each result is committed before the next step starts. */
  readonly commitEachResult: boolean;
  /** No back-off interval grows beyond this (unless the client's base interval is longer). */
  readonly retryIntervalMsMax: number;
  /** Between attempts to propose again what was refused; doubles up to a second. */
  readonly proposeRetryMs: number;
  /** While calls wait for the dispatch lease, it is asked this often. */
  readonly leasePollMs: number;
  /** A call that its target's queue or circuit refused is tried again no sooner than this. */
  readonly refusedCallDelayMsMin: number;
  /** Such calls are paced, so that many of them cost no more than this many looks per second. */
  readonly refusedCallsPerSecondMax: number;
  /** Results forwarded by former leaders that wait for their transaction to be loaded. */
  readonly forwardedResultsMax: number;
  readonly purgeIntervalMs: number;
  readonly purgeBatchMax: number;
}

export const DEFAULT_SCHEDULER_CONFIG: SchedulerConfig = {
  transactionsInFlightMax: 16_384,
  payloadBytesMax: 256 * 1024 * 1024,
  readyMax: 65_536,
  loadsMax: 64,
  dueWindowMs: 60_000,
  dueEntriesMax: 50_000,
  pageSize: 512,
  rampInitial: 64,
  rampMs: 2000,
  timeoutGraceMs: 300,
  commitEachResult: false,
  retryIntervalMsMax: 600_000,
  proposeRetryMs: 10,
  leasePollMs: 10,
  refusedCallDelayMsMin: 20,
  refusedCallsPerSecondMax: 4000,
  forwardedResultsMax: 10_000,
  purgeIntervalMs: 10_000,
  purgeBatchMax: 500,
};
