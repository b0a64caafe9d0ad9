// A transaction as a client sends it, and the defaults that travel with it, as positional arrays.
// Part of the command format: its version is the command's.

import { absent, codeOf, flattenRecord, unflattenRecord, wordOf } from './format.ts';
import type {
  StepInput,
  TransactionDefaults,
  TransactionInput,
  TransactionOptions,
  TransactionType,
  WorkflowEnd,
} from './types.ts';
import { PROTOCOLS, TRANSACTION_TYPES } from './words.ts';

export function packSteps(steps: readonly StepInput[]): readonly string[] {
  const flat: string[] = [];
  for (const { action, compensate } of steps) flat.push(action, compensate);
  return flat;
}

export function unpackSteps(flat: readonly string[]): readonly StepInput[] {
  const steps: StepInput[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    steps.push({ action: flat[at] ?? '', compensate: flat[at + 1] ?? '' });
  }
  return steps;
}

export function packInput(input: TransactionInput): readonly unknown[] {
  const { steps, protocol } = input;
  const type = TRANSACTION_TYPES.indexOf(input.type);
  return [
    input.gid,
    // A word that is no type is carried as it came: apply refuses it by name.
    type < 0 ? input.type : type,
    steps === undefined ? null : packSteps(steps),
    input.payloads,
    input.queryPrepared,
    protocol === undefined ? null : codeOf(PROTOCOLS, protocol),
    input.customData,
    input.rollbackReason,
    packPartialOptions(input.options),
    ...(input.workflowEnd === undefined ? [] : [packEnd(input.workflowEnd)]),
  ];
}

const END_STATUSES = ['succeed', 'failed'] as const satisfies readonly WorkflowEnd['status'][];

function packEnd({ status, rollbackReason, result }: WorkflowEnd): readonly unknown[] {
  return [codeOf(END_STATUSES, status), rollbackReason, result];
}

function unpackEnd(fields: readonly unknown[]): WorkflowEnd {
  const [status, rollbackReason, result] = fields as readonly [number, string, string];
  return { status: wordOf(END_STATUSES, status), rollbackReason, result };
}

type InputFields = readonly [
  string,
  string | number,
  readonly string[] | null,
  readonly Uint8Array[] | null,
  string | null,
  number | null,
  string | null,
  string | null,
  readonly unknown[] | null,
  (readonly unknown[])?,
];

export function unpackInput(fields: readonly unknown[]): TransactionInput {
  const [gid, type, steps, payloads, queryPrepared, protocol, customData, reason, options, end] =
    fields as InputFields;
  return {
    gid,
    type: typeof type === 'string' ? (type as TransactionType) : wordOf(TRANSACTION_TYPES, type),
    steps: steps === null ? undefined : unpackSteps(steps),
    payloads: absent(payloads),
    queryPrepared: absent(queryPrepared),
    protocol: protocol === null ? undefined : wordOf(PROTOCOLS, protocol),
    customData: absent(customData),
    rollbackReason: absent(reason),
    options: options === null ? {} : unpackPartialOptions(options),
    ...(end === undefined ? {} : { workflowEnd: unpackEnd(end) }),
  };
}

/** Undefined when no option was given, as in most requests. */
function packPartialOptions(options: Partial<TransactionOptions>): readonly unknown[] | undefined {
  const fields = [
    options.waitResult,
    options.timeoutToFailS,
    options.requestTimeoutS,
    options.retryIntervalS,
    options.retryLimit,
    options.retryCount,
    options.branchHeaders === undefined ? undefined : flattenRecord(options.branchHeaders),
    options.concurrent,
  ];
  return fields.some((field) => field !== undefined) ? fields : undefined;
}

type OptionFields = readonly [
  boolean | null,
  number | null,
  number | null,
  number | null,
  number | null,
  number | null,
  readonly string[] | null,
  boolean | null,
];

function unpackPartialOptions(fields: readonly unknown[]): Partial<TransactionOptions> {
  const [wait, timeout, request, interval, limit, count, headers, concurrent] =
    fields as OptionFields;
  return {
    ...(wait === null ? {} : { waitResult: wait }),
    ...(timeout === null ? {} : { timeoutToFailS: timeout }),
    ...(request === null ? {} : { requestTimeoutS: request }),
    ...(interval === null ? {} : { retryIntervalS: interval }),
    ...(limit === null ? {} : { retryLimit: limit }),
    ...(count === null ? {} : { retryCount: count }),
    ...(headers === null ? {} : { branchHeaders: unflattenRecord(headers) }),
    ...(concurrent === null ? {} : { concurrent }),
  };
}

export function packOptions(options: TransactionOptions): readonly unknown[] {
  return packPartialOptions(options) ?? [];
}

export function unpackOptions(fields: readonly unknown[]): TransactionOptions {
  const [wait, timeout, request, interval, limit, count, headers, concurrent] =
    fields as OptionFields;
  return {
    waitResult: wait === true,
    timeoutToFailS: timeout ?? 0,
    requestTimeoutS: request ?? 0,
    retryIntervalS: interval ?? 0,
    retryLimit: limit ?? 0,
    retryCount: count ?? 0,
    branchHeaders: headers === null ? {} : unflattenRecord(headers),
    concurrent: concurrent === true,
  };
}

export function packDefaults(defaults: TransactionDefaults): readonly unknown[] {
  return [
    defaults.timeoutToFailMs,
    defaults.retryIntervalMs,
    defaults.requestTimeoutMs,
    defaults.retentionMs,
    defaults.preparedExpiryMs,
    defaults.strictResubmit,
  ];
}

export function unpackDefaults(fields: readonly unknown[]): TransactionDefaults {
  const [timeout, interval, request, retention, expiry, strict] = fields as readonly [
    number,
    number,
    number,
    number,
    number,
    boolean,
  ];
  return {
    timeoutToFailMs: timeout,
    retryIntervalMs: interval,
    requestTimeoutMs: request,
    retentionMs: retention,
    preparedExpiryMs: expiry,
    strictResubmit: strict,
  };
}
