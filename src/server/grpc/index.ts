// The door of the gRPC API: dtm's service, health, and reflection where it is wanted.

import type { Coordinator } from '../../engine/index.ts';
import type { NodeLog } from '../../raft/index.ts';
import type { Config } from '../config.ts';
import { transactionDefaults } from '../config-defaults.ts';
import type { Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import { TopicRequests, TransactionInputs, TransactionRequests } from '../requests/index.ts';
import { dtmMethods } from './dtm-methods.ts';
import { GrpcServer } from './grpc-server.ts';
import { HealthService, healthProto } from './health-service.ts';
import { loadService } from './load-proto.ts';
import { ReflectionService, reflectionProto } from './reflection-service.ts';
import { serverCredentials } from './server-credentials.ts';

export { GrpcServer } from './grpc-server.ts';

export interface GrpcParts {
  readonly coordinator: () => Coordinator | undefined;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: NodeLog;
}

const dtmProto = loadService('dtmgimp.proto', 'dtmgimp.Dtm');

/** The whole gRPC API of a node, not listening yet. */
export function createGrpcServer(config: Config, parts: GrpcParts): GrpcServer {
  const { api } = config;
  const { coordinator, health, metrics, log } = parts;
  const options = {
    defaults: transactionDefaults(config),
    operationTimeoutMs: api.operationTimeoutMs,
  };
  const methods = dtmMethods({
    inputs: new TransactionInputs(api),
    requests: new TransactionRequests(options),
    topics: new TopicRequests(options),
    jsonLimits: { depthMax: api.jsonDepthMax, valuesMax: api.jsonValuesMax },
    transactionBytesMax: api.transactionBytesMax,
  });
  const healthService = new HealthService(health, dtmProto.name);
  const reflection = new ReflectionService([
    { file: 'dtmgimp.proto', service: dtmProto },
    { file: 'grpc/health/v1/health.proto', service: healthProto },
    { file: 'grpc/reflection/v1alpha/reflection.proto', service: reflectionProto },
  ]);
  const others = [
    { service: healthProto, implementation: healthService.implementation },
    ...(api.grpcReflection
      ? [{ service: reflectionProto, implementation: reflection.implementation }]
      : []),
  ];
  return new GrpcServer(api, {
    service: dtmProto,
    credentials: serverCredentials(config),
    methods,
    others,
    coordinator,
    health,
    metrics,
    log,
    closing: () => healthService.close(),
  });
}
