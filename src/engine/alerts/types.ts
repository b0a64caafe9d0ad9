// An alert: a call that keeps failing, told to whoever watches. Shapes only.

import type { TransactionStatus } from '../machine/index.ts';

export interface Alert {
  readonly gid: string;
  /** Position of the branch row; with the gid it names what is alerted about. */
  readonly row: number;
  readonly url: string;
  readonly status: TransactionStatus;
  /** What went wrong at the last attempt, bounded. */
  readonly detail: string;
  readonly retryCount: number;
}

/** Delivers alerts. The real one posts to a web hook; the simulator has its own. */
export interface AlertSender {
  /** One attempt. `done` runs once, never synchronously; `reason` says why it was not delivered. */
  send(alert: Alert, done: (outcome: AlertOutcome) => void): void;
}

export type AlertOutcome =
  | { readonly delivered: true }
  | { readonly delivered: false; readonly reason: string };

export interface AlertsConfig {
  /** dtm's `AlertRetryLimit`: an alert is due from this many consecutive errors on. */
  readonly retryLimit: number;
  /** Alerts that wait; beyond it new ones are dropped, and due again at the next error. */
  readonly queueMax: number;
  readonly inflightMax: number;
  /** Attempts to deliver one alert. */
  readonly attemptsMax: number;
  /** Pause after a failed attempt; doubles. */
  readonly retryDelayMs: number;
}

export const DEFAULT_ALERTS_CONFIG: AlertsConfig = {
  retryLimit: 3,
  queueMax: 1_000,
  inflightMax: 2,
  attemptsMax: 3,
  retryDelayMs: 1_000,
};

export interface AlertStats {
  readonly queuedCount: number;
  readonly inflightCount: number;
  /** Delivered. */
  readonly sentCount: number;
  /** Given up after all attempts. */
  readonly failedCount: number;
  /** Never tried: the queue was full, or the node stopped leading. */
  readonly droppedCount: number;
}
