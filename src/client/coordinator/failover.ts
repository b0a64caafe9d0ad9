// Several endpoints, one request: where an endpoint gives no answer, the next one is asked the same,
// with the same gid. An answer about the transaction is never asked for twice (dtm reference §1.2).
//
// Invariant: once an attempt may have been carried out, no later attempt can make the whole certainly
// not done: the outcome is the join over the attempts (docs/architecture.md §consensus).

import { CancelledError, type Outcome, UnavailableError, UsageError } from '../errors.ts';

export interface FailoverOptions {
  readonly endpoints: readonly string[];
  /** For one attempt at one endpoint. A waiting submit takes the server up to about 8 s. */
  readonly attemptTimeoutMs: number;
  /** For the whole, attempts and pauses together. */
  readonly totalTimeoutMs: number;
  /** The pause after all endpoints were tried; doubled for each further round, up to the maximum. */
  readonly pauseMs: number;
  readonly pauseMsMax: number;
}

export const FAILOVER_DEFAULTS = {
  attemptTimeoutMs: 12_000,
  totalTimeoutMs: 30_000,
  pauseMs: 100,
  pauseMsMax: 2_000,
} as const;

/** An attempt that is cut off tells nothing, and makes the outcome unknown: one needs this long. */
const LAST_ATTEMPT_MS_MIN = 200;

/** Of one endpoint's answer in the message of the error. */
const ANSWER_CHARS_MAX = 300;

/** Thrown by an attempt that got no answer about the request: another endpoint may give one. */
export class AttemptError extends Error {
  override readonly name = 'AttemptError';
  readonly outcome: Outcome;

  constructor(message: string, outcome: Outcome, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.outcome = outcome;
  }
}

export interface Attempt {
  readonly endpoint: string;
  readonly signal: AbortSignal;
  /** Of the attempts before this one, joined. */
  readonly earlierOutcome: Outcome;
}

export class Failover {
  readonly #options: FailoverOptions;
  #current = 0;

  constructor(options: FailoverOptions) {
    if (options.endpoints.length === 0) throw new UsageError('at least one endpoint is needed');
    this.#options = options;
  }

  /** The endpoint that answered last, or is next in turn. */
  get current(): string {
    const { endpoints } = this.#options;
    return endpoints[this.#current % endpoints.length] ?? '';
  }

  /** `attempt` throws an AttemptError where another endpoint is to be asked; all else is final. */
  async run<T>(attempt: (attempt: Attempt) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { endpoints, totalTimeoutMs } = this.#options;
    const startedAtMs = performance.now();
    const giveUpAtMs = startedAtMs + totalTimeoutMs;
    const lastAnswers = new Map<string, string>();
    let outcome: Outcome = 'none';
    for (let tried = 1; ; tried += 1) {
      throwIfCancelled(signal, outcome);
      const remainingMs = Math.max(1, giveUpAtMs - performance.now());
      const endpoint = this.current;
      try {
        return await this.#once(attempt, { endpoint, remainingMs, outcome, signal });
      } catch (error) {
        if (!(error instanceof AttemptError)) throw error;
        lastAnswers.set(endpoint, error.message);
        if (error.outcome === 'unknown') outcome = 'unknown';
        throwIfCancelled(signal, outcome);
        // Two requests that failed at one endpoint move on from it once.
        if (this.current === endpoint) this.#current += 1;
        const pauseMs = tried % endpoints.length === 0 ? this.#pauseMs(tried) : 0;
        if (performance.now() + pauseMs + LAST_ATTEMPT_MS_MIN >= giveUpAtMs) {
          const spentMs = Math.round(performance.now() - startedAtMs);
          const after = `${tried} attempts in ${spentMs} ms (totalTimeoutMs is ${totalTimeoutMs})`;
          const message = `no endpoint answered in ${after}: ${answersText(lastAnswers)}`;
          throw new UnavailableError(message, outcome, error);
        }
        await pause(pauseMs, signal);
      }
    }
  }

  async #once<T>(
    attempt: (attempt: Attempt) => Promise<T>,
    context: {
      readonly endpoint: string;
      readonly remainingMs: number;
      readonly outcome: Outcome;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<T> {
    const { endpoint, remainingMs, outcome, signal } = context;
    const timeoutMs = Math.min(this.#options.attemptTimeoutMs, remainingMs);
    const controller = new AbortController();
    const stop = () => controller.abort(signal?.reason);
    const timer = setTimeout(
      () => controller.abort(new Error(`no answer within ${Math.round(timeoutMs)} ms`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', stop, { once: true });
    try {
      return await attempt({ endpoint, signal: controller.signal, earlierOutcome: outcome });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Half fixed, half random: clients that lost the same node do not return together. */
  #pauseMs(tried: number): number {
    const { endpoints, pauseMs, pauseMsMax } = this.#options;
    const rounds = Math.min(Math.floor(tried / endpoints.length) - 1, 20);
    const fullMs = Math.min(pauseMsMax, pauseMs * 2 ** rounds);
    return fullMs / 2 + (Math.random() * fullMs) / 2;
  }
}

/** The last that each endpoint said, or was said of it. */
function answersText(lastAnswers: ReadonlyMap<string, string>): string {
  return [...lastAnswers]
    .map(([endpoint, message]) => {
      const text = message.slice(0, ANSWER_CHARS_MAX);
      return text.includes(endpoint) ? text : `${endpoint} said ${text}`;
    })
    .join('; ');
}

function throwIfCancelled(signal: AbortSignal | undefined, outcome: Outcome): void {
  if (signal?.aborted !== true) return;
  throw new CancelledError('the caller gave up waiting', outcome, signal.reason);
}

/** Ends early, without an error, when the signal fires: the caller looks at it next. */
async function pause(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (durationMs === 0) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, durationMs);
    signal?.addEventListener('abort', end, { once: true });
  });
}
