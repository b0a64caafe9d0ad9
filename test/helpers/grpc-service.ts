// Real loopback gRPC services for tests of participants: they take any method, and see bytes and
// metadata as they came.

import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type status as Status,
  type sendUnaryData,
} from '@grpc/grpc-js';

export interface SeenCall {
  readonly path: string;
  readonly message: Buffer;
  readonly metadata: Metadata;
  readonly deadlineMs: number;
  readonly cancelled: () => boolean;
}

export type GrpcAnswer = (call: SeenCall, answer: sendUnaryData<Buffer>) => void;

export interface GrpcTestService {
  /** host:port */
  readonly address: string;
  readonly seen: SeenCall[];
  close(): void;
}

const bytes = (message: Buffer): Buffer => message;

function serviceOf(paths: readonly string[]): ServiceDefinition {
  return Object.fromEntries(
    paths.map((path) => [
      path,
      {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: bytes,
        requestDeserialize: bytes,
        responseSerialize: bytes,
        responseDeserialize: bytes,
      },
    ]),
  );
}

export async function startGrpcService(
  answer: GrpcAnswer,
  options: {
    readonly paths?: readonly string[];
    readonly credentials?: ServerCredentials;
    readonly port?: number;
  } = {},
): Promise<GrpcTestService> {
  const { paths = ['/busi.Busi/TransIn'], credentials, port = 0 } = options;
  const seen: SeenCall[] = [];
  const server = new Server();
  const handler = (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void => {
    const one: SeenCall = {
      path: call.getPath(),
      message: call.request,
      metadata: call.metadata,
      deadlineMs: Number(call.getDeadline()) - Date.now(),
      cancelled: () => call.cancelled,
    };
    seen.push(one);
    answer(one, done);
  };
  server.addService(serviceOf(paths), Object.fromEntries(paths.map((path) => [path, handler])));
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(
      `127.0.0.1:${port}`,
      credentials ?? ServerCredentials.createInsecure(),
      (error, at) => (error === null ? resolve(at) : reject(error)),
    );
  });
  return { address: `127.0.0.1:${bound}`, seen, close: () => server.forceShutdown() };
}

export const answerOk: GrpcAnswer = (_call, answer) => answer(null, Buffer.alloc(0));

export function answerStatus(code: Status, details: string): GrpcAnswer {
  return (_call, answer) => answer({ code, details, metadata: new Metadata() });
}
