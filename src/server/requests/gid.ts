// A new gid as dtm makes one: a random UUID (version 4) in base 57, always 22 characters.
//
// Source: the dtm protocol reference, §1.4.

import { randomUUID } from 'node:crypto';

// Digits and letters that nobody confuses: without 0, 1, I, O and l.
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const BASE = BigInt(ALPHABET.length);
const LENGTH = 22;

/** Most significant digit first. */
export function base57(uuid: string): string {
  let rest = BigInt(`0x${uuid.replaceAll('-', '')}`);
  let text = '';
  for (let digit = 0; digit < LENGTH; digit += 1) {
    text = ALPHABET.charAt(Number(rest % BASE)) + text;
    rest /= BASE;
  }
  return text;
}

export function newGid(): string {
  return base57(randomUUID());
}
