// Every metric of a node: dtm's six names, and ours under `assent_`.
//
// Owns: names, labels, buckets. Values of the replica are read at scrape time from the status source;
// only what cannot be read later (durations, events) is observed as it happens.
// Invariants: labels come from closed or bounded sets, never a gid, a URL or a text of a client; a
// scrape reads memory only.
//
// Sources: the dtm protocol reference §8; docs/metrics.md is tested against this registry.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { API_SECONDS, CALL_SECONDS, FSYNC_SECONDS } from './histogram-buckets.ts';
import { registerNodeMetrics } from './metrics-node.ts';
import type { NodeStatusSource } from './status-source.ts';

/** One answered request. `api` comes from the table of routes. */
export interface ApiObservation {
  readonly api: string;
  readonly status: number;
  readonly durationMs: number;
  /** Code of a refusal or an error; undefined for an answer of the log. */
  readonly code: string | undefined;
}

/** One call of a participant that ended. */
export interface BranchObservation {
  readonly type: string;
  readonly branchId: string;
  readonly op: string;
  readonly outcome: 'success' | 'failure' | 'ongoing' | 'unknown';
  readonly durationMs: number;
}

const BRANCH_IDS_MAX = 100;

interface RouteCounts {
  ok: number;
  fail: number;
  readonly byStatus: Map<number, number>;
}

export class Metrics {
  readonly registry = new Registry();
  /** Requests are counted here and read at scrape time: the hot path touches no label map. */
  readonly #routes = new Map<string, RouteCounts>();
  readonly #rejected = new Map<string, number>();
  readonly #branchIds = new Set<string>();
  readonly #dtmResponse: Histogram<'type' | 'api'>;
  readonly #apiDuration: Histogram<'api'>;
  readonly #fsync: Histogram;
  readonly #commit: Histogram;
  readonly #apply: Histogram;
  readonly #branchCall: Histogram<'model' | 'op'>;
  readonly #dtmTransactions: Counter<'model' | 'status'>;
  readonly #dtmHandled: Histogram<'model'>;
  readonly #dtmBranches: Counter<'model' | 'branchid' | 'branchtype' | 'status'>;

