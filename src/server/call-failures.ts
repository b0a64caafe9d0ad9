// Says in the log which participants give no result, and when they answer again: what makes a
// transaction stand still.
//
// Invariants: at most one warning and one all-clear per address and minute, and so many lines over
// all; as many addresses are remembered as participants have targets. Nothing that a client or a
// participant wrote is logged but gid, branch id and address.

import type { EndedCall } from '../engine/index.ts';
import type { Clock, NodeLog } from '../raft/index.ts';
import { failureReason, shownAddress } from './call-failure-text.ts';

const REPEAT_MS = 60_000;
/** As many as a caller remembers targets; the least recently failing is forgotten. */
const ADDRESSES_MAX = 1_024;
/** Warnings a minute over all addresses: a thousand URLs of one dead host must not flood the log. */
const WARNINGS_PER_MINUTE_MAX = 60;

interface Failing {
  /** Calls that gave no result, since the last warning. */
  count: number;
  warnedAtMs: number | undefined;
  /** A warning was written, and no all-clear since. */
  isTold: boolean;
}

export class CallFailures {
  readonly #clock: Clock;
  readonly #log: NodeLog;
  /** By address; the least recently failing first. */
  readonly #failing = new Map<string, Failing>();
  #minuteStartMs = Number.NEGATIVE_INFINITY;
  #warningCount = 0;

  constructor(clock: Clock, log: NodeLog) {
    this.#clock = clock;
    this.#log = log;
  }

  ended(ended: EndedCall): void {
    if (ended.end.kind === 'unknown') this.#failed(ended);
    else if (this.#failing.size > 0) this.#answered(shownAddress(ended.call.url));
  }

  #failed(ended: EndedCall): void {
    const target = shownAddress(ended.call.url);
    const failing = this.#failing.get(target) ?? {
      count: 0,
      warnedAtMs: undefined,
      isTold: false,
    };
    this.#failing.delete(target);
    this.#failing.set(target, failing);
    if (this.#failing.size > ADDRESSES_MAX) {
      const [oldest] = this.#failing.keys();
      if (oldest !== undefined) this.#failing.delete(oldest);
    }
    failing.count += 1;
    const nowMs = this.#clock.monotonicMs();
    const isRepeat = failing.warnedAtMs !== undefined && nowMs - failing.warnedAtMs < REPEAT_MS;
    if (isRepeat || !this.#mayWarn(nowMs)) return;
    this.#warn(target, failing, ended);
    failing.warnedAtMs = nowMs;
    failing.isTold = true;
    failing.count = 0;
  }

  #warn(target: string, failing: Failing, { call, end, attempt, retryInMs }: EndedCall): void {
    const { gid, branchId, op } = call;
    const { count } = failing;
    const reason = failureReason(end);
    const nextTryAt =
      retryInMs === undefined
        ? 'none'
        : new Date(Math.round(this.#clock.wallMs() + retryInMs)).toISOString();
    const fields = { target, reason, gid, branchId, op, attempt, count, nextTryAt };
    if (failing.isTold) this.#log.warn(fields, 'calls of a participant still fail');
    else this.#log.warn(fields, 'calls of a participant fail');
  }

  #answered(target: string): void {
    const failing = this.#failing.get(target);
    if (failing === undefined) return;
    const { count } = failing;
    failing.count = 0;
    if (!failing.isTold) return;
    failing.isTold = false;
    this.#log.info({ target, count }, 'the participant answers again');
  }

  #mayWarn(nowMs: number): boolean {
    if (nowMs - this.#minuteStartMs >= REPEAT_MS) {
      this.#minuteStartMs = nowMs;
      this.#warningCount = 0;
    }
    this.#warningCount += 1;
    return this.#warningCount <= WARNINGS_PER_MINUTE_MAX;
  }
}
