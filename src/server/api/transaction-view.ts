// A transaction as dtm shows it in `query` and `all`: which keys, in which order, when present.
//
// `id`, `create_time`, `update_time` and `concurrent` are always there; everything else only when it
// is not empty, never null: C# clients fail on null (dtm reference §1.5, §11.26–28, §11.40).

import type { Transaction } from '../../engine/index.ts';
import { isShownRow } from '../requests/index.ts';
import { jsonText } from './json-text.ts';
import type { TimeFormat } from './time-text.ts';

type View = Record<string, unknown>;
type BranchDefinition = Transaction['definition']['branches'][number];
type BranchProgress = Transaction['state']['branches'][number];
const INT32_MAX = 2_147_483_647;

function putText(view: View, key: string, text: string): void {
  if (text !== '') view[key] = text;
}
function putNumber(view: View, key: string, number: number): void {
  if (number !== 0) view[key] = number;
}
function putTime(view: View, key: string, timeMs: number | undefined, time: TimeFormat): void {
  if (timeMs !== undefined) view[key] = time(timeMs);
}

/** The option block: as text in `options`, and flattened beside it. */
function putOptions(view: View, { definition, state }: Transaction): void {
  const { options } = definition;
  if (options.waitResult) view['wait_result'] = true;
  putNumber(view, 'timeout_to_fail', options.timeoutToFailS);
  putNumber(view, 'request_timeout', options.requestTimeoutS);
  putNumber(view, 'retry_interval', options.retryIntervalS);
  const headers = Object.entries(options.branchHeaders);
  if (headers.length > 0) {
    headers.sort(([left], [right]) => (left < right ? -1 : 1));
    view['branch_headers'] = Object.fromEntries(headers);
  }
  view['concurrent'] = options.concurrent;
  putNumber(view, 'retry_limit', options.retryLimit);
  putNumber(view, 'retry_count', state.retryCount);
}

function seconds(durationMs: number): number {
  return Math.min(INT32_MAX, Math.ceil(durationMs / 1_000));
}

function stepsView({ definition }: Transaction): readonly View[] {
  return definition.steps.map((step) => {
    const view: View = { action: step.action };
    if (definition.type === 'saga' || step.compensate !== '') view['compensate'] = step.compensate;
    return view;
  });
}

function textOf(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString();
}

export function transactionView(transaction: Transaction, time: TimeFormat): View {
  const { definition, state } = transaction;
  const options: View = {};
  putOptions(options, transaction);
  const view: View = {
    id: 0,
    create_time: time(state.createTimeMs),
    update_time: time(state.updateTimeMs),
    gid: state.gid,
    trans_type: state.type,
  };
  if (definition.steps.length > 0) view['steps'] = stepsView(transaction);
  // Behind those of the steps stand the payloads of registered branches.
  const payloads = definition.payloads.slice(0, definition.steps.length);
  if (payloads.length > 0) view['payloads'] = payloads.map(textOf);
  view['status'] = state.status;
  putText(view, 'query_prepared', definition.queryPrepared);
  putText(view, 'protocol', definition.protocol);
  putTime(view, 'finish_time', state.finishTimeMs, time);
  putTime(view, 'rollback_time', state.rollbackTimeMs, time);
  putText(view, 'result', state.result);
  putText(view, 'rollback_reason', state.rollbackReason);
  view['options'] = jsonText(options);
  putText(view, 'custom_data', definition.customData);
  putNumber(view, 'next_cron_interval', seconds(state.intervalMs));
  putTime(view, 'next_cron_time', state.dueMs, time);
  return Object.assign(view, options);
}

function branchView(
  transaction: Transaction,
  definition: BranchDefinition,
  progress: BranchProgress,
  time: TimeFormat,
): View {
  const { payload } = definition;
  const bytes = payload === undefined ? undefined : transaction.definition.payloads[payload];
  const view: View = {
    id: 0,
    create_time: time(progress.createTimeMs),
    update_time: time(progress.updateTimeMs),
    gid: transaction.state.gid,
  };
  putText(view, 'url', definition.url);
  if (bytes !== undefined && bytes.length > 0) {
    view['bin_data'] = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
  }
  putText(view, 'branch_id', definition.branchId);
  view['op'] = definition.op;
  view['status'] = progress.status;
  putTime(view, 'finish_time', progress.finishTimeMs, time);
  return view;
}

/** In the order of creation. */
export function branchViews(transaction: Transaction, time: TimeFormat): readonly View[] {
  return transaction.definition.branches.flatMap((definition, row) => {
    const progress = transaction.state.branches[row];
    const isShown = progress !== undefined && isShownRow(definition);
    return isShown ? [branchView(transaction, definition, progress, time)] : [];
  });
}

/** prepareWorkflow: `progresses` is never null, `transaction` always there (reference §1.4). */
export function workflowView(transaction: Transaction, time: TimeFormat): View {
  return {
    progresses: branchViews(transaction, time),
    transaction: transactionView(transaction, time),
  };
}
