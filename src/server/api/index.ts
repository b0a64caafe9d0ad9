// The door of the HTTP API.

import type { Coordinator } from '../../engine/index.ts';
import type { NodeLog } from '../../raft/index.ts';
import type { Config } from '../config.ts';
import { transactionDefaults } from '../config-defaults.ts';
import type { Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import { TopicRequests, TransactionRequests } from '../requests/index.ts';
import type { NodeStatusSource } from '../status-source.ts';
import { ApiServer } from './api-server.ts';
import { jsonRpcRoute } from './json-rpc.ts';
import { queryRoutes } from './routes-queries.ts';
import { topicRoutes } from './routes-topics.ts';
import { transactionRoutes } from './routes-transactions.ts';
import { timeFormatOf } from './time-text.ts';
import { TransactionBodyReader } from './transaction-body.ts';

export type { ErrorCode } from '../requests/index.ts';
export { Admission, type AdmissionLimits, type Lane } from './admission.ts';
export { ApiServer } from './api-server.ts';
export { jsonText } from './json-text.ts';

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
  const requestsOptions = {
    defaults: transactionDefaults(config),
    operationTimeoutMs: api.operationTimeoutMs,
  };
  const requests = new TransactionRequests(requestsOptions);
  const topics = new TopicRequests(requestsOptions);
  const limits = {
    depthMax: api.jsonDepthMax,
    valuesMax: api.jsonValuesMax,
    stepsMax: api.stepsMax,
    transactionBytesMax: api.transactionBytesMax,
  };
  const time = timeFormatOf(api.timeZoneOffset);
  const { listLimitMax } = api;
  const { timeoutToFailMs } = transactions;
  const routes = [
    ...transactionRoutes({
      reader: new TransactionBodyReader(limits, { cleansGids: true }),
      requests,
      time,
      version,
    }),
    ...queryRoutes({ time, listLimitMax, timeoutToFailMs, requests }),
    ...topicRoutes({ time, listLimitMax, topics }),
    jsonRpcRoute({
      reader: new TransactionBodyReader(limits, { cleansGids: false }),
      limits,
      requests,
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
