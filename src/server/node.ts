// A node: its replica and its API, from start to a graceful stop.
//
// Owns: the order in which parts come and go. The API listens first, so that probes see a long
// opening; requests are refused until the replica is open. At the stop: not ready, leadership handed
// over, requests in flight ended, then everything closed.

import { setTimeout as delay } from 'node:timers/promises';
import type { Coordinator } from '../engine/index.ts';
import type { Fatal, NodeLog } from '../raft/index.ts';
import { type ApiServer, createApiServer } from './api/index.ts';
import type { Config } from './config.ts';
import { Health } from './health.ts';
import { Metrics } from './metrics.ts';
import type { Replica, ReplicaFactory } from './replica.ts';

export interface NodeParts {
  readonly config: Config;
  readonly log: NodeLog;
  readonly fatal: Fatal;
  readonly replicas: ReplicaFactory;
  readonly version: string;
}

export class Node {
  readonly #parts: NodeParts;
  readonly #replica: Replica;
  readonly #health: Health;
  readonly #api: ApiServer;
  #coordinator: Coordinator | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    const { config, log, fatal, version } = parts;
    const metrics = new Metrics(version);
    this.#replica = parts.replicas.create({ config, log, metrics, fatal });
    const { status } = this.#replica;
    metrics.observeNode(status);
    this.#health = new Health(status, config.raft.electionTimeoutMs);
    this.#api = createApiServer(config, {
      coordinator: () => this.#coordinator,
      status,
      health: this.#health,
      metrics,
      log,
      version,
    });
  }

  async start(): Promise<void> {
    const { config, log, version } = this.#parts;
    const { host, httpPort } = config.listen;
    const bound = await this.#api.listen({ host, port: httpPort });
    log.info({ address: bound.address, port: bound.port, version }, 'the HTTP API listens');
    this.#coordinator = await this.#replica.open();
    log.info({}, 'the replica is open');
  }

  /** Repeated calls join the first. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { log } = this.#parts;
    const { drainDelayMs, handOverTimeoutMs, drainTimeoutMs } = this.#parts.config.shutdown;
    this.#health.drain();
    log.info({}, 'stopping');
    if (drainDelayMs > 0) await delay(drainDelayMs);
    await this.#replica.handOverLeadership(handOverTimeoutMs);
    const left = await this.#api.drain(drainTimeoutMs);
    if (left > 0) log.warn({ count: left }, 'requests were still in flight');
    this.#coordinator = undefined;
    await this.#api.close();
    await this.#replica.stop(drainTimeoutMs);
    log.info({}, 'stopped');
  }
}
