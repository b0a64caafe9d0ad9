// What `wait_result` answers once the wait ended: the table of the dtm reference §5.4.
//
// Where it differs: a message that was accepted for later is a success (defect 12.21).

import { type Transaction, unfinishedBecause, type WaitOutcome } from '../../engine/index.ts';
import { errorReply, failureReply, ONGOING, type Reply, SUCCESS, unknownReply } from './reply.ts';

const NOT_FINISHED = 'wait result not return success: FAILURE';
/** dtm's words, which precede what a branch answered. */
export const RESULT_HINT =
  'your http/grpc result should be specified as in:\nhttps://dtm.pub/summary/arch.html#http\nunkown result will be retried: ';

/** `waited`: what was asked. */
export function waitReply(outcome: WaitOutcome, gid: string, waited: 'submit' | 'abort'): Reply {
  switch (outcome.kind) {
    case 'unknown':
      return unknownReply(gid, outcome.message);
    case 'final': {
      const { status, forced, rollbackReason } = outcome.transaction.state;
      const asAsked = waited === 'submit' ? status === 'succeed' : forced === undefined;
      return asAsked ? SUCCESS : reasonReply(rollbackReason);
    }
    case 'notFinished':
      return unfinishedReply(outcome.transaction, waited);
  }
}

/** 409 does not mean rolled back: the transaction goes on. */
function unfinishedReply(transaction: Transaction, waited: 'submit' | 'abort'): Reply {
  const { type, rollbackReason } = transaction.state;
  if (type === 'saga' && waited === 'submit') return reasonReply(rollbackReason);
  const because = unfinishedBecause(transaction);
  switch (because.kind) {
    case 'delayed':
      return SUCCESS;
    case 'running':
    case 'ongoing':
      return type === 'msg' ? failureReply(NOT_FINISHED) : ONGOING;
    case 'unknown':
      return errorReply(undefined, RESULT_HINT + because.detail);
    case 'failure':
      return failureReply(RESULT_HINT + because.detail);
  }
}

function reasonReply(reason: string): Reply {
  return failureReply(reason === '' ? NOT_FINISHED : reason);
}
