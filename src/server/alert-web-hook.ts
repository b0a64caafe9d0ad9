// Alerts as dtm sends them: a POST of JSON to the web hook (dtm reference §9).
//
// Owns: the payload, the connections, the limit of one attempt. Which alerts, how often and how many
// at once is the engine's (src/engine/alerts). What the hook answers does not matter but for its
// status: 2xx is delivered, even if the rest of the answer never comes. Redirects are not followed.

import { Pool } from 'undici';
import type { Alert, AlertOutcome, AlertSender } from '../engine/index.ts';
import { jsonText } from './api/index.ts';
import { RESULT_HINT } from './requests/index.ts';

const ANSWER_BYTES_MAX = 64 * 1024;
const REASON_LENGTH_MAX = 200;

export interface WebHookOptions {
  readonly url: string;
  /** From the start of an attempt to the last byte of its answer. */
  readonly timeoutMs: number;
  readonly connectionsMax: number;
}

/** The keys are in the order in which dtm writes them. */
export function alertBody(alert: Alert): string {
  return jsonText({
    branch: alert.url,
    error: RESULT_HINT + alert.detail,
    gid: alert.gid,
    retry_count: alert.retryCount,
    status: alert.status,
  });
}

export class AlertWebHook implements AlertSender {
  readonly #pool: Pool;
  readonly #path: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;

  constructor({ url, timeoutMs, connectionsMax }: WebHookOptions) {
    const { origin, pathname, search, username, password } = new URL(url);
    this.#pool = new Pool(origin, { connections: connectionsMax, connectTimeout: timeoutMs });
    this.#path = pathname + search;
    this.#timeoutMs = timeoutMs;
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    this.#headers = {
      'content-type': 'application/json',
      ...(username === '' && password === ''
        ? {}
        : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` }),
    };
  }

  send(alert: Alert, done: (outcome: AlertOutcome) => void): void {
    this.#post(alertBody(alert)).then(
      (status) => {
        const delivered = status >= 200 && status < 300;
        done(delivered ? { delivered } : { delivered, reason: `status ${status}` });
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        done({ delivered: false, reason: reason.slice(0, REASON_LENGTH_MAX) });
      },
    );
  }

  /** Ends what is under way. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  async #post(body: string): Promise<number> {
    const answer = await this.#pool.request({
      method: 'POST',
      path: this.#path,
      headers: this.#headers,
      body,
      signal: AbortSignal.timeout(this.#timeoutMs),
    });
    await answer.body.dump({ limit: ANSWER_BYTES_MAX });
    return answer.statusCode;
  }
}
