// The workflows as they are committed, watched for what their clients rely on: a recorded step never
// changes, and a callback comes only to a run that has fallen silent.
//
// Owns: signs of life and leases, worked out from the committed changes alone, and callbacks under way.
//
// Source: the dtm protocol reference §5.10, defect 12.8.

import type { Transaction } from '../../src/engine/machine/index.ts';
import { InvariantViolated } from './violation.ts';

/** What a node knows at the moment it calls. */
export interface CallerView {
  readonly nodeId: number;
  readonly term: number;
  readonly logTimeMs: number;
  readonly appliedIndex: number;
}

interface Lease {
  /** The entry that granted it. */
  readonly index: number;
  readonly untilMs: number;
}

/** Leases that a leader behind the newest apply may still go by. */
const LEASES_KEPT = 8;

export class WorkflowWatch {
  readonly #leases = new Map<string, Lease[]>();
  /** The term in which a callback is under way. */
  readonly #running = new Map<string, { readonly nodeId: number; readonly term: number }>();

  changed(
    at: { readonly index: number; readonly timeMs: number },
    before: Transaction | undefined,
    after: Transaction,
  ): void {
    const { gid, baseIntervalMs } = after.definition;
    if (after.state.status !== 'prepared') {
      this.#leases.delete(gid);
      return;
    }
    const retryAtMs = after.state.branches[0]?.retryAtMs ?? 0;
    const attempts = after.state.branches[0]?.attemptCount ?? 0;
    const isAnswer =
      before !== undefined && attempts !== (before.state.branches[0]?.attemptCount ?? 0);
    if (isAnswer) {
      return;
    }
    const grew =
      before === undefined || after.definition.branches.length > before.definition.branches.length;
    // An operator's reset calls at once; everything else is a sign of life.
    const untilMs = grew || retryAtMs > at.timeMs ? at.timeMs + baseIntervalMs : at.timeMs;
    const leases = this.#leases.get(gid) ?? [];
    leases.push({ index: at.index, untilMs });
    this.#leases.set(gid, leases.slice(-LEASES_KEPT));
  }

  called(gid: string, view: CallerView): void {
    const running = this.#running.get(gid);
    if (running !== undefined && running.term === view.term && running.nodeId === view.nodeId) {
      throw new InvariantViolated('WORKFLOW', `n${view.nodeId} calls ${gid} back twice at once`);
    }
    this.#running.set(gid, { nodeId: view.nodeId, term: view.term });
    const lease = this.#leases.get(gid)?.findLast(({ index }) => index <= view.appliedIndex);
    if (lease !== undefined && view.logTimeMs < lease.untilMs) {
      throw new InvariantViolated(
        'WORKFLOW',
        `n${view.nodeId} calls ${gid} back at ${view.logTimeMs}; its run has until ${lease.untilMs}`,
      );
    }
  }

  ended(gid: string, nodeId: number): void {
    if (this.#running.get(gid)?.nodeId === nodeId) {
      this.#running.delete(gid);
    }
  }
}
