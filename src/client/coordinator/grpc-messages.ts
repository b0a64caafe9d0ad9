// The messages of dtmgimp.Dtm and of workflow.Workflow. Pure.
//
// Source: dtm reference §3.2 (field numbers), §3.5.

import type { BranchRegistration, TransactionOptions, TransactionRequest } from '../transaction.ts';
import type { Subscription, WorkflowProgress, WorkflowRecord } from './coordinator.ts';
import { ProtoWriter, readFields } from './protobuf.ts';

function transactionOptions(options: TransactionOptions): Buffer {
  return new ProtoWriter()
    .flag(1, options.waitResult)
    .count(2, options.timeoutToFailSeconds)
    .count(3, options.retryIntervalSeconds)
    .textMap(5, options.branchHeaders)
    .count(6, options.requestTimeoutSeconds)
    .count(7, options.retryLimit)
    .finish();
}

export function transactionMessage(request: TransactionRequest): Buffer {
  const writer = new ProtoWriter()
    .text(1, request.gid)
    .text(2, request.transactionType)
    .bytes(3, transactionOptions(request.options))
    .text(4, request.customData);
  for (const payload of request.payloads ?? []) writer.bytes(5, payload);
  return writer
    .text(6, request.queryPrepared)
    .text(7, request.steps === undefined ? undefined : JSON.stringify(request.steps))
    .textMap(8, request.requestExtra)
    .text(9, request.rollbackReason)
    .finish();
}

export function registrationMessage(registration: BranchRegistration): Buffer {
  const { gid, transactionType, branchId, fields, payload } = registration;
  const writer = new ProtoWriter()
    .text(1, gid)
    .text(2, transactionType)
    .text(3, branchId)
    .textMap(5, fields);
  if (payload !== undefined && payload.length > 0) writer.bytes(6, payload);
  return writer.finish();
}

export function topicMessage({ topic, url, remark }: Subscription): Buffer {
  return new ProtoWriter().text(1, topic).text(2, url).text(3, remark).finish();
}

function textField(message: Uint8Array, wanted: number): string {
  return Buffer.from(bytesField(message, wanted)).toString();
}

/** The last one counts, as protobuf says. */
function bytesField(message: Uint8Array, wanted: number): Uint8Array {
  return readFields(message).findLast(({ field }) => field === wanted)?.value ?? new Uint8Array();
}

export function parseGid(reply: Uint8Array): string {
  return textField(reply, 1);
}

function parseProgress(message: Uint8Array): WorkflowProgress {
  return {
    status: textField(message, 1),
    data: bytesField(message, 2),
    branchId: textField(message, 3),
    op: textField(message, 4),
  };
}

export function parseWorkflowReply(reply: Uint8Array): WorkflowRecord {
  const transaction = bytesField(reply, 1);
  return {
    status: textField(transaction, 2),
    rollbackReason: textField(transaction, 3),
    result: Buffer.from(textField(transaction, 4), 'base64'),
    progresses: readFields(reply)
      .filter(({ field }) => field === 2)
      .map(({ value }) => parseProgress(value)),
  };
}

export function parseWorkflowData(message: Uint8Array): Uint8Array {
  return bytesField(message, 1);
}
