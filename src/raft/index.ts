// The door of consensus.
export type * from './core/types.ts';
export type * from './node/ports.ts';
