// A node: its replica and its APIs, from start to a graceful stop.
//
// Owns: the order in which parts come and go. The APIs listen first, so that probes see a long
// opening; requests are refused until the replica is open. At the stop: not ready, leadership handed
// over, requests in flight ended, then everything closed.

import { setTimeout as delay } from 'node:timers/promises';
import type { Coordinator } from '../engine/index.ts';
import type { Fatal, NodeLog } from '../raft/index.ts';
import { type ApiServer, createApiServer } from './api/index.ts';
import type { Config } from './config.ts';
import { createGrpcServer, type GrpcServer } from './grpc/index.ts';
import { Health } from './health.ts';
import { listening } from './listening.ts';
import { Metrics } from './metrics.ts';
import type { Replica, ReplicaFactory } from './replica.ts';

const API_KEYS = {
  http: { host: 'listen.host', port: 'listen.httpPort' },
  grpc: { host: 'listen.host', port: 'listen.grpcPort' },
} as const;

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
  readonly #grpc: GrpcServer;
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
    const shared = { coordinator: () => this.#coordinator, health: this.#health, metrics, log };
    this.#api = createApiServer(config, { ...shared, status, version });
    this.#grpc = createGrpcServer(config, shared);
  }

  async start(): Promise<void> {
    const { config, log, version } = this.#parts;
    const { host, httpPort, grpcPort } = config.listen;
    await this.#replica.claim();
    const bound = await listening({ host, port: httpPort, keys: API_KEYS.http }, (address) =>
      this.#api.listen(address),
    );
    log.info({ address: bound.address, port: bound.port, version }, 'the HTTP API listens');
    const grpc = await listening({ host, port: grpcPort, keys: API_KEYS.grpc }, (address) =>
      this.#grpc.listen(address),
    );
    log.info({ address: grpc.address, port: grpc.port }, 'the gRPC API listens');
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
    const apis = [this.#api, this.#grpc];
    const left = await Promise.all(apis.map((api) => api.drain(drainTimeoutMs)));
    const count = left.reduce((sum, one) => sum + one, 0);
    if (count > 0) log.warn({ count }, 'requests were still in flight');
    this.#coordinator = undefined;
    await Promise.all(apis.map((api) => api.close()));
    await this.#replica.stop(drainTimeoutMs);
    log.info({}, 'stopped');
  }
}
