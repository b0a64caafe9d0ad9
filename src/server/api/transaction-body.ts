// JSON bodies that create, submit, abort or otherwise name a transaction, and registerBranch's.
//
// Owns: the field names of the dtm protocol reference §1.3 and §1.4. Does not own: what they may say.

import type { TransactionInput } from '../../engine/index.ts';
import {
  BodyReader,
  cleanGid,
  type Fields,
  type GivenOptions,
  givenSteps,
  type InputLimits,
  InvalidRequestError,
  type JsonLimits,
  type NamedTransaction,
  type RegistrationInput,
  readBoolean,
  readList,
  readText,
  readTexts,
  registrationInput,
  TransactionInputs,
  wellFormed,
  wrongType,
} from '../requests/index.ts';

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
  'req_extra',
] as const;
type TransactionFields = Fields<(typeof NAMES)[number]>;

const BRANCH_NAMES = [
  'gid',
  'trans_type',
  'branch_id',
  'data',
  'confirm',
  'cancel',
  'url',
  'op',
  'status',
] as const;
/** Those whose meaning depends on the type. */
const FORM_NAMES = ['confirm', 'cancel', 'url', 'op', 'status'] as const;

/** Of registerBranch: dtm answers it in a way of its own (reference §1.2). */
export class UnreadableBodyError extends InvalidRequestError {}

export interface BodyLimits extends JsonLimits, InputLimits {}

/** `cleansGids`: POST routes delete some characters of a gid, JSON-RPC does not (reference §1.1, §2). */
export class TransactionBodyReader {
  readonly #fields: BodyReader<(typeof NAMES)[number]>;
  readonly #branchFields: BodyReader<(typeof BRANCH_NAMES)[number]>;
  readonly #inputs: TransactionInputs;
  readonly #limits: BodyLimits;
  readonly #cleansGids: boolean;

  constructor(limits: BodyLimits, options: { readonly cleansGids: boolean }) {
    this.#fields = new BodyReader(NAMES, limits);
    this.#branchFields = new BodyReader(BRANCH_NAMES, limits);
    this.#inputs = new TransactionInputs(limits);
    this.#limits = limits;
    this.#cleansGids = options.cleansGids;
  }

  /** @throws InvalidRequestError */
  readNamed(text: string): NamedTransaction {
    const fields = this.#fields.read(text);
    return this.#inputs.named({
      gid: this.#gid(readText(fields, 'gid')),
      type: readText(fields, 'trans_type'),
      rollbackReason: readText(fields, 'rollback_reason'),
    });
  }

  /** @throws InvalidRequestError */
  readTransaction(text: string): TransactionInput {
    const fields = this.#fields.read(text);
    return this.#inputs.transaction({
      gid: this.#gid(readText(fields, 'gid')),
      type: readText(fields, 'trans_type'),
      steps: givenSteps(readList(fields, 'steps')),
      payloads: readList(fields, 'payloads').map(readPayload),
      queryPrepared: readText(fields, 'query_prepared'),
      protocol: readText(fields, 'protocol'),
      customData: readText(fields, 'custom_data'),
      rollbackReason: readText(fields, 'rollback_reason'),
      options: readOptions(fields),
      requestExtra: readTexts(fields, 'req_extra'),
    });
  }

  /**
   * Keys that mean nothing here may hold anything (reference §10.6).
   *
   * @throws UnreadableBodyError when it is no flat map of texts; InvalidRequestError
   */
  readRegistration(text: string): RegistrationInput {
    const texts = this.#readFlatMap(text);
    const of = (name: (typeof BRANCH_NAMES)[number]): string => texts.get(name) ?? '';
    return registrationInput(
      {
        gid: this.#gid(of('gid')),
        type: of('trans_type'),
        branchId: of('branch_id'),
        texts: new Map(FORM_NAMES.map((name) => [name, of(name)])),
        payload: Buffer.from(of('data')),
      },
      this.#limits,
    );
  }

  #readFlatMap(text: string): ReadonlyMap<string, string> {
    try {
      const fields = this.#branchFields.read(text);
      return new Map(BRANCH_NAMES.map((name) => [name, readText(fields, name)]));
    } catch (error) {
      if (error instanceof InvalidRequestError) throw new UnreadableBodyError(error.message);
      throw error;
    }
  }

  #gid(gid: string): string {
    return this.#cleansGids ? cleanGid(gid) : gid;
  }
}

function readPayload(value: unknown, position: number): Uint8Array {
  if (value === null) return Buffer.alloc(0);
  if (typeof value !== 'string') throw wrongType(`payloads[${position}]`, 'a string', value);
  return Buffer.from(wellFormed(value));
}

function readOptions(fields: TransactionFields): GivenOptions {
  return {
    waitResult: readBoolean(fields, 'wait_result') === true,
    concurrent: readBoolean(fields, 'concurrent') === true,
    timeoutToFailS: fields.get('timeout_to_fail'),
    requestTimeoutS: fields.get('request_timeout'),
    retryIntervalS: fields.get('retry_interval'),
    retryLimit: fields.get('retry_limit'),
    retryCount: fields.get('retry_count'),
    branchHeaders: readTexts(fields, 'branch_headers'),
  };
}
