// The alerts of a leader: which are waiting, which are being delivered, which were.
//
// Owns: the queue, its bounds, the attempts of each delivery. Does not own: what calls for an alert
// (decision.ts), how it travels (the AlertSender).
//
// What is promised
//   L1. Nothing waits for an alert: raising one takes memory only, and every bound drops alerts.
//   L2. About one row of one transaction no two deliveries are under way at a time on one node, and
//       after one succeeded there is no other for the life of the row, but for this: it is on record only
//       with the row's next result. A leader that takes over before that may deliver once more.
//   L3. What was dropped or not delivered is due again at the row's next error, on whichever node leads.
//
// Time comes from the Clock port, so that a whole cluster with its alerts runs in the simulator.

import type { Cancel, Clock } from '../../raft/index.ts';
import type { BranchResult, Transaction } from '../machine/index.ts';
import { type AlertRule, alertOf } from './decision.ts';
import type { Alert, AlertOutcome, AlertSender, AlertStats, AlertsConfig } from './types.ts';

/** Rows remembered as told and not on record yet; the oldest are forgotten, and may be told again. */
const DELIVERED_MAX = 50_000;

export interface AlertDeskPorts {
  readonly clock: Clock;
  readonly sender: AlertSender;
  readonly failed: (alert: Alert, reason: string) => void;
}

export class AlertDesk {
  readonly #ports: AlertDeskPorts;
  readonly #config: AlertsConfig;
  readonly #rule: AlertRule;
  /** By key, in order of arrival; a newer alert of the same row takes the place of the older one. */
  readonly #waiting = new Map<string, Alert>();
  readonly #underWay = new Set<string>();
  /** Pauses between attempts, by key. */
  readonly #pauses = new Map<string, Cancel>();
  readonly #delivered = new Set<string>();
  #leading = false;
  #sentCount = 0;
  #failedCount = 0;
  #droppedCount = 0;

  constructor(ports: AlertDeskPorts, config: AlertsConfig, intervalMsMax: number) {
    this.#ports = ports;
    this.#config = config;
    this.#rule = { retryLimit: config.retryLimit, intervalMsMax };
  }

  becomeLeader(): void {
    this.#leading = true;
  }

  /** On the leader, once a result of a call is recorded; `transaction` is what it has become. */
  recorded(transaction: Transaction, result: BranchResult): void {
    const key = keyOf(transaction.definition.gid, result.row);
    const progress = transaction.state.branches[result.row];
    if (progress?.status !== 'prepared' || progress.alerted === true) this.#delivered.delete(key);
    if (progress?.status !== 'prepared') this.#waiting.delete(key);
    const alert = alertOf(transaction, result, this.#rule);
    if (alert !== undefined) this.#raise(key, alert);
  }

  /** Whether the row's next result shall say that it was alerted about. */
  wasDelivered(gid: string, row: number): boolean {
    return this.#delivered.size > 0 && this.#delivered.has(keyOf(gid, row));
  }

  /** This node leads no more: the next leader raises what is still due. Deliveries end by themselves. */
  stopLeading(): void {
    this.#leading = false;
    this.#droppedCount += this.#waiting.size;
    this.#waiting.clear();
    for (const [key, cancel] of this.#pauses) {
      cancel();
      this.#underWay.delete(key);
      this.#droppedCount += 1;
    }
    this.#pauses.clear();
  }

  stats(): AlertStats {
    return {
      queuedCount: this.#waiting.size,
      inflightCount: this.#underWay.size,
      sentCount: this.#sentCount,
      failedCount: this.#failedCount,
      droppedCount: this.#droppedCount,
    };
  }

  #raise(key: string, alert: Alert): void {
    if (this.#delivered.has(key) || this.#underWay.has(key)) return;
    if (!this.#waiting.has(key) && this.#waiting.size >= this.#config.queueMax) {
      this.#droppedCount += 1;
      return;
    }
    this.#waiting.set(key, alert);
    this.#deliverNext();
  }

  #deliverNext(): void {
    while (this.#underWay.size < this.#config.inflightMax) {
      const next = this.#waiting.entries().next();
      if (next.done === true) return;
      const [key, alert] = next.value;
      this.#waiting.delete(key);
      this.#underWay.add(key);
      this.#attempt(key, alert, 1);
    }
  }

  #attempt(key: string, alert: Alert, attempt: number): void {
    this.#ports.sender.send(alert, (outcome) => {
      this.#attempted(key, alert, { attempt, outcome });
    });
  }

  #attempted(
    key: string,
    alert: Alert,
    { attempt, outcome }: { readonly attempt: number; readonly outcome: AlertOutcome },
  ): void {
    if (outcome.delivered) {
      this.#sentCount += 1;
      this.#remember(key);
      this.#ended(key);
      return;
    }
    if (!this.#leading) {
      this.#droppedCount += 1;
      this.#underWay.delete(key);
      return;
    }
    if (attempt < this.#config.attemptsMax) {
      const pauseMs = this.#config.retryDelayMs * 2 ** (attempt - 1);
      const cancel = this.#ports.clock.after(pauseMs, () => {
        this.#pauses.delete(key);
        this.#attempt(key, alert, attempt + 1);
      });
      this.#pauses.set(key, cancel);
      return;
    }
    this.#failedCount += 1;
    this.#ports.failed(alert, outcome.reason);
    this.#ended(key);
  }

  #ended(key: string): void {
    this.#underWay.delete(key);
    this.#deliverNext();
  }

  #remember(key: string): void {
    this.#delivered.add(key);
    if (this.#delivered.size <= DELIVERED_MAX) return;
    const [oldest] = this.#delivered;
    if (oldest !== undefined) this.#delivered.delete(oldest);
  }
}

/** A gid may hold anything, a row is a number: behind the last colon. */
function keyOf(gid: string, row: number): string {
  return `${gid}:${row}`;
}
