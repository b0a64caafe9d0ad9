// Which segment files there are, and which of them make up the log.
//
// Owns: reading every header and linking them: each header names the segment and the very offset that
// it continues, so a segment written after damage makes what it does not continue void. Does not own:
// the batches (replay.ts).
//
// A file whose number is above the newest in the slots never had a batch (log-writer.ts W2): whatever
// stands in its header is a torn creation. One at or below it must be whole.

import type { NodeLog } from '../../raft/index.ts';
import type { Identity } from './identity.ts';
import { isThinSector, SECTOR_BYTES, segmentName, segmentSequence } from './layout.ts';
import type { FileHandle, Files } from './ports.ts';
import { Segment } from './segment.ts';
import {
  type ParsedSegmentHeader,
  parseSegmentHeader,
  SEGMENT_HEADER_BYTES_MAX,
} from './segment-header.ts';
import type { BlankSegment } from './segment-supply.ts';
import type { SlotFields } from './slots.ts';

export interface SurveyedFile {
  readonly sequence: number;
  readonly handle: FileHandle;
  readonly parsed: ParsedSegmentHeader | undefined;
}

export interface Survey {
  /** The log, oldest first. Empty when its first segment cannot be read. */
  readonly path: readonly Segment[];
  /** Neither part of the log nor blank: voided by a later segment, or cut off by damage. */
  readonly unlinked: readonly SurveyedFile[];
  /** Made ahead, never used. */
  readonly blanks: readonly BlankSegment[];
  /** The segment that must continue the path and is missing or unreadable. */
  readonly brokenAt: number | undefined;
  readonly highestSequence: number;
}

export interface SurveyInput {
  readonly files: Files;
  readonly directory: string;
  readonly identity: Identity;
  readonly facts: SlotFields;
  readonly logger: NodeLog;
}

async function readFile(input: SurveyInput, sequence: number): Promise<SurveyedFile> {
  const path = `${input.directory}/${segmentName(sequence)}`;
  const handle = await input.files.open(path, 'write');
  const head = await handle.readAt(0, SEGMENT_HEADER_BYTES_MAX);
  const parsed = parseSegmentHeader(head, sequence, input.identity);
  if (parsed === undefined && sequence > input.facts.activeSegment) {
    await eraseTornHeader(handle, head, input.logger);
  }
  return { sequence, handle, parsed };
}

async function eraseTornHeader(
  handle: FileHandle,
  head: Uint8Array,
  logger: NodeLog,
): Promise<void> {
  let solid = false;
  for (let at = 0; at < head.length; at += SECTOR_BYTES) if (!isThinSector(head, at)) solid = true;
  if (!solid) return;
  logger.warn({ file: handle.path }, 'erased the torn header of a segment that was never used');
  await handle.writeAt(0, new Uint8Array(head.length));
  await handle.datasync();
}

/** The newest segment that continues `sequence`: a later one voids the earlier ones. */
function successorOf(sequence: number, found: readonly SurveyedFile[]): SurveyedFile | undefined {
  return found.findLast(
    (file) => file.sequence > sequence && file.parsed?.header.previous?.sequence === sequence,
  );
}

function linkPath(found: readonly SurveyedFile[], first: number): readonly Segment[] {
  const path: Segment[] = [];
  let file = found.find((candidate) => candidate.sequence === first);
  while (file?.parsed !== undefined) {
    path.push(new Segment(file.handle, file.parsed));
    file = successorOf(file.sequence, found);
  }
  return path;
}

function findBreak(
  last: number | undefined,
  beyond: readonly SurveyedFile[],
  facts: SlotFields,
): number | undefined {
  if (last === undefined) return facts.firstSegment;
  const suspects = beyond
    .map((file) => file.parsed?.header.previous?.sequence ?? file.sequence)
    .filter((sequence) => sequence > last);
  if (facts.activeSegment > last) suspects.push(facts.activeSegment);
  return suspects.length === 0 ? undefined : Math.min(...suspects);
}

export async function survey(input: SurveyInput): Promise<Survey> {
  const { files, directory, facts } = input;
  const sequences: number[] = [];
  for (const name of await files.list(directory)) {
    const sequence = segmentSequence(name);
    if (sequence === undefined) continue;
    // What a compaction gave up but did not get to remove.
    if (sequence < facts.firstSegment) await files.remove(`${directory}/${name}`);
    else sequences.push(sequence);
  }
  const found: SurveyedFile[] = [];
  for (const sequence of sequences.sort((a, b) => a - b)) {
    found.push(await readFile(input, sequence));
  }
  const path = linkPath(found, facts.firstSegment);
  const linked = new Set(path.map((segment) => segment.sequence));
  const rest = found.filter((file) => !linked.has(file.sequence));
  const isBlank = (file: SurveyedFile): boolean =>
    file.parsed === undefined && file.sequence > facts.activeSegment;
  const last = path.at(-1)?.sequence;
  const unlinked = rest.filter((file) => !isBlank(file));
  return {
    path,
    unlinked,
    blanks: rest.filter(isBlank),
    brokenAt: findBreak(
      last,
      unlinked.filter((file) => file.sequence > (last ?? 0)),
      facts,
    ),
    highestSequence: Math.max(facts.activeSegment, ...sequences),
  };
}
