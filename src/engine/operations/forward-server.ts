// The leader's side of forwarding: commands that other nodes received, and results of calls that a
// former leader made.
//
// A forwarded command that meets a node which does not lead is refused with a hint and never
// forwarded again: the hop limit of one is structural.

import type { NodeId } from '../../raft/index.ts';
import { type BranchResult, decodeCommand, encodeCommand } from '../machine/index.ts';
import { decodeForward, encodeForward, encodeForwardReply } from './forward-codec.ts';
import type { ForwardTransport } from './forward-port.ts';
import type { Consensus } from './ports.ts';

/** What takes a result that arrived from a former leader: the scheduler. */
export type LateResult = (gid: string, result: BranchResult) => void;

export function serveForwarding(
  forward: ForwardTransport,
  consensus: Consensus,
  onLateResult: LateResult,
): void {
  forward.onForward((from, request, reply) => {
    const { command, lane } = decodeForward(request);
    consensus.propose(command, lane, (result) => {
      if (result.accepted) consensus.commitInterest(from, result.index);
      reply(encodeForwardReply(result));
    });
  });
  forward.onNotify((_from, bytes) => {
    const command = decodeCommand(decodeForward(bytes).command);
    if (command.kind !== 'advance') return;
    for (const result of command.results) onLateResult(command.gid, result);
  });
}

/** Best effort: what is lost here is called again (P5). */
export function forwardLateResult(
  forward: ForwardTransport,
  leaderId: NodeId,
  gid: string,
  result: BranchResult,
): void {
  // A result is recorded while its row is open, whatever the status; it decides nothing by itself.
  const command = encodeCommand({
    kind: 'advance',
    gid,
    expectStatus: 'submitted',
    results: [result],
    decision: undefined,
    retries: 0,
  });
  forward.notify(leaderId, encodeForward(command, 'progress'));
}
