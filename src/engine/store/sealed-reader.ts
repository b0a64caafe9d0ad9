// Opens what LevelDB returns: verifies every value, and reports damage once it is seen.
//
// Damage is not repaired here: the port tells the node, and the replica is rebuilt. A block that
// the disk cannot read is damage too.

import type { Key } from '../machine/index.ts';
import { kvErrorCode, StoreError } from './errors.ts';
import { toKey } from './layout.ts';
import type { KvPair } from './ports.ts';
import { unseal, unsealUnchecked } from './sealed-value.ts';

export class SealedReader {
  readonly #onDamage: (key: Key) => void;
  readonly #checked: boolean;
  #damagedCount = 0;

  constructor(onDamage: (key: Key) => void, options: { readonly checked: boolean }) {
    this.#onDamage = onDamage;
    this.#checked = options.checked;
  }

  get damagedCount(): number {
    return this.#damagedCount;
  }

  /** @throws {STATE_DAMAGED} */
  open([key, sealed]: KvPair): Uint8Array {
    const value = this.#checked ? unseal(key, sealed) : unsealUnchecked(sealed);
    if (value === undefined) throw this.#damaged(toKey(key));
    return value;
  }

  /** What a failed read of `key` means: LevelDB's own checksums may have noticed damage first. */
  failure(error: unknown, key: Key): StoreError {
    if (error instanceof StoreError) return error;
    if (kvErrorCode(error) === 'KV_CORRUPT') return this.#damaged(key, error);
    this.#report(key);
    return new StoreError('STATE_UNREADABLE', 'the state cannot be read', { cause: error });
  }

  #damaged(key: Key, cause?: unknown): StoreError {
    this.#report(key);
    const name = Buffer.from(key, 'latin1').toString('hex');
    return new StoreError('STATE_DAMAGED', `the value of key ${name} is damaged`, { cause });
  }

  #report(key: Key): void {
    this.#damagedCount += 1;
    this.#onDamage(key);
  }
}
