// A server of dtmgimp.Dtm that answers what the test says, and remembers every request: the bytes, and
// what the definition in proto/ makes of them.

import { fileURLToPath } from 'node:url';
import { Metadata, type ServiceDefinition, type status as Status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type GrpcTestService, startGrpcService } from '../../../helpers/grpc-service.ts';

export interface GrpcReceived {
  readonly method: string;
  readonly bytes: Buffer;
  readonly message: Readonly<Record<string, unknown>>;
  readonly metadata: Metadata;
}

export type GrpcReply =
  | { readonly kind: 'reply'; readonly message: object }
  | {
      readonly kind: 'status';
      readonly code: Status;
      readonly details: string;
      assentCode?: string;
    }
  | { readonly kind: 'silence' };

export const EMPTY_REPLY: GrpcReply = { kind: 'reply', message: {} };

const definitions = loadSync(
  fileURLToPath(new URL('../../../../proto/dtmgimp.proto', import.meta.url)),
  { keepCase: true, longs: Number, defaults: true },
);
const service = definitions['dtmgimp.Dtm'] as ServiceDefinition;

function definitionOf(path: string) {
  const found = Object.values(service).find((method) => method.path === path);
  if (found === undefined) throw new Error(`no method ${path}`);
  return found;
}

export class FakeGrpcDtm {
  readonly received: GrpcReceived[] = [];
  respond: (received: GrpcReceived) => GrpcReply = () => EMPTY_REPLY;
  #service: GrpcTestService | undefined;

  static async start(respond?: FakeGrpcDtm['respond']): Promise<FakeGrpcDtm> {
    const fake = new FakeGrpcDtm();
    if (respond !== undefined) fake.respond = respond;
    const paths = Object.values(service).map(({ path }) => path);
    fake.#service = await startGrpcService(
      (call, answer) => {
        const { requestDeserialize, responseSerialize } = definitionOf(call.path);
        const received: GrpcReceived = {
          method: call.path.slice(call.path.lastIndexOf('/') + 1),
          bytes: call.message,
          message: requestDeserialize(call.message) as GrpcReceived['message'],
          metadata: call.metadata,
        };
        fake.received.push(received);
        const reply = fake.respond(received);
        if (reply.kind === 'silence') return;
        if (reply.kind === 'reply') {
          answer(null, responseSerialize(reply.message));
          return;
        }
        const metadata = new Metadata();
        if (reply.assentCode !== undefined) metadata.set('assent-code', reply.assentCode);
        answer({ code: reply.code, details: reply.details, metadata });
      },
      { paths },
    );
    return fake;
  }

  get address(): string {
    return this.#service?.address ?? '';
  }

  get methods(): string[] {
    return this.received.map(({ method }) => method);
  }

  /** The only request of `method`. */
  one(method: string): GrpcReceived {
    const [found, ...more] = this.received.filter((received) => received.method === method);
    if (found === undefined || more.length > 0) throw new Error(`${more.length} more of ${method}`);
    return found;
  }

  stop(): void {
    this.#service?.close();
  }
}
