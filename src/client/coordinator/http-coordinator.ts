// A coordinator over dtm's HTTP routes, at several endpoints.
//
// Source: dtm reference §1.

import {
  CancelledError,
  CoordinatorError,
  type Outcome,
  RefusedError,
  UsageError,
} from '../errors.ts';
import type { BranchRegistration, TransactionRequest } from '../transaction.ts';
import type { CallOptions, Coordinator, Subscription, WorkflowRecord } from './coordinator.ts';
import { Failover, type FailoverOptions } from './failover.ts';
import { successText } from './http-answer.ts';
import { registrationBody, transactionBody } from './http-body.ts';
import { sendHttp } from './http-request.ts';
import { parseWorkflowRecord } from './workflow-record.ts';

const PREFIX = '/api/dtmsvr';

type JsonObject = Readonly<Record<string, unknown>>;

interface RouteCall extends CallOptions {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below the prefix, with its query string. */
  readonly route: string;
  readonly body?: JsonObject;
  /** The answer holds stored texts, which may have the words in them: the status alone counts. */
  readonly hasStoredTexts?: boolean;
  /** Of a refusal, when no earlier attempt may have been carried out. */
  readonly refusedOutcome?: Outcome;
}

/** `http://host:36789`, with or without dtm's prefix. */
export function httpEndpoint(endpoint: string): string {
  const bare = endpoint.replace(/\/+$/, '');
  if (!URL.canParse(bare) || !/^https?:$/.test(new URL(bare).protocol)) {
    throw new UsageError(`"${endpoint}" is no HTTP endpoint, such as http://127.0.0.1:36789`);
  }
  return bare.endsWith(PREFIX) ? bare : bare + PREFIX;
}

export class HttpCoordinator implements Coordinator {
  readonly protocol = 'http';
  readonly #failover: Failover;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: FailoverOptions & { readonly headers?: Readonly<Record<string, string>> }) {
    const endpoints = options.endpoints.map(httpEndpoint);
    this.#failover = new Failover({ ...options, endpoints });
    this.#headers = options.headers ?? {};
  }

  get address(): string {
    return this.#failover.current;
  }

  async newGid(options: CallOptions = {}): Promise<string> {
    const { gid } = await this.#json({ method: 'GET', route: 'newGid', ...options });
    if (typeof gid !== 'string' || gid === '') throw malformed('newGid without a gid');
    return gid;
  }

  async prepare(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    await this.#post('prepare', request, options);
  }

  async submit(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    await this.#settled(request, options, 'submit', ['succeed', 'submitted']);
  }

  async abort(request: TransactionRequest, options: CallOptions = {}): Promise<void> {
    await this.#settled(request, options, 'abort', ['aborting', 'failed']);
  }

  async registerBranch(registration: BranchRegistration, options: CallOptions = {}): Promise<void> {
    const body = registrationBody(registration);
    await this.#text({ method: 'POST', route: 'registerBranch', body, ...options });
  }

  async prepareWorkflow(
    request: TransactionRequest,
    options: CallOptions = {},
  ): Promise<WorkflowRecord> {
    const body = transactionBody(request);
    const route = 'prepareWorkflow';
    const call: RouteCall = { method: 'POST', route, body, hasStoredTexts: true, ...options };
    const record = await this.#json(call);
    return parseWorkflowRecord(record) ?? Promise.reject(malformed('a reply without transaction'));
  }

  async subscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    const { topic, url, remark = '' } = subscription;
    const query = new URLSearchParams({ topic, url, remark });
    await this.#text({ method: 'GET', route: `subscribe?${query.toString()}`, ...options });
  }

  async unsubscribe(subscription: Subscription, options: CallOptions = {}): Promise<void> {
    const { topic, url } = subscription;
    const query = new URLSearchParams({ topic, url });
    await this.#text({ method: 'GET', route: `unsubscribe?${query.toString()}`, ...options });
  }

  async deleteTopic(topic: string, options: CallOptions = {}): Promise<void> {
    const route = `topic/${encodeURIComponent(topic)}`;
    await this.#text({ method: 'DELETE', route, ...options });
  }

  /** The stored status; undefined: the gid is unknown. Only HTTP has this. */
  async queryStatus(gid: string, options: CallOptions = {}): Promise<string | undefined> {
    const route = `query?gid=${encodeURIComponent(gid)}`;
    const call: RouteCall = { method: 'GET', route, hasStoredTexts: true, ...options };
    const { transaction } = await this.#json(call);
    if (typeof transaction !== 'object' || transaction === null) return undefined;
    const status = 'status' in transaction ? transaction.status : undefined;
    return typeof status === 'string' ? status : undefined;
  }

  close(): void {
    // The platform keeps the connections of fetch.
  }

  #post(
    route: string,
    request: TransactionRequest,
    options: CallOptions,
    refusedOutcome: Outcome = 'none',
  ): Promise<string> {
    const body = transactionBody(request);
    return this.#text({ method: 'POST', route, body, refusedOutcome, ...options });
  }

  /**
   * dtm refuses a repeat of what was already decided (dtm reference §12.41). A refusal that follows an
   * attempt of unknown outcome is therefore checked against the stored status.
   */
  async #settled(
    request: TransactionRequest,
    options: CallOptions,
    route: 'submit' | 'abort',
    wanted: readonly string[],
  ): Promise<void> {
    const waits = request.options.waitResult === true;
    try {
      await this.#post(route, request, options, waits ? 'unknown' : 'none');
    } catch (error) {
      if (!(error instanceof RefusedError) || error.outcome === 'none') throw error;
      const status = await this.queryStatus(request.gid, options).catch((failed: unknown) => {
        if (failed instanceof CancelledError) throw failed;
        return undefined;
      });
      if (status === undefined) throw error;
      if (status === 'succeed' && wanted.includes(status)) return;
      if (wanted.includes(status) && !waits) return;
      const known = route === 'submit' && (status === 'aborting' || status === 'failed');
      if (known) throw new RefusedError(error.message, 'none', error);
      throw error;
    }
  }

  async #json(call: RouteCall): Promise<JsonObject> {
    const text = await this.#text(call);
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null) return value as JsonObject;
    } catch {
      // Said below, with the text.
    }
    throw malformed(`no JSON object in the answer of ${call.route}: ${text.slice(0, 200)}`);
  }

  #text(call: RouteCall): Promise<string> {
    const { method, route, body, hasStoredTexts = false, refusedOutcome = 'none' } = call;
    return this.#failover.run(async ({ endpoint, signal, earlierOutcome }) => {
      const answer = await sendHttp({
        method,
        url: `${endpoint}/${route}`,
        body: body === undefined ? undefined : JSON.stringify(body),
        headers: this.#headers,
        signal,
      });
      if (hasStoredTexts && answer.status === 200) return answer.text;
      return successText(answer, { earlier: earlierOutcome, refused: refusedOutcome });
    }, call.signal);
  }
}

function malformed(message: string): CoordinatorError {
  return new CoordinatorError(message, 200, 'unknown');
}
