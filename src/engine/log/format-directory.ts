// Making a data directory, once in its life.
//
// Owns: the order in which formatting becomes durable. Does not own: who the node is (the caller
// draws the birth id).
//
// Invariants: the identity file is the last to appear, so a directory is formatted wholly or not at
// all; what an interrupted formatting left is told by its marker and may be overwritten. A node never
// formats a directory by itself: an empty directory may be one that was wiped, and would vote twice.

import { LogError } from './errors.ts';
import {
  encodeIdentity,
  type Identity,
  identitySeed,
  initialConfiguration,
  writeIdentity,
} from './identity.ts';
import {
  FORMATTING_NAME,
  IDENTITY_NAME,
  SLOTS_NAME,
  segmentName,
  segmentSequence,
} from './layout.ts';
import type { FileHandle, Files } from './ports.ts';
import { encodeSegmentHeader } from './segment-header.ts';
import { fillWithZeroes } from './segment-supply.ts';
import { SlotFile } from './slots.ts';

const FIRST_SEGMENT = 1;
const IDENTITY_WRITTEN_NAME = 'identity.new';
const SLICE_BYTES = 1024 * 1024;

export interface FormatOptions {
  /** Size of a segment file; the one that the log is opened with. */
  readonly segmentBytes: number;
}

async function withNewFile(
  files: Files,
  path: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const handle = await files.open(path, 'create');
  try {
    await write(handle);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** Removes what an interrupted formatting left. @throws {ALREADY_FORMATTED} */
async function clear(files: Files, directory: string): Promise<void> {
  const names = await files.list(directory);
  const ours = names.filter(
    (name) =>
      [IDENTITY_NAME, SLOTS_NAME, IDENTITY_WRITTEN_NAME, FORMATTING_NAME].includes(name) ||
      segmentSequence(name) !== undefined,
  );
  if (ours.length === 0) return;
  if (names.includes(IDENTITY_NAME) || !names.includes(FORMATTING_NAME)) {
    throw new LogError('ALREADY_FORMATTED', `${directory} holds the data of a node`);
  }
  for (const name of ours) {
    if (name !== FORMATTING_NAME) await files.remove(`${directory}/${name}`);
  }
}

/**
 * Resolves when `directory` is the durable, empty home of `identity`.
 * @throws {ALREADY_FORMATTED}; errors of the file system (run it again).
 */
export async function formatDirectory(
  files: Files,
  directory: string,
  identity: Identity,
  options: FormatOptions,
): Promise<void> {
  const at = (name: string): string => `${directory}/${name}`;
  encodeIdentity(identity);
  await files.makeDirectory(directory);
  await clear(files, directory);
  if (!(await files.list(directory)).includes(FORMATTING_NAME)) {
    await withNewFile(files, at(FORMATTING_NAME), () => Promise.resolve());
  }
  await files.syncDirectory(directory);
  const hardState = { term: 0, vote: undefined };
  const header = encodeSegmentHeader(
    {
      sequence: FIRST_SEGMENT,
      hardState,
      base: { index: 0, term: 0, timeMs: 0, configuration: initialConfiguration(identity) },
      generation: 0,
      flushMark: undefined,
      installed: undefined,
      recovering: undefined,
      previous: undefined,
    },
    identity,
  );
  for (const sequence of [FIRST_SEGMENT, FIRST_SEGMENT + 1]) {
    await withNewFile(files, at(segmentName(sequence)), async (handle) => {
      await fillWithZeroes(handle, 0, options.segmentBytes, SLICE_BYTES);
      if (sequence === FIRST_SEGMENT) await handle.writeAt(0, header);
    });
  }
  await withNewFile(files, at(SLOTS_NAME), (handle) =>
    SlotFile.format(handle, identitySeed(identity), {
      bootId: 0,
      hardState,
      firstSegment: FIRST_SEGMENT,
      activeSegment: FIRST_SEGMENT,
      generation: 0,
    }),
  );
  await withNewFile(files, at(IDENTITY_WRITTEN_NAME), (handle) => writeIdentity(handle, identity));
  await files.syncDirectory(directory);
  await files.rename(at(IDENTITY_WRITTEN_NAME), at(IDENTITY_NAME));
  await files.syncDirectory(directory);
  await files.remove(at(FORMATTING_NAME));
  await files.syncDirectory(directory);
}
