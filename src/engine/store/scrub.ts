// Reads every value of a generation, slowly, over and over, so that damage is found before the
// value is needed and while the other replicas still have it.
//
// After the keys of a pass come the files beneath them: a damaged file can also make keys vanish,
// which no reading of keys shows.
//
// Bounded by keys and bytes a tick, or one file; driven by the clock; its position is written with the next
// flush that happens anyway, so a restarted node goes on where it stopped.

import type { Clock } from '../../raft/index.ts';
import type { Key } from '../machine/index.ts';
import type { StoreConfig } from './config.ts';
import type { KvLease } from './kv-lease.ts';
import { KEYS_FROM, KEYS_TO, toBytes, toKey } from './layout.ts';
import type { SealedReader } from './sealed-reader.ts';

export interface ScrubMetrics {
  /** The next key to read. */
  readonly position: Key;
  /** The last file checked, while the pass is at the files. */
  readonly file: string | undefined;
  readonly passCount: number;
  /** Keys read in this pass, and in the last complete one (undefined: none yet). */
  readonly passKeyCount: number;
  readonly lastPassKeyCount: number | undefined;
  /** A damaged value ended it: the replica has to be rebuilt. */
  readonly foundDamage: boolean;
}

/** Reported for damage that is not in the value of a key. */
const NO_KEY: Key = '';

export class Scrub {
  readonly #clock: Clock;
  readonly #lease: KvLease;
  readonly #reader: SealedReader;
  readonly #config: StoreConfig;
  #position: Key;
  #written: Key;
  #phase: 'keys' | 'files' = 'keys';
  #file: string | undefined;
  #passCount = 0;
  #passKeyCount = 0;
  #lastPassKeyCount: number | undefined;
  #foundDamage = false;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(
    clock: Clock,
    parts: { readonly lease: KvLease; readonly reader: SealedReader },
    position: Key | undefined,
    config: StoreConfig,
  ) {
    this.#clock = clock;
    this.#lease = parts.lease;
    this.#reader = parts.reader;
    this.#config = config;
    this.#position = position ?? KEYS_FROM;
    this.#written = this.#position;
  }

  get metrics(): ScrubMetrics {
    return {
      position: this.#position,
      file: this.#file,
      passCount: this.#passCount,
      passKeyCount: this.#passKeyCount,
      lastPassKeyCount: this.#lastPassKeyCount,
      foundDamage: this.#foundDamage,
    };
  }

  start(): void {
    this.#schedule(this.#config.scrubIntervalMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /** The position, if it moved since it was last taken. */
  takePosition(): Uint8Array | undefined {
    if (this.#position === this.#written) return undefined;
    this.#written = this.#position;
    return toBytes(this.#position);
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    this.#cancel = this.#clock.after(delayMs, () => {
      void this.#tick();
    });
  }

  async #tick(): Promise<void> {
    if (this.#stopped) return;
    try {
      const isPassDone = await this.#readSome();
      this.#schedule(isPassDone ? this.#config.scrubRestMs : this.#config.scrubIntervalMs);
    } catch (error) {
      // A closed store is no damage: the generation was replaced under the scrub.
      const key = this.#phase === 'keys' ? this.#position : NO_KEY;
      this.#foundDamage = this.#reader.failure(error, key).code !== 'STORE_CLOSED';
    }
  }

  /** True at the end of a pass. */
  async #readSome(): Promise<boolean> {
    if (this.#phase === 'keys' && (await this.#readKeys())) this.#phase = 'files';
    if (this.#phase === 'keys' || !(await this.#checkFile())) return false;
    this.#passCount += 1;
    this.#lastPassKeyCount = this.#passKeyCount;
    this.#passKeyCount = 0;
    this.#phase = 'keys';
    this.#position = KEYS_FROM;
    return true;
  }

  /** True when no keys are left. */
  async #readKeys(): Promise<boolean> {
    const { scrubKeysMax, scrubBytesMax } = this.#config;
    const page = await this.#lease.use((kv) =>
      kv.range({
        gte: toBytes(this.#position),
        lt: toBytes(KEYS_TO),
        limit: scrubKeysMax,
        bytesMax: scrubBytesMax,
      }),
    );
    for (const pair of page) {
      this.#reader.open(pair);
      this.#passKeyCount += 1;
      this.#position = `${toKey(pair[0])}\x00`;
    }
    return page.length === 0;
  }

  /** True when no files are left. */
  async #checkFile(): Promise<boolean> {
    const check = await this.#lease.use(async (kv) => kv.checkFile?.(this.#file));
    this.#file = check?.kind === 'whole' ? check.file : undefined;
    return check?.kind !== 'whole';
  }
}
