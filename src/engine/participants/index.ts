// The door of calling participants.
export { ProtocolCaller, type Transports } from './caller.ts';
export { DEFAULT_PARTICIPANTS_CONFIG, type ParticipantsConfig } from './config.ts';
export { allowAllEgress, type EgressPolicy } from './egress.ts';
export { GrpcCaller, type GrpcCallerPorts } from './grpc-caller.ts';
export { parseGrpcUrl } from './grpc-url.ts';
export { HttpCaller, type HttpCallerPorts } from './http-caller.ts';
export { JsonRpcCaller } from './json-rpc-caller.ts';
export { transportOf } from './transport-rule.ts';
export type * from './types.ts';
