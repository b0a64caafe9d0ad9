// Files of void segments, kept for whoever may need them.
//
// Owns: moving them out of the log's way, and the bound on how many stay.
//
// They may be all that is left (a single node, a majority that lost as much), so what the first damage
// cut off stays whole until the node is healed. Of what is cut off by damage on damage meanwhile, and
// of everything once the node is whole again, only a few stay.

import { DAMAGED_SUFFIX, segmentName, segmentSequence } from './layout.ts';
import type { WriterContext } from './log-writer.ts';
import type { FileHandle } from './ports.ts';

export interface VoidSegment {
  readonly sequence: number;
  readonly handle: FileHandle;
}

async function filesAside({ files, directory }: WriterContext): Promise<readonly string[]> {
  return (await files.list(directory)).filter(
    (name) =>
      name.endsWith(DAMAGED_SUFFIX) &&
      segmentSequence(name.slice(0, -DAMAGED_SUFFIX.length)) !== undefined,
  );
}

/** Puts the files of void segments aside, those that are still in their place. */
export async function putAside(
  { files, directory }: WriterContext,
  voided: readonly VoidSegment[],
): Promise<void> {
  if (voided.length === 0) return;
  const names = new Set(await files.list(directory));
  for (const { sequence, handle } of voided) {
    const name = segmentName(sequence);
    if (!names.has(name)) continue;
    await handle.close();
    await files.rename(`${directory}/${name}`, `${directory}/${name}${DAMAGED_SUFFIX}`);
  }
  await files.syncDirectory(directory);
}

/** A node that is whole keeps the newest few. */
export async function dropOldAside(context: WriterContext): Promise<void> {
  const aside = await filesAside(context);
  const excess = Math.max(0, aside.length - context.config.damagedFilesMax);
  await remove(context, aside.slice(0, excess));
}

/** A node that was damaged again before it was healed keeps what it had, and fills up to a few. */
export async function dropLaterAside(
  context: WriterContext,
  voided: readonly VoidSegment[],
): Promise<void> {
  const aside = await filesAside(context);
  const later = voided
    .map(({ sequence }) => segmentName(sequence) + DAMAGED_SUFFIX)
    .filter((name) => aside.includes(name));
  const room = context.config.damagedFilesMax - (aside.length - later.length);
  await remove(context, later.slice(Math.max(0, room)));
}

async function remove(
  { files, directory }: WriterContext,
  names: readonly string[],
): Promise<void> {
  for (const name of names) await files.remove(`${directory}/${name}`);
  if (names.length > 0) await files.syncDirectory(directory);
}
