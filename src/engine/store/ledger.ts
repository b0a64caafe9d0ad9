// The gapless ledger of flushes: which entry the next batch writes, and which old ones it deletes.
//
// Each flush batch puts one entry with the next number. LevelDB can lose a batch out of the middle
// of its write-ahead logs without saying so (a rotated log that was not synced, a flipped bit); its
// entry is then missing, and the audit at open sees the gap.
//
// Invariant
//   LE1. Every batch that may still lie in a write-ahead log has its entry in the ledger. There
//        are at most two such logs (a log is closed only when the table before it is written), of
//        at most one write buffer and one batch each; and opening rewrites both into tables, so
//        only batches since the last open count.

import type { StoreConfig } from './config.ts';
import { type Applied, encodeLedger, ledgerKey, type StateMeta, sealedPut } from './layout.ts';
import type { KvOperation } from './ports.ts';

/** What ledger entry and meta add to a batch, at least: keys of 16 and 5, values of 32 and 62. */
const BOOKKEEPING_BYTES = 115;
/** Deletes of old entries in one batch at most. */
const DELETES_MAX = 1_000;

export class Ledger {
  readonly #config: Pick<StoreConfig, 'ledgerKeepMin' | 'writeBufferBytes'>;
  /** Number of the last batch before this open. */
  readonly #opened: number;
  /** `bytesTotal` after each batch since the open. */
  #totals: number[] = [];
  /** How many of the oldest were forgotten from `#totals`. */
  #forgotten = 0;
  #largestBatchBytes = 0;
  #last: number;
  #first: number;
  #bytesTotal: number;

  constructor(
    meta: Pick<StateMeta, 'ledger' | 'ledgerFirst' | 'bytesTotal'>,
    config: Pick<StoreConfig, 'ledgerKeepMin' | 'writeBufferBytes'>,
  ) {
    this.#config = config;
    this.#opened = meta.ledger;
    this.#last = meta.ledger;
    this.#first = meta.ledgerFirst;
    this.#bytesTotal = meta.bytesTotal;
  }

  get last(): number {
    return this.#last;
  }

  /** What the next batch adds to the ledger, and the meta that goes with it. */
  next(
    applied: Applied,
    batch: { readonly bytes: number; readonly keysCrc: number },
  ): { readonly operations: readonly KvOperation[]; readonly meta: StateMeta } {
    this.#last += 1;
    const bytes = batch.bytes + BOOKKEEPING_BYTES;
    this.#bytesTotal += bytes;
    this.#largestBatchBytes = Math.max(this.#largestBatchBytes, bytes);
    this.#totals.push(this.#bytesTotal);
    const operations: KvOperation[] = [
      sealedPut(
        ledgerKey(this.#last),
        encodeLedger({
          ledger: this.#last,
          appliedIndex: applied.index,
          digest: applied.digest,
          keysCrc: batch.keysCrc,
          bytesTotal: this.#bytesTotal,
        }),
      ),
    ];
    while (operations.length <= DELETES_MAX && this.#mayForget(this.#first)) {
      operations.push({ type: 'del', key: ledgerKey(this.#first) });
      this.#first += 1;
    }
    this.#trim();
    return {
      operations,
      meta: {
        ...applied,
        ledger: this.#last,
        ledgerFirst: this.#first,
        bytesTotal: this.#bytesTotal,
      },
    };
  }

  #mayForget(ledger: number): boolean {
    if (this.#last - ledger < this.#config.ledgerKeepMin) return false;
    if (ledger <= this.#opened) return true;
    const total = this.#totals[ledger - this.#opened - 1 - this.#forgotten] ?? 0;
    const cover = 2 * (this.#config.writeBufferBytes + this.#largestBatchBytes);
    return this.#bytesTotal - total > cover;
  }

  #trim(): void {
    const spare = this.#first - this.#opened - 1 - this.#forgotten;
    if (spare < DELETES_MAX) return;
    this.#totals = this.#totals.slice(spare);
    this.#forgotten += spare;
  }
}
