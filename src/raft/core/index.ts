// The door of the consensus core.
export { InvariantViolation } from './assert.ts';
export { type CoreBug, type CoreBugs, NO_BUGS } from './bugs.ts';
export { describeEffect, describeEvent, describeMessage, describeStatus } from './describe.ts';
export { RaftCore, type RaftCoreOptions } from './raft.ts';
export type * from './types.ts';
