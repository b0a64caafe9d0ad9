// A transaction as a client gave it, in whichever protocol, checked and in our words.
//
// Owns: the meaning of the fields of the dtm protocol reference §1.3, and the checks that no pattern
// repeats: types, ranges, sizes, URLs, headers. Does not own: how a protocol writes the fields, nor
// what is particular to a pattern.

import type {
  Protocol,
  StepInput,
  TransactionInput,
  TransactionOptions,
  TransactionType,
  WorkflowEnd,
} from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import { shownValue } from './shown-value.ts';
import {
  checkBranchHeaders,
  checkBranchUrl,
  checkGid,
  checkPrintable,
  isHttpUrl,
} from './validation.ts';

/** What a codec reads; absent fields are empty. */
export interface GivenTransaction {
  readonly gid: string;
  readonly type: string;
  readonly steps: readonly GivenStep[];
  readonly payloads: readonly Uint8Array[];
  readonly queryPrepared: string;
  readonly protocol: string;
  readonly customData: string;
  readonly rollbackReason: string;
  readonly options: GivenOptions;
  readonly requestExtra: ReadonlyMap<string, string>;
}
export interface GivenStep {
  readonly action: string;
  readonly compensate: string;
  /** The legacy form of a payload; empty: none. */
  readonly data: string;
}
/** Numbers as they came: what is no integer in range is refused by its name. */
export interface GivenOptions {
  readonly waitResult: boolean;
  readonly concurrent: boolean;
  readonly timeoutToFailS: unknown;
  readonly requestTimeoutS: unknown;
  readonly retryIntervalS: unknown;
  readonly retryLimit: unknown;
  readonly retryCount: unknown;
  readonly branchHeaders: ReadonlyMap<string, string>;
}

/** abort, forceStop and resetNextCronTime need no more than this. */
export interface NamedTransaction {
  readonly gid: string;
  readonly type: string;
  readonly rollbackReason: string;
}

export interface InputLimits {
  readonly stepsMax: number;
  readonly transactionBytesMax: number;
}

const TYPES: ReadonlySet<string> = new Set([
  'saga',
  'tcc',
  'xa',
  'msg',
  'workflow',
] satisfies TransactionType[]);
const PROTOCOLS: ReadonlySet<string> = new Set(['http', 'grpc', 'json-rpc'] satisfies Protocol[]);
const TEN_YEARS_S = 315_360_000;
const RETRIES_MAX = 1_000_000;
/** Sagas name the same few URLs again and again; those that passed are remembered. */
const KNOWN_URLS_MAX = 1_024;
const TOPIC = 'topic://';

export function isTransactionType(text: string): text is TransactionType {
  return TYPES.has(text);
}
function isProtocol(text: string): text is Protocol {
  return PROTOCOLS.has(text);
}
function nonEmpty(text: string): string | undefined {
  return text === '' ? undefined : text;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export class TransactionInputs {
  readonly #limits: InputLimits;
  readonly #knownUrls = new Set<string>();

  constructor(limits: InputLimits) {
    this.#limits = limits;
  }

  /** @throws InvalidRequestError */
  named(given: NamedTransaction): NamedTransaction {
    checkGid(given.gid);
    return given;
  }

  /** @throws InvalidRequestError */
  transaction(given: GivenTransaction): TransactionInput {
    const gid = checkGid(given.gid);
    const { type } = given;
    if (!isTransactionType(type)) {
      throw new InvalidRequestError(
        `trans_type must be one of ${[...TYPES].join(', ')}, got ${shownValue(type)}`,
      );
    }
    const protocol = protocolOf(given.protocol);
    if (protocol === 'grpc') checkPrintable(gid, 'gid');
    const steps = this.#steps(given, protocol ?? 'http');
    const payloads = this.#payloads(given);
    if (protocol === 'json-rpc') checkJsonPayloads(steps, payloads);
    if (type === 'msg' || type === 'workflow') {
      checkBranchUrl(given.queryPrepared, protocol ?? 'http', 'query_prepared');
    }
    const input: TransactionInput = {
      gid,
      type,
      steps: steps.length === 0 ? undefined : steps,
      payloads: payloads.length === 0 ? undefined : payloads,
      queryPrepared: nonEmpty(given.queryPrepared),
      protocol,
      customData: nonEmpty(given.customData),
      rollbackReason: nonEmpty(given.rollbackReason),
      ...(type === 'workflow' ? { workflowEnd: workflowEndOf(given.requestExtra) } : {}),
      options: optionsOf(given.options, protocol ?? 'http'),
    };
    this.#checkSize(input);
    return input;
  }

  #steps({ steps, type }: GivenTransaction, protocol: Protocol): readonly StepInput[] {
    const { stepsMax } = this.#limits;
    if (steps.length > stepsMax) {
      throw new InvalidRequestError(`steps must be at most ${stepsMax}, got ${steps.length}`);
    }
    return steps.map(({ action, compensate }, at) => {
      const isTopic = type === 'msg' && action.startsWith(TOPIC) && action !== TOPIC;
      if (!isTopic) this.#checkUrl(action, protocol, `steps[${at}].action`);
      this.#checkUrl(compensate, protocol, `steps[${at}].compensate`);
      return { action, compensate };
    });
  }

  /** The legacy form stands behind whatever `payloads` holds (reference §1.3, §11.33). */
  #payloads({ steps, payloads }: GivenTransaction): readonly Uint8Array[] {
    const { stepsMax } = this.#limits;
    if (payloads.length > stepsMax) {
      throw new InvalidRequestError(`payloads must be at most ${stepsMax}, got ${payloads.length}`);
    }
    const all = [...payloads];
    for (const { data } of steps) if (data !== '') all.push(Buffer.from(data));
    if (all.length < steps.length) {
      throw new InvalidRequestError(
        `payloads must be one for each of ${steps.length} steps, got ${all.length}`,
      );
    }
    // dtm never looks at payloads beyond the steps.
    return all.slice(0, steps.length);
  }

  #checkUrl(url: string, protocol: Protocol, field: string): void {
    const remembered = protocol === 'http';
    if (remembered && this.#knownUrls.has(url)) return;
    checkBranchUrl(url, protocol, field);
    if (!remembered) return;
    if (this.#knownUrls.size >= KNOWN_URLS_MAX) this.#knownUrls.clear();
    this.#knownUrls.add(url);
  }

  #checkSize(input: TransactionInput): void {
    const { customData, queryPrepared, rollbackReason, workflowEnd } = input;
    let length = (customData ?? '').length + (queryPrepared ?? '').length;
    length += (rollbackReason ?? '').length;
    length += (workflowEnd?.result ?? '').length + (workflowEnd?.rollbackReason ?? '').length;
    for (const payload of input.payloads ?? []) length += payload.length;
    for (const step of input.steps ?? []) length += step.action.length + step.compensate.length;
    const { transactionBytesMax } = this.#limits;
    if (length > transactionBytesMax) {
      throw new InvalidRequestError(
        `payloads and texts must be at most ${transactionBytesMax} bytes together, got ${length}`,
      );
    }
  }
}

