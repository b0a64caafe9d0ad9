// What operations need from consensus: a small face of the Raft node, so that they can be tested
// and simulated without one.

import type { LogIndex, NodeId, ProposeResult, Term } from '../../raft/index.ts';

export interface Leadership {
  readonly term: Term;
  readonly leaderId: NodeId | undefined;
  readonly isLeader: boolean;
  /** This node cannot tell what it may have lost and serves nothing until healed. */
  readonly recovering: boolean;
}

export interface Consensus {
  /** `done` runs once, at append or refusal, never synchronously. */
  propose(
    command: Uint8Array,
    lane: 'admission' | 'progress',
    done: (result: ProposeResult) => void,
  ): void;
  /** Resolves when the read may be served here; rejects when it cannot be confirmed in time. */
  readIndex(timeoutMs: number): Promise<LogIndex>;
  commitInterest(peer: NodeId, index: LogIndex): void;
  leadership(): Leadership;
}

export interface OperationsConfig {
  /** Operations of this node that are not answered yet; beyond it new ones are refused. */
  readonly openOperationsMax: number;
  /** How long an operation that was never handed to a leader waits for one. */
  readonly waitLeaderMs: number;
  /** Back-off between attempts to reach a leader that did not take an operation. */
  readonly retryMs: number;
}
