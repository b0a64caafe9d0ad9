// What the tests of the server stand on: a coordinator that answers as told, a status that is a
// table, and a whole API over them that needs no socket.

import type { InjectOptions } from 'fastify';
import type {
  OperationRequest,
  OperationResult,
  Transaction,
  TransactionState,
} from '../../../src/engine/machine/index.ts';
import type {
  Coordinator,
  ListFilter,
  ListPage,
  OperationOutcome,
  ReadOutcome,
  WaitOutcome,
} from '../../../src/engine/operations/index.ts';
import type { NodeLog, RaftStatus } from '../../../src/raft/index.ts';
import { type ApiServer, createApiServer } from '../../../src/server/api/index.ts';
import { type Config, loadConfig } from '../../../src/server/config.ts';
import { Health } from '../../../src/server/health.ts';
import { Metrics } from '../../../src/server/metrics.ts';
import type { NodeStatusSource } from '../../../src/server/status-source.ts';

type TopicFilter = Parameters<Coordinator['topics']>[0];

export class FakeCoordinator implements Coordinator {
  readonly requests: OperationRequest[] = [];
  readonly waits: string[] = [];
  readonly filters: ListFilter[] = [];
  readonly dueAsked: { afterMs: number; limit: number }[] = [];
  outcome: OperationOutcome | ((request: OperationRequest) => Promise<OperationOutcome>) =
    applied();
  wait: WaitOutcome = { kind: 'unknown', message: 'no wait was expected' };
  stored: ReadOutcome<Transaction | undefined> = { kind: 'value', value: undefined };
  page: ReadOutcome<ListPage> = { kind: 'value', value: { transactions: [], nextPosition: '' } };
  due: ReadOutcome<readonly string[]> = { kind: 'value', value: [] };
  readonly topicFilters: TopicFilter[] = [];
  topicPage: Awaited<ReturnType<Coordinator['topics']>> = {
    kind: 'value',
    value: { topics: [], nextPosition: '' },
  };

  async execute(request: OperationRequest): Promise<OperationOutcome> {
    this.requests.push(request);
    return typeof this.outcome === 'function' ? this.outcome(request) : this.outcome;
  }
  async waitResult(gid: string): Promise<WaitOutcome> {
    this.waits.push(gid);
    return this.wait;
  }
  async query(): Promise<ReadOutcome<Transaction | undefined>> {
    return this.stored;
  }
  async list(filter: ListFilter): Promise<ReadOutcome<ListPage>> {
    this.filters.push(filter);
    return this.page;
  }
  async topics(filter: TopicFilter): ReturnType<Coordinator['topics']> {
    this.topicFilters.push(filter);
    return this.topicPage;
  }
  async dueLaterThan(afterMs: number, limit: number): Promise<ReadOutcome<readonly string[]>> {
    this.dueAsked.push({ afterMs, limit });
    return this.due;
  }
}

export function applied(
  result: Partial<Extract<OperationResult, { kind: 'success' }>> | OperationResult = {},
): OperationOutcome {
  if (result.kind === 'failure' || result.kind === 'error') return { kind: 'applied', result };
  return {
    kind: 'applied',
    result: {
      kind: 'success',
      gid: 'g',
      status: 'submitted',
      count: 1,
      waitResult: false,
      ...result,
    },
  };
}

export function raftStatus(changes: Partial<RaftStatus> = {}): RaftStatus {
  return {
    nodeId: 1,
    bootId: 1,
    role: 'leader',
    term: 3,
    vote: 1,
    leaderId: 1,
    commitIndex: 10,
    lastIndex: 12,
    durableIndex: 12,
    firstIndex: 1,
    appliedIndex: 10,
    recovering: false,
    configuration: { voters: [1, 2], outgoing: [], learners: [], learnersNext: [], members: [] },
    ownTermIndex: 5,
    leaseUntilMs: 0,
    uncommittedBytes: 0,
    clockSuspect: false,
    transferTo: undefined,
    leaderContactMs: undefined,
    peers: [
      {
        nodeId: 2,
        bootId: 1,
        matchIndex: 9,
        nextIndex: 10,
        state: 'replicate',
        inflightBytes: 0,
        lastContactMs: 0,
        clockOffsetMs: 0,
      },
    ],
    ...changes,
  };
}

export function statusSource(changes: Partial<NodeStatusSource> = {}): NodeStatusSource {
  return {
    nodeId: 1,
    startup: () => ({ phase: 'running', done: 1 }),
    raft: () => raftStatus(),
    leaderMissingMs: () => 0,
    log: () => ({
      segments: 3,
      segmentsAhead: 2,
      bytes: 1,
      admissionOpen: true,
      recovering: undefined,
    }),
    store: () => ({
      appliedIndex: 10,
      flushedIndex: 8,
      overlayBytes: 1,
      generation: 1,
      flushesTotal: 1,
      flushedBytesTotal: 1,
      diskReadsTotal: 1,
      scrubPassesTotal: 1,
      damagedValuesTotal: 0,
    }),
    scheduler: () => ({
      running: 1,
      due: 1,
      callsInflight: 1,
      leaseWaiting: 0,
      resuming: 0,
      payloadBytes: 1,
    }),
    alerts: () => ({
      queuedCount: 0,
      inflightCount: 0,
      sentCount: 2,
      failedCount: 1,
      droppedCount: 0,
    }),
    operations: () => ({ operations: 0, waits: 0, sessionOpen: true }),
    peers: () => [
      {
        nodeId: 2,
        connected: true,
        queuedBytes: 0,
        forwardsInflight: 0,
      },
    ],
    targets: () => [],
    ...changes,
  };
}

