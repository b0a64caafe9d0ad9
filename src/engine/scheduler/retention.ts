// Forgets finished transactions whose time is over: the leader proposes, every node deletes the same.

import type { Cancel } from '../../raft/index.ts';
import type { SchedulerConfig } from './config.ts';
import type { SchedulerPorts } from './ports.ts';

/** A full batch is followed by the next one this soon. */
const BUSY_INTERVAL_MS = 100;

export class Retention {
  readonly #ports: SchedulerPorts;
  readonly #config: SchedulerConfig;
  #generation = 0;
  #cancelTimer: Cancel | undefined;

  constructor(ports: SchedulerPorts, config: SchedulerConfig) {
    this.#ports = ports;
    this.#config = config;
  }

  start(): void {
    this.stop();
    this.#sleep(this.#config.purgeIntervalMs);
  }

  stop(): void {
    this.#generation += 1;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #sleep(delayMs: number): void {
    this.#cancelTimer = this.#ports.clock.after(delayMs, () => this.#look());
  }

  #look(): void {
    const generation = this.#generation;
    const batchMax = this.#config.purgeBatchMax;
    this.#ports.source.expired(this.#ports.logTimeNowMs(), batchMax).then(
      (gids) => {
        if (generation !== this.#generation) {
          return;
        }
        if (gids.length === 0) {
          this.#sleep(this.#config.purgeIntervalMs);
          return;
        }
        // A batch that is proposed again before it is applied deletes nothing twice.
        this.#ports.proposer.propose({ kind: 'purge', gids }, (outcome) => {
          if (generation === this.#generation) {
            const busy = outcome.kind === 'appended' && gids.length >= batchMax;
            this.#sleep(busy ? BUSY_INTERVAL_MS : this.#config.purgeIntervalMs);
          }
        });
      },
      (error: unknown) => {
        this.#ports.fatal(asError(error), { during: 'reading expired transactions' });
      },
    );
  }
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
