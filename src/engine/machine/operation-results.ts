// How an operation is answered, in dtm's words (dtm reference §1.4), exact to its spelling.

import { endInFailure, REASON_BYTES_MAX, truncateText } from '../patterns/index.ts';
import type { OperationResult, Transaction } from './types.ts';

export function success({ definition, state }: Transaction): OperationResult {
  return {
    kind: 'success',
    gid: definition.gid,
    status: state.status,
    count: 1,
    waitResult: definition.options.waitResult,
  };
}

/** An answer about the transaction: the text ends in the word that dtm's clients look for. */
export function failure(text: string): OperationResult {
  return { kind: 'failure', message: endInFailure(text) };
}

/** The request cannot be carried out, whatever becomes of the transaction. */
export function error(text: string): OperationResult {
  return { kind: 'error', message: truncateText(text, REASON_BYTES_MAX) };
}

export function unknownGid(gid: string): OperationResult {
  return error(`no TransGlobal with gid: ${gid} found`);
}
