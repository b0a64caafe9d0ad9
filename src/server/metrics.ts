// Every metric of a node: dtm's six names, and ours under `assent_`.
//
// Owns: names, labels, buckets. Values of the replica are read at scrape time from the status source;
// only what cannot be read later (durations, events) is observed as it happens.
// Invariants: labels come from closed or bounded sets, never a gid, a URL or a text of a client; a
// scrape reads memory only.
//
// Sources: the dtm protocol reference §8; docs/metrics.md is tested against this registry.

import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { API_SECONDS, CALL_SECONDS, DTM_SECONDS, FSYNC_SECONDS } from './histogram-buckets.ts';
import { registerNodeMetrics } from './metrics-node.ts';
import type { NodeStatusSource } from './status-source.ts';
import { Tally } from './tally.ts';
import { Timing } from './timing.ts';

/** One answered request. `api` comes from the table of routes. */
export interface ApiObservation {
  readonly api: string;
  readonly status: number;
  readonly durationMs: number;
  /** Code of a refusal or an error; undefined for an answer of the log. */
  readonly code: string | undefined;
}

/** One answered call of a gRPC method; `api` is its name in lower case, `status` that of its code. */
export interface CallObservation {
  readonly api: string;
  readonly status: string;
  readonly ok: boolean;
  readonly durationMs: number;
  readonly code: string | undefined;
}

/** One call of a participant that ended. */
export interface BranchObservation {
  readonly type: string;
  readonly branchId: string;
  /** Of a closed set. */
  readonly op: string;
  readonly protocol: 'http' | 'grpc' | 'json-rpc';
  readonly outcome: 'success' | 'failure' | 'ongoing' | 'unknown';
  readonly durationMs: number;
}

const BRANCH_IDS_MAX = 100;
/** The default of 10 ms wakes an idle node a hundred times a second. */
const EVENT_LOOP_SAMPLE_MS = 100;

