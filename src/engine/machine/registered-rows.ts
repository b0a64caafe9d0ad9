// Rows that clients register: how they are found, compared and added.
//
// Rows and bytes of a transaction are bounded (P8). The bounds are the same on every node and part of
// what apply means: a version that changes them must let both hold meanwhile.

import { freshProgress } from '../patterns/index.ts';
import type { OperationContext } from './operation-context.ts';
import { error, success } from './operation-results.ts';
import type {
  BranchDefinition,
  BranchStatus,
  OperationRequest,
  OperationResult,
  Transaction,
} from './types.ts';

export const REGISTERED_ROWS_MAX = 4096;
/** Payloads, URLs and ids of all registered branches together; a UTF-16 unit of text counts as one. */
export const REGISTERED_BYTES_MAX = 4 * 1024 * 1024;

export type RegisterRequest = Extract<OperationRequest, { readonly kind: 'registerBranch' }>;

/** A row to add; its payload is that of the request. */
export interface NewRow {
  readonly op: BranchDefinition['op'];
  readonly url: string;
  readonly status: BranchStatus;
}

export function findRow(
  { definition }: Transaction,
  branchId: string,
  op: BranchDefinition['op'],
): BranchDefinition | undefined {
  return definition.branches.find((row) => row.branchId === branchId && row.op === op);
}

export function samePayload(
  { definition }: Transaction,
  row: BranchDefinition,
  given: Uint8Array,
): boolean {
  const stored = row.payload === undefined ? undefined : definition.payloads[row.payload];
  if (stored === undefined) return given.length === 0;
  return stored.length === given.length && stored.every((byte, at) => byte === given[at]);
}

/**
 * Adds rows that share the request's payload, within the bounds. `renewed`: the stored one with
 * what else the registration changes.
 */
export function addRows(
  context: OperationContext,
  stored: Transaction,
  request: RegisterRequest,
  rows: readonly NewRow[],
  renewed: Transaction = stored,
): OperationResult {
  const { definition, state } = renewed;
  const full = boundReached(stored, request, rows);
  if (full !== undefined) return error(full);
  const payload = request.payload.length === 0 ? undefined : definition.payloads.length;
  const { timeMs } = context;
  const added = rows.map(
    ({ op, url }): BranchDefinition => ({ branchId: request.branchId, op, url, payload }),
  );
  const fresh = freshProgress(timeMs, definition.baseIntervalMs);
  const progress = rows.map(({ status }) =>
    status === 'prepared' ? fresh : { ...fresh, status, finishTimeMs: timeMs },
  );
  const after: Transaction = {
    definition: {
      ...definition,
      branches: [...definition.branches, ...added],
      payloads:
        payload === undefined ? definition.payloads : [...definition.payloads, request.payload],
    },
    state: { ...state, updateTimeMs: timeMs, branches: [...state.branches, ...progress] },
  };
  return success(context.table.save(stored, after, { opId: context.opId }));
}

function boundReached(
  { definition }: Transaction,
  request: RegisterRequest,
  rows: readonly NewRow[],
): string | undefined {
  const { branches, payloads } = definition;
  if (branches.length + rows.length > REGISTERED_ROWS_MAX) {
    return `branches: a transaction has at most ${REGISTERED_ROWS_MAX} rows, ${branches.length} are registered`;
  }
  let bytes = request.payload.length;
  for (const payload of payloads) bytes += payload.length;
  for (const { branchId, url } of branches) bytes += branchId.length + url.length;
  for (const { url } of rows) bytes += request.branchId.length + url.length;
  return bytes > REGISTERED_BYTES_MAX
    ? `branches: a transaction has at most ${REGISTERED_BYTES_MAX} bytes of registered branches; this one would have ${bytes}`
    : undefined;
}
