// A stale or damaged state that the log of this node cannot rebuild: kept until the node is healed.
//
// Owns: one directory beside the state. Where no peer heals this node (it is alone, or a majority lost
// as much), it may be the last copy, and what becomes of it is for a person to decide.

import type { Files } from '../log/index.ts';
import { generationPath } from '../store/index.ts';

const NAME = /^state-\d+[.]damaged$/;

async function asideOf(files: Files, directory: string): Promise<readonly string[]> {
  return (await files.list(directory)).filter((name) => NAME.test(name));
}

/** Moves the state out of the way. The first one set aside stays: a later one holds less. */
export async function setStateAside(
  files: Files,
  directory: string,
  generation: number,
): Promise<void> {
  const path = generationPath(directory, generation);
  const isThere = (await files.list(directory)).some((name) => path === `${directory}/${name}`);
  if (!isThere || (await asideOf(files, directory)).length > 0) return;
  await files.rename(path, `${path}.damaged`);
  await files.syncDirectory(directory);
}

/** The node is whole again. */
export async function dropStateAside(files: Files, directory: string): Promise<void> {
  const names = await asideOf(files, directory);
  for (const name of names) await files.removeDirectory(`${directory}/${name}`);
  if (names.length > 0) await files.syncDirectory(directory);
}
