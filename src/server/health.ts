// What probes ask: is this node alive, started, ready.
//
// `livez` says that the process makes progress, and nothing of leaders, peers or disk space: a
// restart helps none of those. `readyz` says that a client's write can be served now, here or by
// forwarding. A lost leader keeps it at ready for a while: otherwise every election would empty the
// load balancers of all nodes at the same instant.

import type { NodeStatusSource } from './status-source.ts';

export interface Check {
  readonly name: string;
  readonly ok: boolean;
}

const LAG_ENTRIES_MAX = 10_000;

export class Health {
  readonly #source: NodeStatusSource;
  readonly #leaderGraceMs: number;
  #draining = false;

  constructor(source: NodeStatusSource, electionTimeoutMs: number) {
    this.#source = source;
    this.#leaderGraceMs = Math.max(3_000, 2 * electionTimeoutMs);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** From here on the node is not ready; it does not become so again. */
  drain(): void {
    this.#draining = true;
  }

  started(): boolean {
    return this.#source.startup().phase === 'running';
  }

  readiness(): readonly Check[] {
    const raft = this.#source.raft();
    const operations = this.#source.operations();
    const lag = raft === undefined ? 0 : raft.commitIndex - raft.appliedIndex;
    return [
      { name: 'not_draining', ok: !this.#draining },
      { name: 'started', ok: this.started() },
      {
        name: 'known_leader',
        ok: raft !== undefined && this.#source.leaderMissingMs() <= this.#leaderGraceMs,
      },
      { name: 'applied_lag', ok: lag <= LAG_ENTRIES_MAX },
      { name: 'session', ok: operations?.sessionOpen === true },
      { name: 'log_whole', ok: this.#source.log()?.recovering === undefined },
    ];
  }
}

/** In the manner of etcd and Kubernetes. */
export function checksText(checks: readonly Check[]): string {
  return checks
    .map(({ name, ok }) => `[${ok ? '+' : '-'}]${name} ${ok ? 'ok' : 'failed'}\n`)
    .join('');
}
