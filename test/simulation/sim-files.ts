// The disk under the durable log, in virtual time, with faults drawn from the seed.
//
// Owns: how long an operation takes, and when one fails. What a crash leaves (sectors, names) is
// `MemoryFiles`' model; this decides which of the unsynced sectors it is told to keep.
// A torn write is a write of which some sectors survived and others did not.

import type { FileHandle, Files } from '../../src/engine/log/ports.ts';
import { KEEP_UNSYNCED, MemoryFiles } from '../helpers/memory-files.ts';
import type { DiskOptions } from './options.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './sim-clock.ts';

const SECTOR_BYTES = 512;

interface UsedSegment {
  readonly path: string;
  /** Up to its last byte that is not zero. */
  readonly used: number;
}

export class SimFiles {
  readonly disk = new MemoryFiles();
  readonly #process: SimProcess;
  readonly #random: Prng;
  readonly #options: DiskOptions;
  readonly #faulty: () => boolean;
  /** While set, synced writes take this much longer: a disk that stalls. */
  stallMs = 0;

  constructor(process: SimProcess, random: Prng, options: DiskOptions, faulty: () => boolean) {
    this.#process = process;
    this.#random = random;
    this.#options = options;
    this.#faulty = faulty;
  }

  /** kill −9: the kernel keeps what it was given. */
  killed(): void {
    this.disk.crash(KEEP_UNSYNCED);
  }

  /** Each unsynced sector and each unsynced directory survives or not on its own. */
  powerCut(): void {
    const keep = this.#options.survivesCrashProbability;
    this.disk.crash({
      keepSector: () => this.#random.chance(keep),
      keepNames: () => this.#random.chance(0.5),
    });
  }

  /** The next operation that changes something fails with `code`; the process must not survive it. */
  failSoon(code: 'EIO' | 'ENOSPC'): void {
    this.disk.failWhen(
      (operation) => operation.kind === 'write' || operation.kind === 'datasync',
      code,
    );
  }

  /** Leaves `bytes` of space, or no limit. */
  limitSpace(bytes: number | undefined): void {
    let used = 0;
    for (const path of this.disk.paths()) {
      used += this.disk.content(path).length;
    }
    this.disk.capacityBytes = bytes === undefined ? Number.POSITIVE_INFINITY : used + bytes;
  }

  /** Flips one bit of a segment that holds data. False: there is none. */
  flipBit(directory: string): boolean {
    const segment = this.#pickSegment(directory);
    if (segment === undefined) {
      return false;
    }
    this.disk.flipBit(segment.path, this.#random.int(segment.used), this.#random.int(8));
    return true;
  }

  /** Fills one sector of a segment that holds data with noise. False: there is none. */
  ruinSector(directory: string): boolean {
    const segment = this.#pickSegment(directory);
    if (segment === undefined) {
      return false;
    }
    const sectors = Math.ceil(segment.used / SECTOR_BYTES);
    this.#fillWithNoise(segment.path, this.#random.int(sectors));
    return true;
  }

  /** The same with the newest sector: where the last votes and acknowledgements lie. */
  ruinNewestSector(directory: string): boolean {
    const segment = this.#segments(directory).at(-1);
    if (segment === undefined) {
      return false;
    }
    this.#fillWithNoise(segment.path, Math.ceil(segment.used / SECTOR_BYTES) - 1);
    return true;
  }

  #fillWithNoise(path: string, sector: number): void {
    this.disk.corrupt(path, (bytes) => {
      const from = sector * SECTOR_BYTES;
      for (let at = from; at < Math.min(from + SECTOR_BYTES, bytes.length); at++) {
        bytes[at] = this.#random.int(256);
      }
    });
  }

  #pickSegment(directory: string): UsedSegment | undefined {
    const segments = this.#segments(directory);
    return segments.length === 0 ? undefined : this.#random.pick(segments);
  }

  /** Segments that hold data, oldest first. */
  #segments(directory: string): readonly UsedSegment[] {
    return this.disk
      .paths()
      .filter((path) => path.startsWith(directory) && path.includes('segment'))
      .map((path) => ({ path, used: usedBytes(this.disk.content(path)) }))
      .filter(({ used }) => used > 0);
  }

  /** The `Files` port for the current life of the process. */
  files(): Files {
    const disk: Files = this.disk;
    const read = <T>(run: () => Promise<T>): Promise<T> => this.#later(0.02, run);
    const write = <T>(run: () => Promise<T>): Promise<T> => this.#later(0.05, run);
    return {
      open: async (path, mode) => {
        const handle = await write(() => disk.open(path, mode));
        return this.#handle(handle);
      },
      rename: (from, to) => write(() => disk.rename(from, to)),
      remove: (path) => write(() => disk.remove(path)),
      removeDirectory: (path) => write(() => disk.removeDirectory(path)),
      makeDirectory: (path) => write(() => disk.makeDirectory(path)),
      list: (path) => read(() => disk.list(path)),
      syncDirectory: (path) => this.#later(this.#syncMs(), () => disk.syncDirectory(path)),
      freeBytes: (path) => read(() => disk.freeBytes(path)),
    };
  }

  #handle(handle: FileHandle): FileHandle {
    return {
      path: handle.path,
      writeAt: (offset, bytes) => this.#later(0.05, () => handle.writeAt(offset, bytes)),
      readAt: (offset, length) => this.#later(0.02, () => handle.readAt(offset, length)),
      datasync: () => this.#later(this.#syncMs(), () => handle.datasync()),
      size: () => this.#later(0.01, () => handle.size()),
      close: () => this.#later(0.01, () => handle.close()),
    };
  }

  #syncMs(): number {
    const { writeMeanMs, slowProbability, slowMaxMs } = this.#options;
    const slow = this.#faulty() && this.#random.chance(slowProbability);
    return (
      this.#random.exponential(writeMeanMs) +
      (slow ? this.#random.between(0, slowMaxMs) : 0) +
      this.stallMs
    );
  }

  #later<T>(delayMs: number, run: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#process.afterTrue(delayMs, () => {
        run().then(resolve, reject);
      });
    });
  }
}

function usedBytes(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) {
    end--;
  }
  return end;
}
