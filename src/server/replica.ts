// The replica of a node, as the server needs it: the seam between the composition of the server
// (node.ts) and that of the engine.

import type { Coordinator } from '../engine/index.ts';
import type { Fatal, NodeLog } from '../raft/index.ts';
import type { FormatIdentity } from './command-line.ts';
import type { Config } from './config.ts';
import type { Metrics } from './metrics.ts';
import type { NodeStatusSource } from './status-source.ts';

export interface ReplicaPorts {
  readonly config: Config;
  readonly log: NodeLog;
  /** Durations are observed here as they happen. */
  readonly metrics: Metrics;
  readonly fatal: Fatal;
}

export interface Replica {
  /** Answers at once, also before `open`. */
  readonly status: NodeStatusSource;
  /** Rejects, before anything is opened or listens, where the data directory cannot be this node's. */
  claim(): Promise<void>;
  /** Opens log and state, starts consensus and the peer port. Rejects: the process ends. */
  open(): Promise<Coordinator>;
  /** Resolves when another node leads, this one did not, or after `timeoutMs`. */
  handOverLeadership(timeoutMs: number): Promise<void>;
  /** Lets calls in flight end and be recorded, within `timeoutMs`; then closes everything. */
  stop(timeoutMs: number): Promise<void>;
}

export interface ReplicaFactory {
  create(ports: ReplicaPorts): Replica;
  /** Formats the data directory of `config`, which must be empty or absent. */
  format(config: Config, identity: FormatIdentity, log: NodeLog): Promise<void>;
}
