// The door of operations: what clients asked of this node.

export type { CoordinatorConfig, TransactionReads } from './coordinator.ts';
export { LocalCoordinator } from './coordinator.ts';
export type { ForwardHandler, ForwardResult, ForwardTransport } from './forward-port.ts';
export { forwardLateResult } from './forward-server.ts';
export type { Consensus, Leadership } from './ports.ts';
export { RemoteWaits } from './remote-waits.ts';
export type * from './types.ts';
