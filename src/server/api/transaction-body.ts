// The body that creates, submits, aborts or otherwise names a transaction, checked and in our words.
//
// Owns: the field table of the dtm protocol reference §1.3, and the checks that no pattern repeats:
// types, ranges, sizes, URLs, headers. Does not own: what is particular to a pattern.

import type {
  Protocol,
  StepInput,
  TransactionInput,
  TransactionOptions,
  TransactionType,
} from '../../engine/index.ts';
import { InvalidRequestError } from './errors.ts';
import {
  BodyReader,
  type Fields,
  readBoolean,
  readInteger,
  readList,
  readText,
  readTexts,
  shownValue,
  textsOf,
  wellFormed,
  wrongType,
} from './json-body.ts';
import type { JsonLimits } from './json-scan.ts';
import { checkBranchHeaders, checkBranchUrl, checkGid, cleanGid } from './validation.ts';

const NAMES = [
  'gid',
  'trans_type',
  'steps',
  'payloads',
  'query_prepared',
  'protocol',
  'custom_data',
  'rollback_reason',
  'wait_result',
  'timeout_to_fail',
  'request_timeout',
  'retry_interval',
  'branch_headers',
  'concurrent',
  'retry_limit',
  'retry_count',
] as const;
type Name = (typeof NAMES)[number];
type TransactionFields = Fields<Name>;

const TYPES: ReadonlySet<string> = new Set(['saga', 'tcc', 'xa', 'msg', 'workflow']);
const PROTOCOLS: ReadonlySet<string> = new Set(['http', 'grpc', 'json-rpc']);
const TEN_YEARS_S = 315_360_000;
const RETRIES_MAX = 1_000_000;
/** Sagas name the same few URLs again and again; those that passed are remembered. */
const KNOWN_URLS_MAX = 1_024;

export interface BodyLimits extends JsonLimits {
  readonly stepsMax: number;
  readonly transactionBytesMax: number;
}

/** abort, forceStop and resetNextCronTime need no more than this. */
export interface NamedTransaction {
  readonly gid: string;
  readonly type: string;
  readonly rollbackReason: string;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface Steps {
  readonly steps: readonly StepInput[];
  readonly payloads: readonly string[];
}

function isType(text: string): text is TransactionType {
  return TYPES.has(text);
}
function isProtocol(text: string): text is Protocol {
  return PROTOCOLS.has(text);
}
function nonEmpty(text: string): string | undefined {
  return text === '' ? undefined : text;
}

export class TransactionBodyReader {
  readonly #reader: BodyReader<Name>;
  readonly #limits: BodyLimits;
  readonly #knownUrls = new Set<string>();

  constructor(limits: BodyLimits) {
    this.#reader = new BodyReader(NAMES, limits);
    this.#limits = limits;
  }

  /** @throws InvalidRequestError */
  readNamed(body: Uint8Array | undefined): NamedTransaction {
    const fields = this.#reader.read(body);
    return {
      gid: checkGid(cleanGid(readText(fields, 'gid'))),
      type: readText(fields, 'trans_type'),
      rollbackReason: readText(fields, 'rollback_reason'),
    };
  }

  /** @throws InvalidRequestError */
  readTransaction(body: Uint8Array | undefined): TransactionInput {
    const fields = this.#reader.read(body);
    const gid = checkGid(cleanGid(readText(fields, 'gid')));
    const type = readText(fields, 'trans_type');
    if (!isType(type)) {
      throw new InvalidRequestError(
        `trans_type must be one of ${[...TYPES].join(', ')}, got ${shownValue(type)}`,
      );
    }
    const protocol = readProtocol(fields);
    const { steps, payloads } = this.#readSteps(fields, protocol);
    const input: TransactionInput = {
      gid,
      type,
      steps: steps.length === 0 ? undefined : steps,
      payloads: payloads.length === 0 ? undefined : payloads.map((text) => Buffer.from(text)),
      queryPrepared: nonEmpty(readText(fields, 'query_prepared')),
      protocol,
      customData: nonEmpty(readText(fields, 'custom_data')),
      rollbackReason: nonEmpty(readText(fields, 'rollback_reason')),
      options: readOptions(fields),
    };
    this.#checkSize(input);
    return input;
  }