export class RecordingLog implements NodeLog {
  readonly records: {
    level: string;
    fields: Readonly<Record<string, unknown>>;
    message: string;
  }[] = [];
  readonly debug = this.#at('debug');
  readonly info = this.#at('info');
  readonly warn = this.#at('warn');
  readonly error = this.#at('error');

  #at(level: string) {
    return (fields: Readonly<Record<string, unknown>>, message: string): void => {
      this.records.push({ level, fields, message });
    };
  }
}

export interface TestApi {
  readonly coordinator: FakeCoordinator;
  readonly api: ApiServer;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: RecordingLog;
  readonly post: (name: string, body: unknown, headers?: Record<string, string>) => Promise<Reply>;
  readonly get: (path: string) => Promise<Reply>;
  readonly delete: (path: string) => Promise<Reply>;
  /** A call of JSON-RPC; a text is sent as it is. */
  readonly rpc: (body: unknown) => Promise<Reply>;
}
/** The fields of replies that tests look into one by one. */
export interface ReplyBody {
  readonly message: string;
  readonly next_position: string;
  readonly transaction: object | null;
  readonly transactions: readonly unknown[] | null;
  readonly progresses: readonly unknown[];
  readonly kv: readonly unknown[];
  readonly error: object | null;
  readonly result: unknown;
}
export interface Reply {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly json: ReplyBody;
}

export function configWith(flags: Readonly<Record<string, string>> = {}): Config {
  return loadConfig({ file: undefined, environment: {}, flags: new Map(Object.entries(flags)) })
    .config;
}

export function testApi(
  options: {
    readonly flags?: Readonly<Record<string, string>>;
    readonly status?: NodeStatusSource;
    readonly open?: boolean;
  } = {},
): TestApi {
  const coordinator = new FakeCoordinator();
  const status = options.status ?? statusSource();
  const config = configWith({ 'api.timeZoneOffset': '+8', ...options.flags });
  const metrics = new Metrics('v0');
  metrics.observeNode(status);
  const health = new Health(status, config.raft.electionTimeoutMs);
  const log = new RecordingLog();
  const api = createApiServer(config, {
    coordinator: () => (options.open === false ? undefined : coordinator),
    status,
    health,
    metrics,
    log,
    version: 'v0.1.0',
  });
  const inject = async (request: InjectOptions): Promise<Reply> => {
    const { statusCode, body, headers } = await api.app.inject(request);
    const isJson = String(headers['content-type']).startsWith('application/json');
    const json = (isJson ? JSON.parse(body) : {}) as ReplyBody;
    return { status: statusCode, text: body, headers, json };
  };
  return {
    coordinator,
    api,
    health,
    metrics,
    log,
    get: (path) => inject({ method: 'GET', url: path }),
    delete: (path) => inject({ method: 'DELETE', url: path }),
    rpc: (body) =>
      inject({
        method: 'POST',
        url: '/api/json-rpc',
        payload: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    post: (name, body, headers = { 'content-type': 'application/json' }) =>
      inject({
        method: 'POST',
        url: `/api/dtmsvr/${name}`,
        headers,
        payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      }),
  };
}

export function saga(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    gid: 'pay-7',
    trans_type: 'saga',
    steps: [{ action: 'http://a/out', compensate: 'http://a/outUndo' }],
    payloads: ['{"amount":30}'],
    ...changes,
  };
}

const CREATED_MS = Date.UTC(2026, 0, 5, 2, 0, 1, 740);

/** The saga of the reference's example, succeeded. */
export function transaction(changes: Partial<TransactionState> = {}): Transaction {
  const branch = {
    wanted: false,
    retryAtMs: undefined,
    intervalMs: 10_000,
    attemptCount: 0,
    ongoingCount: 0,
    unknownCount: 0,
    firstAttempts: [],
    lastAttempts: [],
    createTimeMs: CREATED_MS,
  };
  return {
    definition: {
      gid: 'pay-7',
      type: 'saga',
      protocol: 'http',
      steps: [{ action: 'http://a/out', compensate: 'http://a/outUndo' }],
      payloads: [Buffer.from('{"amount":30}')],
      queryPrepared: '',
      customData: '',
      options: {
        waitResult: false,
        timeoutToFailS: 0,
        requestTimeoutS: 0,
        retryIntervalS: 0,
        retryLimit: 0,
        retryCount: 0,
        branchHeaders: {},
        concurrent: false,
      },
      branches: [
        { branchId: '01', op: 'compensate', url: 'http://a/outUndo', payload: 0 },
        { branchId: '01', op: 'action', url: 'http://a/out', payload: 0 },
      ],
      concurrent: false,
      orders: new Map(),
      timeoutMs: undefined,
      requestTimeoutMs: 3_000,
      baseIntervalMs: 10_000,
      retentionMs: 86_400_000,
      preparedExpiryMs: 604_800_000,
    },
    state: {
      gid: 'pay-7',
      type: 'saga',
      status: 'succeed',
      createTimeMs: CREATED_MS,
      updateTimeMs: CREATED_MS + 10,
      finishTimeMs: CREATED_MS + 10,
      rollbackTimeMs: undefined,
      rollbackReason: '',
      result: '',
      acceptedTerm: 1,
      retryCount: 0,
      dueMs: CREATED_MS + 10_000,
      intervalMs: 10_000,
      forced: undefined,
      branches: [
        { ...branch, status: 'prepared', updateTimeMs: CREATED_MS, finishTimeMs: undefined },
        {
          ...branch,
          status: 'succeed',
          updateTimeMs: CREATED_MS + 10,
          finishTimeMs: CREATED_MS + 10,
        },
      ],
      ...changes,
    },
  };
}
