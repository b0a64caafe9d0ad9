// What a request says about a transaction that is already stored: the same, something else, or more.
//
// A field that is absent, empty, zero or false says nothing (dtm reference §5.3): PHP, Python and Node
// submit a bare gid and type after a prepare.

import { OWN_CALL_ROW } from '../patterns/index.ts';
import type {
  StepInput,
  Transaction,
  TransactionDefinition,
  TransactionInput,
  TransactionOptions,
  TransactionType,
} from './types.ts';

/** The others' branches are registered one by one: steps in their bodies say nothing. */
const STATES_ITS_STEPS: ReadonlySet<TransactionType> = new Set(['saga', 'msg']);

/**
 * Whether every field given equals the stored one (P6, defect 12.41). How the client wants to be
 * answered (`wait_result`) and a reason it states are not part of what was asked.
 */
export function saysTheSame(input: TransactionInput, stored: Transaction): boolean {
  const { definition } = stored;
  return (
    input.type === definition.type &&
    stepsAgree(input, definition) &&
    agrees(input.queryPrepared, definition.queryPrepared) &&
    agrees(input.protocol, definition.protocol) &&
    (agrees(input.customData, definition.customData) || submittedByCheckBack(stored)) &&
    optionsAgree(input.options, definition.options)
  );
}

/** Clients state a message's delay when they submit it: one that comes after the check-back is late. */
function submittedByCheckBack({ definition, state }: Transaction): boolean {
  return definition.type === 'msg' && state.branches[OWN_CALL_ROW]?.status === 'succeed';
}

/** Whether the steps and payloads given, if any, are the stored ones. */
export function stepsAgree(input: TransactionInput, definition: TransactionDefinition): boolean {
  const { steps, payloads } = input;
  if (!STATES_ITS_STEPS.has(definition.type)) return true;
  if (steps !== undefined && steps.length > 0 && !sameSteps(steps, definition.steps)) return false;
  if (payloads === undefined || payloads.length === 0) return true;
  if (payloads.length < definition.payloads.length) return false;
  return definition.payloads.every((stored, at) => sameBytes(stored, payloads[at]));
}

/** What a prepare stored, overridden by what the submit gives. Steps are those prepared. */
export function mergeSubmit(
  definition: TransactionDefinition,
  submit: TransactionInput,
  storedReason: string,
): TransactionInput {
  return {
    gid: definition.gid,
    type: definition.type,
    steps: definition.steps,
    payloads: definition.payloads,
    queryPrepared: submit.queryPrepared ?? definition.queryPrepared,
    protocol: submit.protocol ?? definition.protocol,
    customData: submit.customData ?? definition.customData,
    rollbackReason: submit.rollbackReason ?? storedReason,
    options: mergeOptions(definition.options, submit.options),
  };
}

function mergeOptions(
  stored: TransactionOptions,
  given: Partial<TransactionOptions>,
): TransactionOptions {
  const headers = given.branchHeaders ?? {};
  return {
    waitResult: given.waitResult === true || stored.waitResult,
    timeoutToFailS: nonZero(given.timeoutToFailS) ?? stored.timeoutToFailS,
    requestTimeoutS: nonZero(given.requestTimeoutS) ?? stored.requestTimeoutS,
    retryIntervalS: nonZero(given.retryIntervalS) ?? stored.retryIntervalS,
    retryLimit: nonZero(given.retryLimit) ?? stored.retryLimit,
    retryCount: nonZero(given.retryCount) ?? stored.retryCount,
    branchHeaders: Object.keys(headers).length > 0 ? headers : stored.branchHeaders,
    concurrent: given.concurrent === true || stored.concurrent,
  };
}

function optionsAgree(given: Partial<TransactionOptions>, stored: TransactionOptions): boolean {
  const headers = given.branchHeaders ?? {};
  return (
    agrees(nonZero(given.timeoutToFailS), stored.timeoutToFailS) &&
    agrees(nonZero(given.requestTimeoutS), stored.requestTimeoutS) &&
    agrees(nonZero(given.retryIntervalS), stored.retryIntervalS) &&
    agrees(nonZero(given.retryLimit), stored.retryLimit) &&
    agrees(nonZero(given.retryCount), stored.retryCount) &&
    (given.concurrent !== true || stored.concurrent) &&
    (Object.keys(headers).length === 0 || sameHeaders(headers, stored.branchHeaders))
  );
}

function nonZero(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

function agrees<T>(given: T | undefined, stored: T): boolean {
  return given === undefined || given === '' || given === stored;
}

function sameSteps(given: readonly StepInput[], stored: readonly StepInput[]): boolean {
  return (
    given.length === stored.length &&
    given.every(({ action, compensate }, at) => {
      const other = stored[at];
      return other !== undefined && action === other.action && compensate === other.compensate;
    })
  );
}

function sameHeaders(
  given: Readonly<Record<string, string>>,
  stored: Readonly<Record<string, string>>,
): boolean {
  const names = Object.keys(given);
  return (
    names.length === Object.keys(stored).length &&
    names.every((name) => Object.hasOwn(stored, name) && given[name] === stored[name])
  );
}

function sameBytes(stored: Uint8Array, given: Uint8Array | undefined): boolean {
  return (
    given !== undefined &&
    stored.length === given.length &&
    stored.every((byte, at) => byte === given[at])
  );
}
