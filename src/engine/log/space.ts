// Room on the disk.
//
// Owns: the periodic check against the free-space floor, and the ballast: a file that holds space back
// so that a node on a full disk can still open and compact. Does not own: what is refused meanwhile.

import type { Cancel } from '../../raft/index.ts';
import type { LogConfig } from './config.ts';
import { errorCode } from './errors.ts';
import { BALLAST_NAME } from './layout.ts';
import { createZeroed, type SupplyOptions } from './segment-supply.ts';

export class SpaceWatch {
  readonly #options: SupplyOptions;
  readonly #config: LogConfig;
  readonly #onCheck: () => void;
  #belowFloor = false;
  #hasBallast: boolean;
  #checking: Promise<void> | undefined;
  #cancel: Cancel | undefined;
  #closed = false;

  constructor(
    options: SupplyOptions,
    config: LogConfig,
    hasBallast: boolean,
    /** Called after each check; the place to try again what failed for want of space. */
    onCheck: () => void,
  ) {
    this.#options = options;
    this.#config = config;
    this.#hasBallast = hasBallast;
    this.#onCheck = onCheck;
  }

  get belowFloor(): boolean {
    return this.#belowFloor;
  }

  /** Checks now, and from now on every `spaceCheckMs`. */
  async start(): Promise<void> {
    await this.#check(false);
    this.#arm();
  }

  /** Gives the held-back space free. It is held back again once there is plenty. */
  async releaseBallast(): Promise<void> {
    if (!this.#hasBallast) return;
    const { files, directory, logger } = this.#options;
    this.#hasBallast = false;
    await files.remove(`${directory}/${BALLAST_NAME}`);
    await files.syncDirectory(directory);
    logger.warn({ directory, bytes: this.#config.ballastBytes }, 'released the ballast');
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#checking;
  }

  #arm(): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(this.#config.spaceCheckMs, () => {
      this.#checking ??= this.#check(true).finally(() => {
        this.#checking = undefined;
        this.#arm();
      });
    });
  }

  async #check(mayMakeBallast: boolean): Promise<void> {
    const { files, directory, logger } = this.#options;
    const { freeBytesMin, ballastBytes } = this.#config;
    try {
      const freeBytes = await files.freeBytes(directory);
      const below = freeBytes < freeBytesMin;
      if (below !== this.#belowFloor) {
        logger.warn({ freeBytes, freeBytesMin }, below ? 'little space left' : 'space again');
      }
      this.#belowFloor = below;
      // Twice its size must remain, so that making it never brings the floor back.
      const plenty = freeBytes > freeBytesMin + 2 * ballastBytes;
      if (mayMakeBallast && plenty && !this.#hasBallast && ballastBytes > 0) {
        await this.#makeBallast();
      }
    } catch (error) {
      if (!this.#closed) logger.warn({ code: errorCode(error), err: error }, 'space check failed');
    }
    if (!this.#closed) this.#onCheck();
  }

  async #makeBallast(): Promise<void> {
    const { directory } = this.#options;
    const path = `${directory}/${BALLAST_NAME}`;
    const handle = await createZeroed(
      this.#options,
      path,
      this.#config.ballastBytes,
      () => this.#closed,
    );
    this.#hasBallast = true;
    await handle.close();
  }
}
