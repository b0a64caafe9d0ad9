// The door of operations: what clients asked of this node.

export type { CoordinatorConfig, TransactionReads } from './coordinator.ts';
export { LocalCoordinator } from './coordinator.ts';
export { encodeForward } from './forward-codec.ts';
export type { ForwardTransport } from './forward-port.ts';
export type { Consensus, Leadership } from './ports.ts';
export type * from './types.ts';
