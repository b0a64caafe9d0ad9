// What `wait_result` answers once the wait ended: the table of the dtm reference §5.4.

import type { WaitOutcome } from '../../engine/index.ts';
import { failureReply, ONGOING, type Reply, SUCCESS, unknownReply } from './reply.ts';

const NOT_FINISHED = 'wait result not return success: FAILURE';

/** `waited`: what was asked; an abort that is not finished is ongoing. */
export function waitReply(outcome: WaitOutcome, gid: string, waited: 'submit' | 'abort'): Reply {
  switch (outcome.kind) {
    case 'unknown':
      return unknownReply(gid, outcome.message);
    case 'final':
      if (waited === 'abort' || outcome.transaction.state.status === 'succeed') return SUCCESS;
      return reasonReply(outcome.transaction.state.rollbackReason);
    case 'notFinished':
      if (waited === 'abort') return ONGOING;
      return reasonReply(outcome.transaction.state.rollbackReason);
  }
}

function reasonReply(reason: string): Reply {
  return failureReply(reason === '' ? NOT_FINISHED : reason);
}
