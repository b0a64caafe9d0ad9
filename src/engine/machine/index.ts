// The door of the replicated state machine.
export type * from './types.ts';
