// What an operation session remembers of an operation: its result, as stored and given again.

import { packVersioned, unpackVersioned, wordOf } from './format.ts';
import type { OperationResult } from './types.ts';
import { TRANSACTION_STATUSES } from './words.ts';

const RESULT_VERSION = 1;
const RESULT_KINDS = [
  'success',
  'failure',
  'error',
] as const satisfies readonly OperationResult['kind'][];

export function encodeResult(result: OperationResult): Uint8Array {
  const kind = RESULT_KINDS.indexOf(result.kind);
  if (result.kind !== 'success') return packVersioned(RESULT_VERSION, [kind, result.message]);
  const status = TRANSACTION_STATUSES.indexOf(result.status);
  return packVersioned(RESULT_VERSION, [kind, result.gid, status, result.count, result.waitResult]);
}

export function decodeResult(bytes: Uint8Array): OperationResult {
  const fields = unpackVersioned('operation result', RESULT_VERSION, bytes);
  const kind = wordOf(RESULT_KINDS, fields[0]);
  if (kind !== 'success') return { kind, message: fields[1] as string };
  const [, gid, status, count, waitResult] = fields as readonly [
    number,
    string,
    number,
    number,
    boolean,
  ];
  return { kind, gid, status: wordOf(TRANSACTION_STATUSES, status), count, waitResult };
}
