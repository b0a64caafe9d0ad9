// The gRPC server of a node: carries calls to methods and answers back, within bounds.
//
// Owns: listening, limits, admission, draining, what is counted. Does not own: what a method means
// (dtm-methods.ts), what a reply is as a status (status.ts).
//
// The sockets are accepted here and handed to the library, so that connections can be counted and
// bounded, which it does not do.

import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net';
import {
  type ConnectionInjector,
  Server,
  type ServerCredentials,
  type ServerOptions,
  type ServerUnaryCall,
  type ServiceDefinition,
  status as Status,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Coordinator } from '../../engine/index.ts';
import type { NodeLog } from '../../raft/index.ts';
import { Admission, type AdmissionLimits } from '../api/index.ts';
import type { Health } from '../health.ts';
import type { Metrics } from '../metrics.ts';
import { errorReply, InvalidRequestError, invalidReply, type Reply } from '../requests/index.ts';
import { countArrivingBytes } from './arriving-bytes.ts';
import { type DtmMessage, type Method, newGidMethod } from './dtm-methods.ts';
import type { LoadedService } from './load-proto.ts';
import { hasTooManyFields } from './message-scan.ts';
import { errorResponse } from './status.ts';

export interface GrpcServerLimits extends AdmissionLimits {
  readonly bodyBytesMax: number;
  readonly connectionsMax: number;
  readonly grpcConnectionAgeMs: number;
  readonly jsonValuesMax: number;
  readonly receiveTimeoutMs: number;
}

export interface GrpcServerDeps {
  readonly service: LoadedService;
  /** TLS or plain text. */
  readonly credentials: ServerCredentials;
  readonly methods: readonly Method[];
  /** Beside dtm's service: health, reflection. */
  readonly others: readonly {
    readonly service: LoadedService;
    readonly implementation: UntypedServiceImplementation;
  }[];
  /** Undefined until the engine is open. */
  readonly coordinator: () => Coordinator | undefined;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: NodeLog;
  /** Ends what would keep connections open for ever. */
  readonly closing: () => void;
}

/** A message and how long it was on the wire. */
interface Received {
  readonly message: DtmMessage;
  readonly length: number;
  /** Why it was not decoded; the message is then an empty one. */
  readonly problem: string | undefined;
}
type Call = ServerUnaryCall<Received, object>;
type Answer = sendUnaryData<object>;

const STREAMS_PER_CONNECTION_MAX = 1_000;
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const CONNECTION_AGE_GRACE_MS = 60_000;
/** Connections close by themselves when their last answer has left; this is for those that do not. */
const CLOSE_GRACE_MS = 200;
const RETRY_MS = 1_000;
const MIB = 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);
/** Those that take a DtmRequest, whose field 3 is a message in turn (proto/dtmgimp.proto). */
const TRANSACTION_METHODS: ReadonlySet<string> = new Set([
  'Submit',
  'Prepare',
  'Abort',
  'PrepareWorkflow',
]);
const OPTIONS_FIELDS: ReadonlySet<number> = new Set([3]);
const NO_FIELDS: ReadonlySet<number> = new Set();

export class GrpcServer {
  readonly #deps: GrpcServerDeps;
  readonly #admission: Admission;
  readonly #server: Server;
  readonly #listener: NetServer;
  readonly #injector: ConnectionInjector;
  readonly #sockets = new Set<Socket>();
  #idle: (() => void) | undefined;
  #allClosed: (() => void) | undefined;

