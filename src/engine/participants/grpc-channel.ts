// The channel of one gRPC target: connected when first used, replaced when it is of no use any more,
// closed when it has long been idle.
//
// Our circuit decides when to try a target again, so the library's own back-off must not come on top:
// a channel that could not connect, or that stayed silent while calls timed out, is replaced, and the
// next call dials anew. Calls that still run on a replaced channel end there.

import { type ChannelCredentials, type ChannelOptions, Client } from '@grpc/grpc-js';
import type { Connections } from './target.ts';

export class GrpcChannel implements Connections {
  readonly #address: string;
  readonly #credentials: ChannelCredentials;
  readonly #options: ChannelOptions;
  #current: Client | undefined;
  /** When the target last answered a call, in monotonic time. */
  answeredAtMs = -Infinity;
  /** When its last call ended, in monotonic time. */
  usedAtMs = -Infinity;

  constructor(target: string, credentials: ChannelCredentials, options: ChannelOptions) {
    // Named explicitly: otherwise a host called "unix" would be taken for a scheme.
    this.#address = `dns:${target}`;
    this.#credentials = credentials;
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#current !== undefined;
  }

  client(): Client {
    this.#current ??= new Client(this.#address, this.#credentials, this.#options);
    return this.#current;
  }

  /** No further call will use it. */
  retire(client: Client): void {
    if (this.#current === client) {
      this.#current = undefined;
      client.close();
    }
  }

  async close(): Promise<void> {
    this.#current?.close();
    this.#current = undefined;
  }
}
