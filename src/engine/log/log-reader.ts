// Reading entries back from the segment files, for peers that fell behind.
//
// Owns: choosing how much to read at once and verifying every record that comes back. Does not own:
// where entries lie (entry-index.ts).

import { decodeEntry, type Entry, type LogIndex } from '../../raft/index.ts';
import { parseRecord, RECORD_HEADER_BYTES } from './batch.ts';
import type { EntryLocation } from './entry-index.ts';
import { LogError } from './errors.ts';
import { alignUp, segmentName } from './layout.ts';
import type { LogWriter } from './log-writer.ts';
import type { Segment } from './segment.ts';

/** Void records and batch headers between two entries cost a second read when they are larger. */
const GAP_BYTES_MAX = 64 * 1024;

interface Wanted {
  readonly index: LogIndex;
  readonly term: number | undefined;
  readonly location: EntryLocation;
  readonly segment: Segment;
}

function endOf(location: EntryLocation): number {
  return location.offset + RECORD_HEADER_BYTES + alignUp(location.payloadBytes, 8);
}

function choose(writer: LogWriter, from: LogIndex, to: LogIndex, bytesMax: number): Wanted[] {
  const { state } = writer;
  const wanted: Wanted[] = [];
  let bytes = 0;
  for (let index = from; index < Math.min(to, state.lastIndex + 1); index += 1) {
    const location = state.entries.find(index);
    const segment = location === undefined ? undefined : writer.segment(location.segment);
    if (location === undefined || segment === undefined) break;
    if (wanted.length > 0) {
      bytes += location.payloadBytes;
      if (bytes > bytesMax) break;
    }
    wanted.push({ index, term: state.termAt(index), location, segment });
  }
  return wanted;
}

/** Entries that lie close enough in one file to be read together. */
function spans(wanted: readonly Wanted[]): readonly (readonly Wanted[])[] {
  const groups: Wanted[][] = [];
  let end = 0;
  for (const item of wanted) {
    const group = groups.at(-1);
    const near = item.location.offset - end <= GAP_BYTES_MAX;
    if (group !== undefined && near && group[0]?.segment === item.segment) group.push(item);
    else groups.push([item]);
    end = endOf(item.location);
  }
  return groups;
}

/**
 * Durable entries `[from, to)`: at least one if any, at most `bytesMax` beyond the first; none when
 * `from` is compacted or not yet durable.
 * @throws {LOG_DAMAGED} naming file and offset.
 */
export async function readEntries(
  writer: LogWriter,
  from: LogIndex,
  to: LogIndex,
  bytesMax: number,
): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  for (const group of spans(choose(writer, from, to, bytesMax))) {
    const first = group[0];
    const last = group.at(-1);
    if (first === undefined || last === undefined) continue;
    const start = first.location.offset;
    const bytes = await first.segment.readAt(start, endOf(last.location) - start);
    for (const item of group) entries.push(verified(item, bytes, item.location.offset - start));
  }
  return entries;
}

function verified(item: Wanted, bytes: Uint8Array, at: number): Entry {
  const record = parseRecord(bytes, at)?.record;
  const { index, term, location } = item;
  if (record?.kind !== 'entry' || record.index !== index || record.term !== term) {
    const file = segmentName(location.segment);
    throw new LogError(
      'LOG_DAMAGED',
      `entry ${index} of term ${String(term)} is damaged in ${file} at offset ${location.offset}`,
    );
  }
  return decodeEntry(record.payload);
}
