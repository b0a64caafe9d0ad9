// The clock, the randomness and the delayed flush of the real world.

import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { FileHandle, Files } from '../engine/index.ts';
import type { Cancel, Clock, Random } from '../raft/index.ts';

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs: number, run: () => void): Cancel {
    const timer = setTimeout(run, Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
  defer(run: () => void): void {
    setImmediate(run);
  },
};

const RANDOM_STEPS = 2 ** 47;

/** Seeded by the operating system, so that no two nodes draw the same election timeouts (bug A10). */
export const systemRandom: Random = {
  next: () => randomInt(RANDOM_STEPS) / RANDOM_STEPS,
};

/** Adds a delay to every flush, to measure on a fast disk how a slower one would do. */
export function withFlushDelay(files: Files, delayMs: number): Files {
  if (delayMs === 0) return files;
  return {
    open: async (path, mode): Promise<FileHandle> => {
      const handle = await files.open(path, mode);
      return {
        path: handle.path,
        writeAt: (offset, bytes) => handle.writeAt(offset, bytes),
        readAt: (offset, length) => handle.readAt(offset, length),
        datasync: async () => {
          await handle.datasync();
          await delay(delayMs);
        },
        size: () => handle.size(),
        close: () => handle.close(),
      };
    },
    rename: (from, to) => files.rename(from, to),
    remove: (path) => files.remove(path),
    removeDirectory: (path) => files.removeDirectory(path),
    makeDirectory: (path) => files.makeDirectory(path),
    list: (path) => files.list(path),
    syncDirectory: (path) => files.syncDirectory(path),
    freeBytes: (path) => files.freeBytes(path),
  };
}
