// The barrier on Redis, with `ioredis`: one script adjusts an amount and remembers that it did. Keys and
// values are those of dtm's clients; all three keys of a call must live on one server.
//
// Unlike dtm's script, a repeat and an empty compensation are recognised before the amount is looked at:
// a repeated withdrawal that emptied the account is no failure.
//
// Source: dtm reference §10.2.

import type { Branch } from '../branch.ts';
import { FailureError, UsageError } from '../errors.ts';
import {
  type BarrierResult,
  type BarrierRow,
  barrierRows,
  checkBackRow,
  skipReason,
} from './rules.ts';

const DAY_SECONDS = 86_400;
const EXPIRY_SECONDS = 7 * DAY_SECONDS;

/** KEYS: account, own key, origin key. ARGV: amount, whether there is an origin, expiry. */
const ADJUST = `
if redis.call('EXISTS', KEYS[2]) == 1 then return 'REPEATED' end
if ARGV[2] ~= '' and redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('SET', KEYS[2], 'op', 'EX', ARGV[3])
  redis.call('SET', KEYS[3], 'rollback', 'EX', ARGV[3])
  return 'EMPTY'
end
local balance = redis.call('GET', KEYS[1])
if balance == false or balance + ARGV[1] < 0 then return 'FAILURE' end
redis.call('SET', KEYS[2], 'op', 'EX', ARGV[3])
return redis.call('INCRBY', KEYS[1], ARGV[1])
`;

/** KEYS: the message's key. ARGV: expiry. */
const CHECK_BACK = `
local found = redis.call('GET', KEYS[1])
if found == false then
  redis.call('SET', KEYS[1], 'rollback', 'EX', ARGV[1])
  return 'rollback'
end
return found
`;

/** What is used of ioredis. */
export interface RedisClient {
  eval(script: string, keyCount: number, ...values: (string | number)[]): Promise<unknown>;
}

export interface RedisBarrierOptions {
  /** How long a repeat is recognised: longer than any transaction lasts. */
  readonly expirySeconds?: number;
}

function keyOf({ gid, branchId, op, barrierId }: BarrierRow): string {
  return `${gid}-${branchId}-${op}-${barrierId}`;
}

export class RedisBarrier {
  readonly #redis: RedisClient;
  readonly #expirySeconds: number;

  constructor(redis: RedisClient, { expirySeconds = EXPIRY_SECONDS }: RedisBarrierOptions = {}) {
    this.#redis = redis;
    this.#expirySeconds = expirySeconds;
  }

  /**
   * Adds `amount`, which may be negative, to the number at `key`, once. A FailureError: there is no
   * such number, or it would fall below zero. The value of the result is the new number.
   */
  async adjust(branch: Branch, key: string, amount: number): Promise<BarrierResult<number>> {
    if (!Number.isSafeInteger(amount)) throw new UsageError(`${amount} is no whole amount`);
    const { origin, own } = barrierRows(branch);
    const originKey = keyOf(origin ?? { ...own, op: '' });
    const reply = await this.#redis.eval(
      ADJUST,
      3,
      ...[key, keyOf(own), originKey],
      ...[amount, origin === undefined ? '' : origin.op, this.#expirySeconds],
    );
    if (reply === 'FAILURE') throw new FailureError(`the amount at ${key} does not suffice`);
    const inserted = { own: reply !== 'REPEATED', origin: reply === 'EMPTY' };
    const why = skipReason(branch.op, inserted);
    return why === undefined ? { kind: 'done', value: Number(reply) } : { kind: 'skipped', why };
  }

  async queryPrepared(branch: Branch): Promise<void> {
    const key = keyOf(checkBackRow(branch));
    const found = await this.#redis.eval(CHECK_BACK, 1, key, this.#expirySeconds);
    if (found === 'rollback') throw new FailureError('the local transaction did not commit');
  }
}

export function redisBarrier(redis: RedisClient, options?: RedisBarrierOptions): RedisBarrier {
  return new RedisBarrier(redis, options);
}
