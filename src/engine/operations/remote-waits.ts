// Which other node's client waits for which transaction, as far as the leader has seen: that node is
// told at once of the commits that may end the wait, instead of with the next heartbeat
// (docs/architecture.md §The wire).
//
// Only a matter of latency: what is missing here, after a takeover or beyond the bound, is told by
// the heartbeats. Does not own: when a wait ends (waits.ts, on the node of the client).

import type { LogIndex, NodeId } from '../../raft/index.ts';
import type { AppliedEntry, Command } from '../machine/index.ts';

const WAITED_GIDS_MAX = 10_000;

export class RemoteWaits {
  readonly #nodeId: NodeId;
  readonly #commitInterest: (peer: NodeId, index: LogIndex) => void;
  readonly #nodeOf = new Map<string, NodeId>();

  constructor(nodeId: NodeId, commitInterest: (peer: NodeId, index: LogIndex) => void) {
    this.#nodeId = nodeId;
    this.#commitInterest = commitInterest;
  }

  /** On the leader, for every entry that it applies. */
  applied(entry: AppliedEntry): void {
    for (const { gid, after, opId } of entry.changes) {
      const status = after?.state.status;
      if (after === undefined || status === 'succeed' || status === 'failed') {
        this.#nodeOf.delete(gid);
      } else if (opId !== undefined && after.definition.options.waitResult) {
        const waits = opId.nodeId !== this.#nodeId && status !== 'prepared';
        if (waits && this.#nodeOf.size < WAITED_GIDS_MAX) this.#nodeOf.set(gid, opId.nodeId);
      }
    }
  }

  /** The leader's own command was appended at `index`. Bare successes end no wait. */
  appended(command: Command, index: LogIndex): void {
    if (command.kind !== 'advance') return;
    const node = this.#nodeOf.get(command.gid);
    if (node === undefined) return;
    const mayEnd =
      command.decision !== undefined ||
      command.results.some(({ outcome }) => outcome !== 'success');
    if (mayEnd) this.#commitInterest(node, index);
  }

  clear(): void {
    this.#nodeOf.clear();
  }
}
