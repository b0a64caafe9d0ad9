// The defaults that travel with each command, so that every node applies the same (P3).

import type { TransactionDefaults } from '../engine/index.ts';
import type { Config } from './config.ts';

export function transactionDefaults(config: Config): TransactionDefaults {
  const { transactions, retention, compat } = config;
  return {
    timeoutToFailMs: transactions.timeoutToFailMs,
    retryIntervalMs: transactions.retryIntervalMs,
    requestTimeoutMs: transactions.requestTimeoutMs,
    retentionMs: retention.finishedMs,
    preparedExpiryMs: retention.preparedExpiryMs,
    strictResubmit: compat.strictResubmit,
  };
}