  constructor(limits: GrpcServerLimits, deps: GrpcServerDeps) {
    this.#deps = deps;
    this.#admission = new Admission(limits);
    const laneOfPath = new Map(
      deps.methods.map(({ name, lane }) => [deps.service.definition[name]?.path, lane]),
    );
    this.#server = new Server({
      ...serverOptions(limits),
      interceptors: [
        countArrivingBytes(limits, this.#admission, (path) => laneOfPath.get(path) ?? 'admission'),
      ],
    });
    this.#server.addService(
      measured(deps.service.definition, limits.jsonValuesMax),
      this.#implementation(),
    );
    for (const { service, implementation } of deps.others) {
      this.#server.addService(service.definition, implementation);
    }
    this.#injector = this.#server.createConnectionInjector(deps.credentials);
    this.#listener = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    this.#listener.maxConnections = limits.connectionsMax;
    deps.metrics.observeGrpc({
      requests: () => this.#admission.requests,
      bytes: () => this.#admission.bytes,
      connections: () => this.#sockets.size,
    });
  }

  async listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#listener.once('error', reject);
      this.#listener.listen(address.port, address.host, () => {
        this.#listener.off('error', reject);
        resolve();
      });
    });
    const bound = this.#listener.address();
    if (bound === null || typeof bound === 'string') throw new Error('not bound to a port');
    return bound;
  }

  /**
   * Accepts no further connection and asks clients to go elsewhere. Resolves once no call is in flight,
   * or after `timeoutMs`: how many were left.
   */
  async drain(timeoutMs: number): Promise<number> {
    this.#listener.close();
    this.#injector.drain(timeoutMs);
    if (this.#admission.requests > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#admission.requests;
  }

  async close(): Promise<void> {
    this.#deps.closing();
    this.#listener.close();
    this.#injector.drain(CLOSE_GRACE_MS);
    await this.#connectionsClosed(CLOSE_GRACE_MS);
    this.#server.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
    await this.#connectionsClosed(CLOSE_GRACE_MS);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#allClosed?.();
    });
    // What a broken connection reports is told by the end of its calls.
    socket.on('error', () => undefined);
    this.#injector.injectConnection(socket);
  }

  async #connectionsClosed(timeoutMs: number): Promise<void> {
    if (this.#sockets.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#allClosed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #implementation(): UntypedServiceImplementation {
    const implementation: UntypedServiceImplementation = {
      [newGidMethod.name]: (_call: Call, answer: Answer) => {
        const startedMs = performance.now();
        answer(null, newGidMethod.handle());
        this.#count(newGidMethod.name, startedMs, Status.OK, undefined);
      },
    };
    for (const method of this.#deps.methods) {
      implementation[method.name] = (call: Call, answer: Answer) => {
        void this.#serve(method, call, answer);
      };
    }
    return implementation;
  }

  async #serve(method: Method, call: Call, answer: Answer): Promise<void> {
    const startedMs = performance.now();
    const { message, length, problem } = call.request;
    if (!this.#admission.enter(method.lane)) {
      const reply = errorReply('OVERLOADED', 'too many calls in flight', {
        retryAfterMs: RETRY_MS,
      });
      this.#answer({ method, message }, reply, answer, startedMs);
      return;
    }
    const hasRoom = this.#admission.takeBytes(length, method.lane);
    const reply = hasRoom
      ? await this.#reply(method, message, problem)
      : errorReply('OVERLOADED', 'too many bytes in flight', { retryAfterMs: RETRY_MS });
    if (hasRoom) this.#admission.giveBytes(length);
    this.#answer({ method, message }, reply, answer, startedMs);
    this.#admission.leave();
    if (this.#admission.requests === 0) this.#idle?.();
  }

  async #reply(
    method: Method,
    message: DtmMessage,
    problem: string | undefined,
  ): Promise<Reply<object>> {
    if (problem !== undefined) return invalidReply(problem);
    const coordinator = this.#deps.coordinator();
    if (coordinator === undefined) {
      const more = { retryAfterMs: RETRY_MS };
      return this.#deps.health.draining
        ? errorReply('DRAINING', 'the node is stopping', more)
        : errorReply('STARTING', 'the node is starting', more);
    }
    try {
      return await method.handle(coordinator, message);
    } catch (error) {
      if (error instanceof InvalidRequestError) return invalidReply(error.message);
      this.#deps.log.error({ err: error, type: method.name }, 'a gRPC method failed');
      return errorReply('INTERNAL', 'internal error');
    }
  }

  #answer(
    { method, message }: { readonly method: Method; readonly message: DtmMessage },
    reply: Reply<object>,
    answer: Answer,
    startedMs: number,
  ): void {
    const error = errorResponse(reply, method.invalid(message));
    if (error === undefined) answer(null, reply.kind === 'success' ? reply.value : {});
    else answer(error);
    const code = reply.kind === 'error' ? reply.code : undefined;
    this.#count(method.name, startedMs, error?.code ?? Status.OK, code);
  }

  #count(name: string, startedMs: number, status: Status, code: string | undefined): void {
    this.#deps.metrics.callAnswered({
      api: name.toLowerCase(),
      status: Status[status],
      ok: status === Status.OK,
      durationMs: performance.now() - startedMs,
      code,
    });
  }
}

function serverOptions(limits: GrpcServerLimits): ServerOptions {
  return {
    'grpc.max_receive_message_length': limits.bodyBytesMax,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.enable_channelz': 0,
    // In megabytes: what one connection may make us hold beside the bodies that are counted.
    'grpc-node.max_session_memory': Math.max(16, Math.ceil((4 * limits.bodyBytesMax) / MIB)),
    ...(limits.grpcConnectionAgeMs === 0
      ? {}
      : {
          'grpc.max_connection_age_ms': limits.grpcConnectionAgeMs,
          'grpc.max_connection_age_grace_ms': CONNECTION_AGE_GRACE_MS,
        }),
  };
}

/** The same methods, with each request's length on the wire beside its message. */
function measured(definition: ServiceDefinition, fieldsMax: number): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => {
      const messages = TRANSACTION_METHODS.has(name) ? OPTIONS_FIELDS : NO_FIELDS;
      const requestDeserialize = (bytes: Buffer): Received => {
        const tooMany = hasTooManyFields(bytes, { fieldsMax, messages });
        return {
          message: method.requestDeserialize(tooMany ? NO_BYTES : bytes) as DtmMessage,
          length: bytes.length,
          problem: tooMany ? `the message has more than ${fieldsMax} fields` : undefined,
        };
      };
      return [name, { ...method, requestDeserialize }];
    }),
  );
}
