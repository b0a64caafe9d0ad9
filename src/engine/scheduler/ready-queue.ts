// Transactions that were just applied and are to be driven, in order of arrival, kept whole so that
// they are driven without being read back. Bounded in number and in bytes of payload.

import type { Transaction } from '../machine/index.ts';
import { GidQueue } from './gid-queue.ts';
import { payloadBytesOf } from './run.ts';

export class ReadyQueue {
  readonly #countMax: number;
  readonly #bytesMax: number;
  readonly #ready = new Map<
    string,
    { readonly transaction: Transaction; readonly bytes: number }
  >();
  readonly #order = new GidQueue();
  #bytes = 0;

  constructor(limits: { readonly countMax: number; readonly bytesMax: number }) {
    this.#countMax = limits.countMax;
    this.#bytesMax = limits.bytesMax;
  }

  get size(): number {
    return this.#ready.size;
  }

  has(gid: string): boolean {
    return this.#ready.has(gid);
  }

  /** A newer state takes the place of an older one. False: there is no room. */
  set(transaction: Transaction): boolean {
    const { gid } = transaction.definition;
    const before = this.#ready.get(gid);
    const bytes = payloadBytesOf(transaction);
    const fits =
      before !== undefined ||
      (this.#ready.size < this.#countMax && this.#bytes + bytes <= this.#bytesMax);
    if (fits) {
      this.#bytes += bytes - (before?.bytes ?? 0);
      this.#ready.set(gid, { transaction, bytes });
      this.#order.add(gid);
    }
    return fits;
  }

  delete(gid: string): void {
    const ready = this.#ready.get(gid);
    if (ready !== undefined) {
      this.#bytes -= ready.bytes;
      this.#ready.delete(gid);
      this.#order.delete(gid);
    }
  }

  take(): Transaction | undefined {
    const gid = this.#order.take();
    const transaction = gid === undefined ? undefined : this.#ready.get(gid)?.transaction;
    if (gid !== undefined) {
      this.delete(gid);
    }
    return transaction;
  }

  clear(): void {
    this.#ready.clear();
    this.#order.clear();
    this.#bytes = 0;
  }
}
