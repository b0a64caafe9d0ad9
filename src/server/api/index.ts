// The door of the HTTP API.

import type { Coordinator } from '../../engine/index.ts';
import type { NodeLog } from '../../raft/index.ts';
import type { Config } from '../config.ts';
import { transactionDefaults } from '../config-defaults.ts';
import type { Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import type { NodeStatusSource } from '../status-source.ts';
import { ApiServer } from './api-server.ts';
import { queryRoutes } from './routes-queries.ts';
import { transactionRoutes } from './routes-transactions.ts';
import { timeFormatOf } from './time-text.ts';
import { TransactionBodyReader } from './transaction-body.ts';

export { ApiServer } from './api-server.ts';
export type { ErrorCode } from './errors.ts';

export interface ApiParts {
  readonly coordinator: () => Coordinator | undefined;
  readonly status: NodeStatusSource;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: NodeLog;
  readonly version: string;
}

/** The whole HTTP API of a node, not listening yet. */
export function createApiServer(config: Config, parts: ApiParts): ApiServer {
  const { api, transactions } = config;
  const { health, metrics, status, version } = parts;
  const reader = new TransactionBodyReader({
    depthMax: api.jsonDepthMax,
    valuesMax: api.jsonValuesMax,
    stepsMax: api.stepsMax,
    transactionBytesMax: api.transactionBytesMax,
  });
  const routes = [
    ...transactionRoutes({
      reader,
      defaults: transactionDefaults(config),
      operationTimeoutMs: api.operationTimeoutMs,
      version,
    }),
    ...queryRoutes({
      time: timeFormatOf(api.timeZoneOffset),
      listLimitMax: api.listLimitMax,
      timeoutToFailMs: transactions.timeoutToFailMs,
      operationTimeoutMs: api.operationTimeoutMs,
    }),
  ];
  return new ApiServer(api, {
    routes,
    coordinator: parts.coordinator,
    operator: { health, metrics, status, version },
    health,
    metrics,
    log: parts.log,
  });
}
