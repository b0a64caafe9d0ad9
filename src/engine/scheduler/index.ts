// The door of the scheduler.
export { DEFAULT_SCHEDULER_CONFIG, type SchedulerConfig } from './config.ts';
export type { SchedulerBugs } from './deliberate-bugs.ts';
export type { Explanation, SchedulerStats } from './explanation.ts';
export type {
  DueEntry,
  EndedCall,
  Page,
  ProposeOutcome,
  Proposer,
  SchedulerPorts,
  TransactionSource,
} from './ports.ts';
export { Scheduler } from './scheduler.ts';
export { StateTransactionSource } from './state-source.ts';
export { isNotFinishedButIdle, type Unfinished, unfinishedBecause } from './wait-rule.ts';
