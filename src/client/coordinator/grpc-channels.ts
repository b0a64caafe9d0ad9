// Unary gRPC calls of raw bytes, on one channel per target. grpc-js is loaded at the first call: who
// uses HTTP alone need not have it.

import type { ChannelCredentials, Client, Metadata, ServiceError } from '@grpc/grpc-js';
import { UsageError } from '../errors.ts';

export interface GrpcCall {
  readonly target: string;
  /** Such as /dtmgimp.Dtm/Submit. */
  readonly method: string;
  readonly message: Uint8Array;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type GrpcAnswer =
  | { readonly kind: 'ok'; readonly message: Uint8Array }
  | {
      readonly kind: 'status';
      readonly code: number;
      readonly details: string;
      /** Of Assent's catalogue; dtm sends none. */
      readonly assentCode?: string | undefined;
    };

type GrpcLibrary = typeof import('@grpc/grpc-js');

/** Made from grpc-js's `credentials`; without it the channel is not encrypted, as dtm's are. */
export type Credentials = ChannelCredentials;

/** Nested branches name targets that this program did not choose. */
const CHANNELS_MAX = 256;
const REPLY_BYTES_MAX = 64 * 1024 * 1024;

const asBuffer = (message: Uint8Array) =>
  Buffer.from(message.buffer, message.byteOffset, message.byteLength);

export class GrpcChannels {
  readonly #credentials: Credentials | undefined;
  /** By target; the one used last is the last. */
  readonly #clients = new Map<string, Client>();
  #library: Promise<GrpcLibrary> | undefined;

  constructor(credentials?: Credentials) {
    this.#credentials = credentials;
  }

  /** Of the channels that are kept open. */
  get count(): number {
    return this.#clients.size;
  }

  async call(call: GrpcCall): Promise<GrpcAnswer> {
    const library = await this.#load();
    const client = this.#client(library, call.target);
    const metadata = new library.Metadata();
    for (const [key, value] of Object.entries(call.metadata ?? {})) metadata.set(key, value);
    return await unary(client, call, metadata);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #load(): Promise<GrpcLibrary> {
    this.#library ??= import('@grpc/grpc-js').catch((error: unknown) => {
      throw new UsageError('gRPC needs the package @grpc/grpc-js', error);
    });
    return await this.#library;
  }

  #client(library: GrpcLibrary, target: string): Client {
    const known = this.#clients.get(target);
    if (known !== undefined) {
      this.#clients.delete(target);
      this.#clients.set(target, known);
      return known;
    }
    const [longestUnused] = this.#clients;
    if (longestUnused !== undefined && this.#clients.size >= CHANNELS_MAX) {
      // Its running calls go on to their end.
      longestUnused[1].close();
      this.#clients.delete(longestUnused[0]);
    }
    const credentials = this.#credentials ?? library.credentials.createInsecure();
    const client = new library.Client(target, credentials, {
      // The first call after an outage should not wait for a long back-off of the channel.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2_000,
      // The steps of a workflow come in one message.
      'grpc.max_receive_message_length': REPLY_BYTES_MAX,
      'grpc.service_config': '{"loadBalancingConfig":[{"round_robin":{}}]}',
    });
    this.#clients.set(target, client);
    return client;
  }
}

function statusOf({ code, details, metadata }: ServiceError): GrpcAnswer {
  const [assentCode] = metadata.get('assent-code');
  const known = typeof assentCode === 'string' ? assentCode : undefined;
  return { kind: 'status', code, details, assentCode: known };
}

function unary(client: Client, call: GrpcCall, metadata: Metadata): Promise<GrpcAnswer> {
  const { method, message, signal } = call;
  return new Promise((resolve) => {
    const done = (error: ServiceError | null, reply?: Uint8Array) => {
      signal?.removeEventListener('abort', cancel);
      if (error !== null) resolve(statusOf(error));
      else resolve({ kind: 'ok', message: reply ?? new Uint8Array() });
    };
    const running = client.makeUnaryRequest(
      method,
      asBuffer,
      (bytes: Buffer): Uint8Array => bytes,
      message,
      metadata,
      done,
    );
    const cancel = () => running.cancel();
    if (signal?.aborted === true) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
  });
}