  constructor(version: string) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#registerInfo(version);
    this.#registerRequests();
    this.#dtmResponse = new Histogram({
      name: 'dtm_server_response_duration',
      help: 'Seconds until a request was answered.',
      labelNames: ['type', 'api'],
      registers,
    });
    this.#dtmTransactions = new Counter({
      name: 'dtm_transaction_process_total',
      help: 'Processing passes over transactions.',
      labelNames: ['model', 'status'],
      registers,
    });
    this.#dtmHandled = new Histogram({
      name: 'dtm_transaction_handled_duration',
      help: 'Seconds since its creation when a transaction was processed.',
      labelNames: ['model'],
      registers,
    });
    this.#dtmBranches = new Counter({
      name: 'dtm_branch_process_total',
      help: 'Calls of branches that ended.',
      labelNames: ['model', 'branchid', 'branchtype', 'status'],
      registers,
    });
    this.#apiDuration = new Histogram({
      name: 'assent_api_request_duration_seconds',
      help: 'Time until a request was answered.',
      labelNames: ['api'],
      buckets: API_SECONDS,
      registers,
    });
    this.#fsync = this.#duration('assent_log_fsync_duration_seconds', 'One write of the log.');
    this.#commit = this.#duration(
      'assent_raft_commit_duration_seconds',
      'From append on this leader to commit.',
    );
    this.#apply = this.#duration('assent_raft_apply_duration_seconds', 'One batch of apply.');
    this.#branchCall = new Histogram({
      name: 'assent_scheduler_branch_call_duration_seconds',
      help: 'One call of a participant.',
      labelNames: ['model', 'op'],
      buckets: CALL_SECONDS,
      registers,
    });
  }

  requestAnswered(observation: ApiObservation): void {
    const { api, status, code } = observation;
    const seconds = observation.durationMs / 1_000;
    let counts = this.#routes.get(api);
    if (counts === undefined) {
      counts = { ok: 0, fail: 0, byStatus: new Map() };
      this.#routes.set(api, counts);
    }
    if (status >= 400) counts.fail += 1;
    else counts.ok += 1;
    counts.byStatus.set(status, (counts.byStatus.get(status) ?? 0) + 1);
    if (code !== undefined) this.requestRejected(code);
    this.#apiDuration.observe({ api }, seconds);
    this.#dtmResponse.observe({ type: 'http', api }, seconds);
  }

  /** Also for what never became a request: malformed bytes, a timeout. */
  requestRejected(code: string): void {
    this.#rejected.set(code, (this.#rejected.get(code) ?? 0) + 1);
  }

  logWritten(durationMs: number): void {
    this.#fsync.observe(durationMs / 1_000);
  }
  committed(durationMs: number): void {
    this.#commit.observe(durationMs / 1_000);
  }
  applied(durationMs: number): void {
    this.#apply.observe(durationMs / 1_000);
  }

  /** dtm counts passes, not transactions; `ageMs` is the time since its creation. */
  transactionProcessed(type: string, ok: boolean, ageMs: number): void {
    this.#dtmTransactions.inc({ model: type, status: ok ? 'ok' : 'fail' });
    this.#dtmHandled.observe({ model: type }, ageMs / 1_000);
  }

  branchCalled(observation: BranchObservation): void {
    const { type, op, outcome } = observation;
    this.#branchCall.observe({ model: type, op }, observation.durationMs / 1_000);
    this.#dtmBranches.inc({
      model: type,
      branchid: this.#boundedBranchId(observation.branchId),
      branchtype: op,
      status: outcome === 'success' ? 'ok' : 'fail',
    });
  }

  observeNode(source: NodeStatusSource): void {
    registerNodeMetrics(this.registry, source);
  }

  /** Figures of the API itself, read at scrape time. */
  observeApi(read: {
    readonly requests: () => number;
    readonly bytes: () => number;
    readonly connections: () => number;
  }): void {
    this.#gauge('assent_api_inflight_requests', 'Requests in flight.', read.requests);
    this.#gauge('assent_api_inflight_bytes', 'Bytes of bodies in flight.', read.bytes);
    this.#gauge('assent_api_connections', 'Open connections of clients.', read.connections);
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  #boundedBranchId(branchId: string): string {
    if (this.#branchIds.has(branchId)) return branchId;
    if (this.#branchIds.size >= BRANCH_IDS_MAX || branchId.length > 20) return 'other';
    this.#branchIds.add(branchId);
    return branchId;
  }

  #duration(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: FSYNC_SECONDS, registers: [this.registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  #registerInfo(version: string): void {
    const registers = [this.registry];
    new Gauge({
      name: 'dtm_server_info',
      help: 'Always 1.',
      labelNames: ['gin_version', 'grpc_version'],
      registers,
    }).set({ gin_version: '', grpc_version: '' }, 1);
    new Gauge({
      name: 'assent_build_info',
      help: 'Always 1.',
      labelNames: ['version', 'node_version'],
      registers,
    }).set({ version, node_version: process.version }, 1);
  }

  #registerRequests(): void {
    const registers = [this.registry];
    const routes = this.#routes;
    const rejected = this.#rejected;
    new Counter({
      name: 'dtm_server_process_total',
      help: 'Requests answered; fail: status 400 and above.',
      labelNames: ['type', 'api', 'status'],
      registers,
      collect() {
        this.reset();
        for (const [api, { ok, fail }] of routes) {
          if (ok > 0) this.inc({ type: 'http', api, status: 'ok' }, ok);
          if (fail > 0) this.inc({ type: 'http', api, status: 'fail' }, fail);
        }
      },
    });
    new Counter({
      name: 'assent_api_requests_total',
      help: 'Requests answered, by HTTP status.',
      labelNames: ['api', 'status'],
      registers,
      collect() {
        this.reset();
        for (const [api, { byStatus }] of routes) {
          for (const [status, count] of byStatus) this.inc({ api, status: String(status) }, count);
        }
      },
    });
    new Counter({
      name: 'assent_api_rejected_total',
      help: 'Requests answered with an error code.',
      labelNames: ['code'],
      registers,
      collect() {
        this.reset();
        for (const [code, count] of rejected) this.inc({ code }, count);
      },
    });
  }
}
