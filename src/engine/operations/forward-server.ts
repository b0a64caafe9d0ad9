// The leader's side of forwarding: commands that other nodes received.
//
// A forwarded command that meets a node which does not lead is refused with a hint and never
// forwarded again: the hop limit of one is structural.

import type { NodeLog } from '../../raft/index.ts';
import { decodeForward, encodeForwardReply } from './forward-codec.ts';
import type { ForwardTransport } from './forward-port.ts';
import type { Consensus } from './ports.ts';

export function serveForwarding(
  forward: ForwardTransport,
  consensus: Consensus,
  logger: NodeLog,
): void {
  forward.onForward((from, request, reply) => {
    const { command, lane } = decodeForward(request);
    consensus.propose(command, lane, (result) => {
      if (result.accepted) consensus.commitInterest(from, result.index);
      reply(encodeForwardReply(result));
    });
  });
  // Results of calls that outlived the sender's leadership: worth recording, nobody waits for them.
  forward.onNotify((from, bytes) => {
    consensus.propose(decodeForward(bytes).command, 'progress', (result) => {
      if (!result.accepted)
        logger.debug({ peer: from, reason: result.reason }, 'late result dropped');
    });
  });
}
