// Global ids and branch ids.
//
// Source: dtm reference §1.4 (newGid) and §5.2 (branch ids).

import { randomUUID } from 'node:crypto';
import { UsageError } from './errors.ts';

/** Base 57: no 0, 1, I, O or l. */
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const GID_CHARS = 22;
const CHILDREN_MAX = 99;
const PARENT_CHARS_MAX = 19;

/** The text of a UUID in base 57, as the server's newGid makes it. */
export function gidOfUuid(uuid: string): string {
  let number = BigInt(`0x${uuid.replaceAll('-', '')}`);
  const base = BigInt(ALPHABET.length);
  let text = '';
  while (text.length < GID_CHARS) {
    text = ALPHABET.charAt(Number(number % base)) + text;
    number /= base;
  }
  return text;
}

/** A new gid, without asking a server: the first request can be repeated with it. */
export function newGid(): string {
  return gidOfUuid(randomUUID());
}

/** Numbers the children of a branch, or of the transaction itself (`parent` empty). */
export class BranchIds {
  readonly #parent: string;
  #count = 0;

  constructor(parent = '') {
    this.#parent = parent;
  }

  next(): string {
    if (this.#count >= CHILDREN_MAX) {
      throw new UsageError(`more than ${CHILDREN_MAX} branches under "${this.#parent}"`);
    }
    if (this.#parent.length > PARENT_CHARS_MAX) {
      throw new UsageError(`branch "${this.#parent}" is nested too deeply to have children`);
    }
    this.#count += 1;
    return this.#parent + String(this.#count).padStart(2, '0');
  }
}