  #readSteps(fields: TransactionFields, protocol: Protocol | undefined): Steps {
    const list = readList(fields, 'steps');
    const { stepsMax } = this.#limits;
    if (list.length > stepsMax) {
      throw new InvalidRequestError(`steps must be at most ${stepsMax}, got ${list.length}`);
    }
    const payloads = readList(fields, 'payloads').map(readPayload);
    if (payloads.length > stepsMax) {
      throw new InvalidRequestError(`payloads must be at most ${stepsMax}, got ${payloads.length}`);
    }
    const steps: StepInput[] = [];
    for (const [position, item] of list.entries()) {
      const field = `steps[${position}]`;
      const texts = item === null ? new Map<string, string>() : textsOf(item, field);
      const action = texts.get('action') ?? '';
      const compensate = texts.get('compensate') ?? '';
      this.#checkUrl(action, protocol, `${field}.action`);
      this.#checkUrl(compensate, protocol, `${field}.compensate`);
      steps.push({ action, compensate });
      // The legacy form: behind whatever `payloads` holds (reference §1.3, §11.33).
      const data = texts.get('data') ?? '';
      if (data !== '') payloads.push(data);
    }
    if (payloads.length < steps.length) {
      throw new InvalidRequestError(
        `payloads must be one for each of ${steps.length} steps, got ${payloads.length}`,
      );
    }
    // dtm never looks at payloads beyond the steps.
    return { steps, payloads: payloads.slice(0, steps.length) };
  }

  #checkUrl(url: string, protocol: Protocol | undefined, field: string): void {
    const plain = protocol !== 'json-rpc';
    if (plain && this.#knownUrls.has(url)) return;
    checkBranchUrl(url, protocol, field);
    if (!plain) return;
    if (this.#knownUrls.size >= KNOWN_URLS_MAX) this.#knownUrls.clear();
    this.#knownUrls.add(url);
  }

  #checkSize(input: TransactionInput): void {
    let length = (input.customData ?? '').length + (input.queryPrepared ?? '').length;
    length += (input.rollbackReason ?? '').length;
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

function readPayload(value: unknown, position: number): string {
  if (value === null) return '';
  if (typeof value !== 'string') throw wrongType(`payloads[${position}]`, 'a string', value);
  return wellFormed(value);
}

function readProtocol(fields: TransactionFields): Protocol | undefined {
  const protocol = readText(fields, 'protocol');
  if (protocol === '') return undefined;
  if (isProtocol(protocol)) return protocol;
  throw new InvalidRequestError(
    `protocol must be one of ${[...PROTOCOLS].join(', ')} or empty, got ${shownValue(protocol)}`,
  );
}

/** Zero and false mean "not given", as for Go's zero values: they override nothing. */
function readOptions(fields: TransactionFields): Partial<TransactionOptions> {
  const options: Writable<Partial<TransactionOptions>> = {};
  if (readBoolean(fields, 'wait_result') === true) options.waitResult = true;
  if (readBoolean(fields, 'concurrent') === true) options.concurrent = true;
  const timeoutToFailS = readInteger(fields, 'timeout_to_fail', TEN_YEARS_S);
  if (timeoutToFailS > 0) options.timeoutToFailS = timeoutToFailS;
  const requestTimeoutS = readInteger(fields, 'request_timeout', TEN_YEARS_S);
  if (requestTimeoutS > 0) options.requestTimeoutS = requestTimeoutS;
  const retryIntervalS = readInteger(fields, 'retry_interval', TEN_YEARS_S);
  if (retryIntervalS > 0) options.retryIntervalS = retryIntervalS;
  const retryLimit = readInteger(fields, 'retry_limit', RETRIES_MAX);
  if (retryLimit > 0) options.retryLimit = retryLimit;
  const retryCount = readInteger(fields, 'retry_count', RETRIES_MAX);
  if (retryCount > 0) options.retryCount = retryCount;
  const headers = readTexts(fields, 'branch_headers');
  if (headers.size > 0) options.branchHeaders = checkBranchHeaders(headers);
  return options;
}
