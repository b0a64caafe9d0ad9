// A snapshot being sent: an image of LevelDB at exactly the flushed index, as checksummed chunks.
//
// Apply and flushes go on meanwhile; LevelDB keeps the image (the LevelDB finding L12). Each value
// is verified as it is read: a damaged replica must not spread.

import type { SnapshotMeta, SnapshotSource } from '../../raft/index.ts';
import type { StoreConfig } from './config.ts';
import { KEYS_FROM, KEYS_TO, toBytes } from './layout.ts';
import type { KvSnapshot } from './ports.ts';
import type { SealedReader } from './sealed-reader.ts';
import {
  ChunkWriter,
  encodeHeader,
  encodeRecord,
  encodeTotals,
  RecordTally,
  type SnapshotHeader,
} from './snapshot-chunks.ts';

export class SnapshotSender implements SnapshotSource {
  readonly #header: SnapshotHeader;
  readonly #snapshot: KvSnapshot;
  readonly #reader: SealedReader;
  readonly #config: StoreConfig;
  readonly #onClose: () => void;
  #closed = false;

  constructor(
    header: SnapshotHeader,
    parts: { readonly snapshot: KvSnapshot; readonly reader: SealedReader },
    config: StoreConfig,
    onClose: () => void,
  ) {
    this.#header = header;
    this.#snapshot = parts.snapshot;
    this.#reader = parts.reader;
    this.#config = config;
    this.#onClose = onClose;
  }

  get meta(): SnapshotMeta {
    return this.#header.meta;
  }

  /** @throws {STATE_DAMAGED, STATE_UNREADABLE} */
  async *chunks(): AsyncGenerator<Uint8Array, void> {
    const writer = new ChunkWriter();
    yield writer.write('header', encodeHeader(this.#header));
    const tally = new RecordTally();
    let pending: Uint8Array[] = [];
    let pendingBytes = 0;
    for await (const record of this.#records()) {
      tally.add(record);
      pending.push(record);
      pendingBytes += record.length;
      if (pendingBytes < this.#config.chunkBytesMax) continue;
      const bytes = Buffer.concat(pending);
      let position = 0;
      while (bytes.length - position >= this.#config.chunkBytesMax) {
        const end = position + this.#config.chunkBytesMax;
        yield writer.write('data', bytes.subarray(position, end));
        position = end;
      }
      pending = [bytes.subarray(position)];
      pendingBytes = bytes.length - position;
    }
    if (pendingBytes > 0) yield writer.write('data', Buffer.concat(pending));
    yield writer.write('end', encodeTotals(tally.totals));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#snapshot.close();
    this.#onClose();
  }

  async *#records(): AsyncGenerator<Uint8Array, void> {
    let from = toBytes(KEYS_FROM);
    try {
      for (;;) {
        const page = await this.#snapshot.range({
          gte: from,
          lt: toBytes(KEYS_TO),
          limit: this.#config.pageKeysMax,
          bytesMax: this.#config.pageBytesMax,
        });
        for (const pair of page) {
          this.#reader.open(pair);
          yield encodeRecord(...pair);
        }
        const last = page.at(-1);
        if (last === undefined) return;
        from = Buffer.concat([last[0], Uint8Array.of(0)]);
      }
    } catch (error) {
      throw this.#reader.failure(error, KEYS_FROM);
    }
  }
}
