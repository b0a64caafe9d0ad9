// What prepareWorkflow answers over HTTP. Pure.
//
// Source: dtm reference §1.4 (the Go client reads these fields alone, and ignores all others).

import type { WorkflowProgress, WorkflowRecord } from './coordinator.ts';

function textOf(object: object, key: string): string {
  const value = (object as Readonly<Record<string, unknown>>)[key];
  return typeof value === 'string' ? value : '';
}

function bytesOf(object: object, key: string): Uint8Array {
  return Buffer.from(textOf(object, key), 'base64');
}

function progressOf(value: unknown): WorkflowProgress[] {
  if (typeof value !== 'object' || value === null) return [];
  return [
    {
      branchId: textOf(value, 'branch_id'),
      op: textOf(value, 'op'),
      status: textOf(value, 'status'),
      data: bytesOf(value, 'bin_data'),
    },
  ];
}

/** Undefined: there is no transaction in it. */
export function parseWorkflowRecord(
  reply: Readonly<Record<string, unknown>>,
): WorkflowRecord | undefined {
  const { transaction, progresses } = reply;
  if (typeof transaction !== 'object' || transaction === null) return undefined;
  return {
    status: textOf(transaction, 'status'),
    rollbackReason: textOf(transaction, 'rollback_reason'),
    result: bytesOf(transaction, 'result'),
    progresses: Array.isArray(progresses) ? progresses.flatMap(progressOf) : [],
  };
}
