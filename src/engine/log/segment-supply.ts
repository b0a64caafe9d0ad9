// Segment files made ahead of need.
//
// Owns: creating and zero-filling the next files in the background, in slices, so that an append never
// waits for one. Does not own: their headers (written when a segment comes into use).
//
// Zero-filled rather than sparse: a flush into blocks that exist writes no metadata (a third faster),
// and what a crash left out reads as zeroes. Failing to create one is no failure of the log: admission
// closes, running work goes on in what is left, and the attempt is repeated.

import type { Clock, NodeLog } from '../../raft/index.ts';
import { asError, errorCode, LogError } from './errors.ts';
import { segmentName } from './layout.ts';
import type { FileHandle, Files } from './ports.ts';

/** Ready ahead of the active one. */
const SEGMENTS_AHEAD = 2;

export interface BlankSegment {
  readonly sequence: number;
  readonly handle: FileHandle;
}

export interface SupplyOptions {
  readonly files: Files;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly sliceBytes: number;
  readonly clock: Clock;
  readonly logger: NodeLog;
}

/** Creates a file full of zeroes, synced, its name too; removes it again when that fails. */
export async function createZeroed(
  options: SupplyOptions,
  path: string,
  bytes: number,
  stopped: () => boolean = () => false,
): Promise<FileHandle> {
  const { files, directory, clock } = options;
  const handle = await files.open(path, 'create');
  try {
    await fillWithZeroes(handle, 0, bytes, options.sliceBytes, () => {
      if (stopped()) throw new LogError('LOG_CLOSED', 'the log was closed');
      return new Promise((resolve) => clock.defer(resolve));
    });
    await files.syncDirectory(directory);
    return handle;
  } catch (error) {
    await handle.close().catch(() => undefined);
    await files.remove(path).catch(() => undefined);
    throw error;
  }
}

/**
 * Writes zeroes over `[from, to)`, slice by slice; `pause` runs between slices. Each slice is synced
 * by itself: one flush of a whole segment would hold up the appends behind it.
 */
export async function fillWithZeroes(
  handle: FileHandle,
  from: number,
  to: number,
  sliceBytes: number,
  pause: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const zeroes = new Uint8Array(Math.min(sliceBytes, Math.max(0, to - from)));
  for (let at = from; at < to; at += zeroes.length) {
    if (at > from) await pause();
    await handle.writeAt(at, zeroes.subarray(0, Math.min(zeroes.length, to - at)));
    await handle.datasync();
  }
}

export class SegmentSupply {
  readonly #options: SupplyOptions;
  readonly #ready: BlankSegment[];
  #nextSequence: number;
  #filling: Promise<void> | undefined;
  #failure: Error | undefined;
  #onReady: () => void = () => undefined;
  #closed = false;

  constructor(options: SupplyOptions, ready: readonly BlankSegment[], nextSequence: number) {
    this.#options = options;
    this.#ready = [...ready];
    this.#nextSequence = nextSequence;
  }

  /** Whether the log can go on beyond the active segment. */
  get available(): boolean {
    return this.#ready.length > 0;
  }

  get ahead(): number {
    return this.#ready.length;
  }

  /**
   * The next segment, made on the spot when none is ready.
   * @throws the error of the file system: the log cannot go on.
   */
  async take(): Promise<BlankSegment> {
    if (this.#ready.length === 0) {
      await new Promise<void>((resolve) => {
        this.#onReady = resolve;
        void this.refill().then(resolve);
      });
    }
    const segment = this.#ready.shift();
    if (segment === undefined) {
      throw this.#failure ?? new LogError('LOG_CLOSED', 'no segment ahead');
    }
    void this.refill();
    return segment;
  }

  /** Makes what is missing. Never rejects: a failure is logged and tried again at the next call. */
  refill(): Promise<void> {
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = undefined;
    });
    return this.#filling;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#filling;
    for (const { handle } of this.#ready) await handle.close();
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  async #fill(): Promise<void> {
    const { directory, segmentBytes, logger } = this.#options;
    while (this.#ready.length < SEGMENTS_AHEAD && !this.#closed) {
      const sequence = this.#nextSequence;
      const path = `${directory}/${segmentName(sequence)}`;
      try {
        const stopped = (): boolean => this.#isClosed();
        const handle = await createZeroed(this.#options, path, segmentBytes, stopped);
        this.#ready.push({ sequence, handle });
        this.#nextSequence = sequence + 1;
        this.#failure = undefined;
        this.#onReady();
      } catch (error) {
        if (this.#isClosed()) return;
        this.#failure = asError(error);
        logger.warn({ path, code: errorCode(error), err: error }, 'cannot create the next segment');
        return;
      }
    }
  }
}
