// An open key-value store that is closed when its last user is done with it.
//
// Reads and outgoing snapshots outlive the moment in which a generation is replaced; LevelDB must
// not be closed under them.

import { StoreError } from './errors.ts';
import type { OrderedKv } from './ports.ts';

export class KvLease {
  readonly #kv: OrderedKv;
  #users = 0;
  #retired = false;
  #idle: (() => void) | undefined;

  constructor(kv: OrderedKv) {
    this.#kv = kv;
  }

  /** The store; `release` must follow exactly once. @throws {STORE_CLOSED} */
  acquire(): OrderedKv {
    if (this.#retired) throw new StoreError('STORE_CLOSED', 'the state generation is closed');
    this.#users += 1;
    return this.#kv;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#idle?.();
  }

  async use<T>(run: (kv: OrderedKv) => Promise<T>): Promise<T> {
    const kv = this.acquire();
    try {
      return await run(kv);
    } finally {
      this.release();
    }
  }

  /** Lets no new user in, waits for the others, closes. */
  async retire(): Promise<void> {
    this.#retired = true;
    if (this.#users > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#kv.close();
  }
}