/**
 * What is called by JSON-RPC (reference §4.1) sends its payload as params: what is no JSON could never be
 * sent (defect 12.13).
 */
function checkJsonPayloads(steps: readonly StepInput[], payloads: readonly Uint8Array[]): void {
  for (const [at, { action, compensate }] of steps.entries()) {
    if (![action, compensate].some((url) => isHttpUrl(url) && url.includes('method'))) continue;
    const text = Buffer.from(payloads[at] ?? []).toString();
    if (text.trim() === '' || isJson(text)) continue;
    throw new InvalidRequestError(
      `payloads[${at}] must be JSON to be sent by JSON-RPC, got ${shownValue(text)}`,
    );
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function protocolOf(protocol: string): Protocol | undefined {
  if (protocol === '') return undefined;
  if (isProtocol(protocol)) return protocol;
  throw new InvalidRequestError(
    `protocol must be one of ${[...PROTOCOLS].join(', ')} or empty, got ${shownValue(protocol)}`,
  );
}

/** Of a workflow's submit: how the client's run ended. Other keys of `req_extra` mean nothing. */
function workflowEndOf(extra: ReadonlyMap<string, string>): WorkflowEnd | undefined {
  const status = extra.get('status') ?? '';
  if (status === '') return undefined;
  if (status !== 'succeed' && status !== 'failed') {
    throw new InvalidRequestError(
      `req_extra.status must be succeed or failed, got ${shownValue(status)}`,
    );
  }
  return {
    status,
    rollbackReason: extra.get('rollback_reason') ?? '',
    result: extra.get('result') ?? '',
  };
}

function integerOf(value: unknown, name: string, max: number): number {
  if (value === undefined) return 0;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) {
    return value;
  }
  throw new InvalidRequestError(
    `${name} must be an integer from 0 to ${max}, got ${shownValue(value)}`,
  );
}

/** Zero and false mean "not given", as for Go's zero values: they override nothing. */
function optionsOf(given: GivenOptions, protocol: Protocol): Partial<TransactionOptions> {
  const options: Writable<Partial<TransactionOptions>> = {};
  if (given.waitResult) options.waitResult = true;
  if (given.concurrent) options.concurrent = true;
  const timeoutToFailS = integerOf(given.timeoutToFailS, 'timeout_to_fail', TEN_YEARS_S);
  if (timeoutToFailS > 0) options.timeoutToFailS = timeoutToFailS;
  const requestTimeoutS = integerOf(given.requestTimeoutS, 'request_timeout', TEN_YEARS_S);
  if (requestTimeoutS > 0) options.requestTimeoutS = requestTimeoutS;
  const retryIntervalS = integerOf(given.retryIntervalS, 'retry_interval', TEN_YEARS_S);
  if (retryIntervalS > 0) options.retryIntervalS = retryIntervalS;
  const retryLimit = integerOf(given.retryLimit, 'retry_limit', RETRIES_MAX);
  if (retryLimit > 0) options.retryLimit = retryLimit;
  const retryCount = integerOf(given.retryCount, 'retry_count', RETRIES_MAX);
  if (retryCount > 0) options.retryCount = retryCount;
  if (given.branchHeaders.size > 0) {
    options.branchHeaders = checkBranchHeaders(given.branchHeaders, protocol);
  }
  return options;
}