export class Metrics {
  readonly registry = new Registry();
  readonly #branchIds = new Set<string>();
  readonly #processed: Tally<'type' | 'api' | 'status'>;
  readonly #requests: Tally<'api' | 'status'>;
  readonly #rejected: Tally<'code'>;
  readonly #apiDuration: Timing<'api'>;
  readonly #dtmResponse: Timing<'type' | 'api'>;
  readonly #dtmTransactions: Tally<'model' | 'status'>;
  readonly #dtmHandled: Timing<'model'>;
  readonly #dtmBranches: Tally<'model' | 'branchid' | 'branchtype' | 'status'>;
  readonly #branchCall: Timing<'model' | 'op'>;
  readonly #branchCalls: Tally<'model' | 'protocol' | 'outcome'>;
  readonly #fsync: Timing;
  readonly #commit: Timing;
  readonly #apply: Timing;
  readonly #entries = this.#tally('assent_raft_entries_total', 'Entries appended as leader.', []);
  readonly #commands = this.#tally('assent_raft_commands_total', 'Commands in those entries.', []);
  readonly #timersLate = this.#tally(
    'assent_raft_late_timers_total',
    'Timers that a stall of the event loop made late.',
    [],
  );
  readonly #timersLateSeconds = this.#tally(
    'assent_raft_late_timers_seconds_total',
    'How late they were together.',
    [],
  );
  readonly #handshakesRefused = this.#tally(
    'assent_peer_handshakes_refused_total',
    'Handshakes refused, by either side.',
    ['code'],
  );
  readonly #peerDrops = this.#tally(
    'assent_peer_dropped_total',
    'Messages that found no open connection or a full queue.',
    ['lane'],
  );
  readonly #peerErrors = this.#tally(
    'assent_peer_protocol_errors_total',
    'Connections closed because a peer broke the protocol.',
    ['code'],
  );

  constructor(version: string) {
    collectDefaultMetrics({
      register: this.registry,
      eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS,
    });
    this.#registerInfo(version);
    this.#processed = this.#tally(
      'dtm_server_process_total',
      'Requests answered; fail: HTTP status 400 and above, any gRPC status but OK.',
      ['type', 'api', 'status'],
    );
    this.#requests = this.#tally(
      'assent_api_requests_total',
      'Requests answered, by HTTP status or name of the gRPC status.',
      ['api', 'status'],
    );
    this.#rejected = this.#tally(
      'assent_api_rejected_total',
      'Requests answered with an error code.',
      ['code'],
    );
    this.#apiDuration = this.#timing(
      'assent_api_request_duration_seconds',
      'Time until a request was answered.',
      { labelNames: ['api'], buckets: API_SECONDS },
    );
    this.#dtmResponse = this.#timing(
      'dtm_server_response_duration',
      'Seconds until a request was answered.',
      { labelNames: ['type', 'api'], buckets: DTM_SECONDS },
    );
    this.#dtmTransactions = this.#tally(
      'dtm_transaction_process_total',
      'Processing passes over transactions.',
      ['model', 'status'],
    );
    this.#dtmHandled = this.#timing(
      'dtm_transaction_handled_duration',
      'Seconds since its creation when a transaction was processed.',
      { labelNames: ['model'], buckets: DTM_SECONDS },
    );
    this.#dtmBranches = this.#tally('dtm_branch_process_total', 'Calls of branches that ended.', [
      'model',
      'branchid',
      'branchtype',
      'status',
    ]);
    this.#branchCall = this.#timing(
      'assent_scheduler_branch_call_duration_seconds',
      'One call of a participant.',
      { labelNames: ['model', 'op'], buckets: CALL_SECONDS },
    );
    this.#branchCalls = this.#tally(
      'assent_scheduler_branch_calls_total',
      'Calls of participants that ended, by the protocol that carried them.',
      ['model', 'protocol', 'outcome'],
    );
    const fsync = { labelNames: [], buckets: FSYNC_SECONDS };
    this.#fsync = this.#timing('assent_log_fsync_duration_seconds', 'One write of the log.', fsync);
    this.#commit = this.#timing(
      'assent_raft_commit_duration_seconds',
      'From append on this leader to commit.',
      fsync,
    );
    this.#apply = this.#timing('assent_raft_apply_duration_seconds', 'One batch of apply.', fsync);
  }

  requestAnswered(observation: ApiObservation): void {
    const { api, status, durationMs, code } = observation;
    this.#processed.add(['http', api, status >= 400 ? 'fail' : 'ok']);
    this.#requests.add([api, String(status)]);
    if (code !== undefined) this.requestRejected(code);
    this.#apiDuration.record(durationMs, api);
    this.#dtmResponse.record(durationMs, 'http', api);
  }

  callAnswered({ api, status, ok, durationMs, code }: CallObservation): void {
    this.#processed.add(['grpc', api, ok ? 'ok' : 'fail']);
    this.#requests.add([api, status]);
    if (code !== undefined) this.requestRejected(code);
    this.#apiDuration.record(durationMs, api);
    this.#dtmResponse.record(durationMs, 'grpc', api);
  }

  /** Also for what never became a request: malformed bytes, a timeout. */
  requestRejected(code: string): void {
    this.#rejected.add([code]);
  }

  logWritten(durationMs: number): void {
    this.#fsync.record(durationMs);
  }
  committed(durationMs: number): void {
    this.#commit.record(durationMs);
  }
  applied(durationMs: number): void {
    this.#apply.record(durationMs);
  }
  /** Commands that were gathered into one entry. */
  gathered(commands: number): void {
    this.#entries.add([]);
    this.#commands.add([], commands);
  }
  timerLate(latenessMs: number): void {
    this.#timersLate.add([]);
    this.#timersLateSeconds.add([], latenessMs / 1_000);
  }

  handshakeRefused(code: string): void {
    this.#handshakesRefused.add([code]);
  }
  peerMessageDropped(lane: string): void {
    this.#peerDrops.add([lane]);
  }
  peerProtocolError(code: string): void {
    this.#peerErrors.add([code]);
  }

  /** dtm counts passes, not transactions; `ageMs` is the time since its creation. */
  transactionProcessed(type: string, ok: boolean, ageMs: number): void {
    this.#dtmTransactions.add([type, ok ? 'ok' : 'fail']);
    this.#dtmHandled.record(ageMs, type);
  }

  branchCalled(observation: BranchObservation): void {
    const { type, op, protocol, outcome, durationMs } = observation;
    this.#branchCall.record(durationMs, type, op);
    this.#branchCalls.add([type, protocol, outcome]);
    const branchId = this.#boundedBranchId(observation.branchId);
    this.#dtmBranches.add([type, branchId, op, outcome === 'success' ? 'ok' : 'fail']);
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

  observeGrpc(read: {
    readonly requests: () => number;
    readonly bytes: () => number;
    readonly connections: () => number;
  }): void {
    this.#gauge('assent_grpc_inflight_calls', 'gRPC calls in flight.', read.requests);
    this.#gauge('assent_grpc_inflight_bytes', 'Bytes of their messages.', read.bytes);
    this.#gauge('assent_grpc_connections', 'Open gRPC connections of clients.', read.connections);
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

  #tally<L extends string>(name: string, help: string, labelNames: readonly L[]): Tally<L> {
    return new Tally(this.registry, { name, help, labelNames });
  }

  #timing<L extends string = never>(
    name: string,
    help: string,
    shape: { readonly labelNames: L[]; readonly buckets: number[] },
  ): Timing<L> {
    return new Timing({ name, help, ...shape, registers: [this.registry] });
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
}
