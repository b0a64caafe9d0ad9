// The limits of a transaction, made effective once, when it is created: from what the client gave and
// the defaults that travel with the command, so that no node can disagree (P3).

import type { TransactionDefaults, TransactionOptions } from '../machine/index.ts';

const DAY_MS = 86_400_000;
/** A gid is new again after retention, never earlier than this (P6). */
const RETENTION_MS_MIN = DAY_MS;
/** No limit is longer: keeps every time in the 48 bits that keys have. */
const LIMIT_MS_MAX = 36_500 * DAY_MS;

/** The options as given; absent ones are zero, false or empty. */
export function resolveOptions(given: Partial<TransactionOptions>): TransactionOptions {
  return {
    waitResult: given.waitResult ?? false,
    timeoutToFailS: given.timeoutToFailS ?? 0,
    requestTimeoutS: given.requestTimeoutS ?? 0,
    retryIntervalS: given.retryIntervalS ?? 0,
    retryLimit: given.retryLimit ?? 0,
    retryCount: given.retryCount ?? 0,
    branchHeaders: given.branchHeaders ?? {},
    concurrent: given.concurrent ?? false,
  };
}

export interface Limits {
  /** From `timeout_to_fail`; undefined when none was given. */
  readonly timeoutMs: number | undefined;
  readonly requestTimeoutMs: number;
  readonly baseIntervalMs: number;
  readonly retentionMs: number;
  readonly preparedExpiryMs: number;
}

/** Values that are zero or negative count as not given. Base interval: dtm reference §5.6. */
export function resolveLimits(options: TransactionOptions, defaults: TransactionDefaults): Limits {
  const timeoutMs = secondsToMs(options.timeoutToFailS);
  const defaultIntervalMs = clampMs(defaults.retryIntervalMs);
  const shortTimeoutMs =
    timeoutMs !== undefined && timeoutMs < defaultIntervalMs ? timeoutMs : undefined;
  return {
    timeoutMs,
    requestTimeoutMs: secondsToMs(options.requestTimeoutS) ?? clampMs(defaults.requestTimeoutMs),
    baseIntervalMs: secondsToMs(options.retryIntervalS) ?? shortTimeoutMs ?? defaultIntervalMs,
    retentionMs: Math.max(RETENTION_MS_MIN, clampMs(defaults.retentionMs)),
    preparedExpiryMs: clampMs(defaults.preparedExpiryMs),
  };
}

/** The age at which a prepared transaction ends, or is asked about, where its client gave none (§5.5). */
export function defaultTimeoutMs(defaults: TransactionDefaults): number {
  return clampMs(defaults.timeoutToFailMs);
}

function secondsToMs(seconds: number): number | undefined {
  return seconds > 0 ? clampMs(seconds * 1000) : undefined;
}

function clampMs(ms: number): number {
  return Math.min(Math.max(1, Math.round(ms)), LIMIT_MS_MAX);
}
