// dtm's gRPC API through the published library: one channel to each node, and every answer held to P7.

import { fileURLToPath } from 'node:url';
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { expect } from 'vitest';
import type { LocalCluster } from '../../../bench/lib/local-cluster.ts';

export interface GrpcReply {
  readonly code: Status;
  readonly message: string;
  readonly metadata: Metadata;
  readonly reply: Readonly<Record<string, unknown>>;
}

interface Method {
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Readonly<Record<string, unknown>>;
}

export function loadProto(file: string): PackageDefinition {
  return loadSync(fileURLToPath(new URL(`../../../proto/${file}`, import.meta.url)), {
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
}

const DTM = methodsOf('dtmgimp.proto', 'dtmgimp.Dtm');
const HEALTH = methodsOf('health.proto', 'grpc.health.v1.Health');

function methodsOf(file: string, service: string): Readonly<Record<string, Method>> {
  return loadProto(file)[service] as unknown as Readonly<Record<string, Method>>;
}

function holdToP7(code: Status, message: string): void {
  if (code === Status.ABORTED) expect(message).toMatch(/FAILURE$/);
  else if (code === Status.FAILED_PRECONDITION) expect(message).toBe('ONGOING');
  else expect(message).not.toMatch(/FAILURE|ONGOING/);
}

export class GrpcClient {
  readonly #channels: ReadonlyMap<number, Client>;
  readonly #nodes: number;
  #turn = 0;

  constructor(cluster: LocalCluster, security: ChannelCredentials = credentials.createInsecure()) {
    const channels = cluster.nodes.map(({ id, grpcAddress }): [number, Client] => [
      id,
      new Client(grpcAddress, security, {
        'grpc.use_local_subchannel_pool': 1,
        // An address is no name in TLS.
        'grpc.ssl_target_name_override': 'localhost',
      }),
    ]);
    this.#channels = new Map(channels);
    this.#nodes = cluster.nodes.length;
  }

  /** To the node of `nodeId`, or the next one in turn. */
  async call(
    method: string,
    message: object,
    options: { readonly nodeId?: number; readonly timeoutMs?: number } = {},
  ): Promise<GrpcReply> {
    const reply = await this.#unary(DTM[method], message, options);
    holdToP7(reply.code, reply.message);
    return reply;
  }

  /** The name of the serving status, or the code of the refusal. */
  async health(nodeId: number, service = ''): Promise<unknown> {
    const { code, reply } = await this.#unary(HEALTH['Check'], { service }, { nodeId });
    return code === Status.OK ? reply['status'] : code;
  }

  channel(nodeId: number): Client {
    const channel = this.#channels.get(nodeId);
    if (channel === undefined) throw new Error(`no node ${nodeId}`);
    return channel;
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  #unary(
    method: Method | undefined,
    message: object,
    options: { readonly nodeId?: number; readonly timeoutMs?: number },
  ): Promise<GrpcReply> {
    if (method === undefined) throw new Error('no such method');
    this.#turn += 1;
    const channel = this.channel(options.nodeId ?? 1 + (this.#turn % this.#nodes));
    const deadline = Date.now() + (options.timeoutMs ?? 30_000);
    return new Promise((resolve) => {
      const done = (error: ServiceError | null, reply?: GrpcReply['reply']): void =>
        resolve({
          code: error?.code ?? Status.OK,
          message: error?.details ?? '',
          metadata: error?.metadata ?? new Metadata(),
          reply: reply ?? {},
        });
      const { path, requestSerialize, responseDeserialize } = method;
      const metadata = new Metadata();
      channel.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        metadata,
        { deadline },
        done,
      );
    });
  }
}

type Body = Readonly<Record<string, unknown>>;

const ROUTE_METHODS: Readonly<Record<string, string>> = {
  prepare: 'Prepare',
  submit: 'Submit',
  abort: 'Abort',
  registerBranch: 'RegisterBranch',
  prepareWorkflow: 'PrepareWorkflow',
};

/** What a body of the HTTP API is called and carries over gRPC (dtm reference §3.2). */
export function grpcCallOf(route: string, body: Body): { method: string; message: object } {
  const method = ROUTE_METHODS[route];
  if (method === undefined) throw new Error(`${route} has no method`);
  return { method, message: route === 'registerBranch' ? branchRequest(body) : dtmRequest(body) };
}

function bytesOf(text: unknown): Buffer {
  return Buffer.from(typeof text === 'string' ? text : '');
}

function dtmRequest(body: Body): object {
  return {
    Gid: body['gid'],
    TransType: body['trans_type'],
    CustomedData: body['custom_data'],
    BinPayloads: ((body['payloads'] ?? []) as readonly string[]).map(bytesOf),
    QueryPrepared: body['query_prepared'],
    Steps: body['steps'] === undefined ? '' : JSON.stringify(body['steps']),
    ReqExtra: body['req_extra'],
    RollbackReason: body['rollback_reason'],
    TransOptions: {
      WaitResult: body['wait_result'],
      TimeoutToFail: body['timeout_to_fail'],
      RetryInterval: body['retry_interval'],
      RequestTimeout: body['request_timeout'],
      RetryLimit: body['retry_limit'],
      BranchHeaders: body['branch_headers'],
    },
  };
}

function branchRequest({ gid, trans_type, branch_id, data, ...texts }: Body): object {
  return {
    Gid: gid,
    TransType: trans_type,
    BranchID: branch_id,
    Data: texts,
    BusiPayload: bytesOf(data),
  };
}
