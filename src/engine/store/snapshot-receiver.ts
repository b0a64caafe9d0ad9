// Writes a received snapshot into a generation of its own, and proves it before anyone trusts it.
//
// Owns: the new directory until it is complete. Nothing of it is in use; whatever goes wrong, the
// directory is removed by the caller (store.ts).
//
// Steps: verify each chunk and value; write synced batches, each with its ledger entry, the last
// one with the meta; close; open again (LevelDB rewrites and syncs what it finds, the LevelDB
// finding L6); audit the ledger; read everything back against the stream's totals; close; sync the
// directories (bug F10).

import type { Configuration, SnapshotMeta } from '../../raft/index.ts';
import { auditState } from './audit.ts';
import type { StoreConfig } from './config.ts';
import { encodeConfiguration } from './configuration-codec.ts';
import { StoreError } from './errors.ts';
import {
  type Applied,
  CONFIGURATION_KEY,
  encodeMeta,
  KEYS_FROM,
  KEYS_TO,
  META_KEY,
  measureBatch,
  sealedPut,
  toBytes,
} from './layout.ts';
import { Ledger } from './ledger.ts';
import type { KvOpener, KvOperation, OrderedKv } from './ports.ts';
import { unseal } from './sealed-value.ts';
import {
  ChunkReader,
  damagedSnapshot,
  decodeHeader,
  decodeTotals,
  encodeRecord,
  RecordParser,
  RecordTally,
  type SnapshotTotals,
} from './snapshot-chunks.ts';

export interface ReceiveTarget {
  readonly opener: KvOpener;
  /** Does not exist yet. */
  readonly directory: string;
  readonly config: StoreConfig;
}

/** @throws {SNAPSHOT_DAMAGED, SNAPSHOT_CUT, STATE_FORMAT_UNKNOWN}, or what the stream throws. */
export async function receiveSnapshot(
  target: ReceiveTarget,
  meta: SnapshotMeta,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const kv = await target.opener.open(target.directory);
  let totals: SnapshotTotals;
  try {
    totals = await new SnapshotWriter(kv, meta, target.config).write(chunks);
  } finally {
    await kv.close();
  }
  const reopened = await target.opener.open(target.directory);
  try {
    await verify(reopened, meta, totals, target.config);
  } finally {
    await reopened.close();
  }
}

const FIRST_KEY = toBytes(KEYS_FROM);
const END_OF_KEYS = toBytes(KEYS_TO);

class SnapshotWriter {
  readonly #kv: OrderedKv;
  readonly #meta: SnapshotMeta;
  readonly #config: StoreConfig;
  readonly #ledger: Ledger;
  readonly #parser: RecordParser;
  readonly #tally = new RecordTally();
  #applied: Applied | undefined;
  #operations: KvOperation[] = [];
  #bytes = 0;
  #lastKey: Uint8Array = toBytes('');

  constructor(kv: OrderedKv, meta: SnapshotMeta, config: StoreConfig) {
    this.#kv = kv;
    this.#meta = meta;
    this.#config = config;
    this.#ledger = new Ledger({ ledger: 0, ledgerFirst: 1, bytesTotal: 0 }, config);
    this.#parser = new RecordParser(config.recordBytesMax);
  }

  async write(chunks: AsyncIterable<Uint8Array>): Promise<SnapshotTotals> {
    const reader = new ChunkReader();
    let totals: SnapshotTotals | undefined;
    for await (const bytes of chunks) {
      if (totals !== undefined) throw damagedSnapshot('a chunk follows the end');
      const { kind, payload } = reader.read(bytes);
      if ((kind === 'header') !== (this.#applied === undefined)) {
        throw damagedSnapshot('the header must come first, once');
      }
      switch (kind) {
        case 'header':
          this.#begin(payload);
          break;
        case 'data':
          await this.#data(payload);
          break;
        case 'end':
          totals = decodeTotals(payload);
          break;
      }
    }
    if (totals === undefined || this.#applied === undefined) {
      throw new StoreError('SNAPSHOT_CUT', 'the snapshot stream ended before its end');
    }
    if (!this.#parser.isAtBorder || !this.#tally.equals(totals)) {
      throw damagedSnapshot('the content does not match its totals');
    }
    await this.#flush(this.#applied, this.#meta.configuration);
    return totals;
  }

  #begin(payload: Uint8Array): void {
    const header = decodeHeader(payload);
    const { index, term, timeMs } = header.meta;
    if (index !== this.#meta.index || term !== this.#meta.term || timeMs !== this.#meta.timeMs) {
      throw damagedSnapshot('the stream is not the snapshot that was announced');
    }
    this.#applied = { index, term, timeMs, digest: header.digest };
  }

  async #data(payload: Uint8Array): Promise<void> {
    const applied = this.#applied;
    if (applied === undefined) return;
    for (const { key, sealed, record } of this.#parser.push(payload)) {
      if (
        Buffer.compare(key, this.#lastKey) <= 0 ||
        Buffer.compare(key, FIRST_KEY) < 0 ||
        Buffer.compare(key, END_OF_KEYS) >= 0 ||
        unseal(key, sealed) === undefined
      ) {
        throw damagedSnapshot('a record is damaged or out of order');
      }
      this.#tally.add(record);
      this.#lastKey = key;
      this.#operations.push({ type: 'put', key, value: sealed });
      this.#bytes += record.length;
      if (this.#bytes >= this.#config.receiveBatchBytes) await this.#flush(applied);
    }
  }

  async #flush(applied: Applied, configuration?: Configuration): Promise<void> {
    const operations = this.#operations;
    this.#operations = [];
    this.#bytes = 0;
    if (configuration !== undefined) {
      operations.push(sealedPut(CONFIGURATION_KEY, encodeConfiguration(configuration)));
    }
    const { operations: ledger, meta } = this.#ledger.next(applied, measureBatch(operations));
    operations.push(...ledger);
    if (configuration !== undefined) operations.push(sealedPut(META_KEY, encodeMeta(meta)));
    await this.#kv.batch(operations, { sync: true });
  }
}

async function verify(
  kv: OrderedKv,
  meta: SnapshotMeta,
  totals: SnapshotTotals,
  config: StoreConfig,
): Promise<void> {
  const audit = await auditState(kv, { lastMark: undefined, logBaseIndex: meta.index }, config);
  if (audit.kind === 'stale') throw damagedSnapshot(`written, but ${audit.detail}`);
  const tally = new RecordTally();
  let from = FIRST_KEY;
  for (;;) {
    const page = await kv.range({
      gte: from,
      lt: END_OF_KEYS,
      limit: config.pageKeysMax,
      bytesMax: config.pageBytesMax,
    });
    for (const pair of page) tally.add(encodeRecord(...pair));
    const last = page.at(-1);
    if (last === undefined) break;
    from = Buffer.concat([last[0], Uint8Array.of(0)]);
  }
  if (!tally.equals(totals)) throw damagedSnapshot('what was written is not what was received');
}
