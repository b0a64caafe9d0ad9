// What stands where the log stops being readable: the decision between the cases of opening.
//
// Owns: clean, torn, damaged, ambiguous (docs/architecture.md §4 "Opening"). Does not own: what is
// done about it (opening.ts).
//
//   clean      nothing follows
//   torn       the last batch, with a sector inside its extent that never reached the disk
//   damaged    something valid follows, so this was acknowledged
//   ambiguous  the last batch, complete, and its checksums do not match
//
// A sector in which one bit stands is as blank as one in which none does: it is rot where nothing was
// written, and harmless (layout.ts isThinSector).

import { Buffer } from 'node:buffer';
import { type BatchHeader, type PlacedRecord, parseBatchHeader, parseRecords } from './batch.ts';
import { countZeroSectors, isThinSector, SECTOR_BYTES } from './layout.ts';
import type { SectorReader } from './segment.ts';

export type TailFinding =
  | { readonly kind: 'clean' }
  /** `[from, to)` is to be zeroed. */
  | { readonly kind: 'torn'; readonly from: number; readonly to: number }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'ambiguous' };

const CHUNK_BYTES = 1024 * 1024;
const ZEROES = Buffer.alloc(CHUNK_BYTES);

export interface ReadContext {
  readonly reader: SectorReader;
  readonly sequence: number;
  readonly seed: number;
}

/** Visits every sector from `from` to the end of the file that is not all zeroes. */
export async function forEachWrittenSector(
  reader: SectorReader,
  from: number,
  visit: (sector: Uint8Array, offset: number) => void,
): Promise<void> {
  for (let at = from; at < reader.sizeBytes; at += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, reader.sizeBytes - at);
    const chunk = await reader.read(at, length);
    if (ZEROES.subarray(0, length).equals(chunk)) continue;
    for (let within = 0; within < length; within += SECTOR_BYTES) {
      const sector = chunk.subarray(within, within + SECTOR_BYTES);
      if (!ZEROES.subarray(0, sector.length).equals(sector)) visit(sector, at + within);
    }
  }
}

interface Rest {
  readonly validBatch: boolean;
  /** A sector that is more than a stray bit. */
  readonly solid: boolean;
  /** Behind the last sector that is not all zeroes. */
  readonly writtenEnd: number;
}

async function scanRest(context: ReadContext, from: number): Promise<Rest> {
  let validBatch = false;
  let solid = false;
  let writtenEnd = from;
  await forEachWrittenSector(context.reader, from, (sector, offset) => {
    writtenEnd = offset + SECTOR_BYTES;
    if (isThinSector(sector, 0)) return;
    solid = true;
    const place = { segment: context.sequence, offset };
    if (parseBatchHeader(sector, place, context.seed) !== undefined) validBatch = true;
  });
  return { validBatch, solid, writtenEnd };
}

export type BatchReading =
  | {
      readonly kind: 'batch';
      readonly header: BatchHeader;
      readonly records: readonly PlacedRecord[];
    }
  /** Nothing valid; with the header when that much is. */
  | { readonly kind: 'none'; readonly header: BatchHeader | undefined };

/** The batch at `offset`, all checksums verified. @throws {UNKNOWN_FORMAT} */
export async function readBatch(context: ReadContext, offset: number): Promise<BatchReading> {
  const place = { segment: context.sequence, offset };
  const sector = await context.reader.read(offset, SECTOR_BYTES);
  const header = parseBatchHeader(sector, place, context.seed);
  if (header === undefined) return { kind: 'none', header: undefined };
  const bytes = await context.reader.read(offset, header.extentBytes);
  const records = parseRecords(bytes, header, offset);
  if (records === undefined) return { kind: 'none', header };
  return { kind: 'batch', header, records };
}

/** Decides what the unreadable place at `offset` of the last segment is. */
export async function inspectTail(
  context: ReadContext,
  offset: number,
  header: BatchHeader | undefined,
): Promise<TailFinding> {
  if (header !== undefined) {
    const extent = await context.reader.read(offset, header.extentBytes);
    const missing = countZeroSectors(extent) - header.thinSectors;
    const rest = await scanRest(context, offset + header.extentBytes);
    if (rest.validBatch) return { kind: 'damaged' };
    return missing > 0
      ? { kind: 'torn', from: offset, to: rest.writtenEnd }
      : { kind: 'ambiguous' };
  }
  const sector = (await context.reader.read(offset, SECTOR_BYTES)).slice();
  const rest = await scanRest(context, offset + SECTOR_BYTES);
  if (rest.validBatch) return { kind: 'damaged' };
  if (!isThinSector(sector, 0)) return { kind: 'ambiguous' };
  // Its first sector is one that is missing; the rest of the batch may stand.
  if (rest.solid) return { kind: 'torn', from: offset, to: rest.writtenEnd };
  return { kind: 'clean' };
}
