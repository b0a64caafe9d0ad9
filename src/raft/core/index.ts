// The door of the consensus core.
export { type CoreBug, type CoreBugs, NO_BUGS } from './bugs.ts';
export { RaftCore, type RaftCoreOptions } from './raft.ts';
export type * from './types.ts';
