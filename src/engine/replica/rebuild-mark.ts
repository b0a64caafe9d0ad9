// The note that a replica leaves itself: the state must be rebuilt at the next start.
//
// Owns: one empty file. Written, durably, when a value of the state is found damaged or the state
// differs from the leader's, before the process ends; removed once a new state has been opened.

import type { Files } from '../log/index.ts';

const NAME = 'rebuild-state';

export async function isRebuildMarked(files: Files, directory: string): Promise<boolean> {
  return (await files.list(directory)).includes(NAME);
}

export async function markRebuild(files: Files, directory: string): Promise<void> {
  if (await isRebuildMarked(files, directory)) return;
  const handle = await files.open(`${directory}/${NAME}`, 'create');
  await handle.datasync();
  await handle.close();
  await files.syncDirectory(directory);
}

export async function clearRebuildMark(files: Files, directory: string): Promise<void> {
  if (!(await isRebuildMarked(files, directory))) return;
  await files.remove(`${directory}/${NAME}`);
  await files.syncDirectory(directory);
}
