// The 64-bit digest of everything ever applied, by which replicas notice that they diverge.
//
// It folds mutations (kind, key, value bytes) in the order in which apply makes them, and nothing
// else: not the borders of batches, so replicas that apply the same entries in different batches
// agree. Two 32-bit lanes with different multipliers and rotations. (Two CRC streams would not do:
// CRC is linear, so streams that differ in their seed only collide together.)
//
// It is a checksum against accidents, not against an adversary.

const LANE_A_SEED = 0x243f6a88;
const LANE_B_SEED = 0x85a308d3 | 0;
/** Odd constants with well spread bits (from the golden ratio and the square root of 3). */
const LANE_A_FACTOR = 0x9e3779b1 | 0;
const LANE_B_FACTOR = 0xbb67ae85 | 0;

const PUT = 1;
const DELETE = 2;

export class StateDigest {
  #a = LANE_A_SEED;
  #b = LANE_B_SEED;

  constructor(value?: bigint) {
    if (value === undefined) return;
    this.#a = Number(value >> 32n) | 0;
    this.#b = Number(value & 0xffffffffn) | 0;
  }

  put(key: string, value: Uint8Array): void {
    this.#word(PUT);
    this.#text(key);
    this.#bytes(value);
  }

  delete(key: string): void {
    this.#word(DELETE);
    this.#text(key);
  }

  value(): bigint {
    return (BigInt(this.#a >>> 0) << 32n) | BigInt(this.#b >>> 0);
  }

  #word(word: number): void {
    let a = Math.imul(this.#a ^ word, LANE_A_FACTOR);
    a = (a << 13) | (a >>> 19);
    this.#a = a ^ (a >>> 16);
    let b = Math.imul(this.#b + word, LANE_B_FACTOR);
    b = (b << 17) | (b >>> 15);
    this.#b = b ^ (b >>> 15);
  }

  #text(text: string): void {
    const length = text.length;
    this.#word(length);
    let position = 0;
    for (; position + 4 <= length; position += 4) {
      this.#word(
        text.charCodeAt(position) |
          (text.charCodeAt(position + 1) << 8) |
          (text.charCodeAt(position + 2) << 16) |
          (text.charCodeAt(position + 3) << 24),
      );
    }
    for (; position < length; position += 1) this.#word(text.charCodeAt(position));
  }

  #bytes(bytes: Uint8Array): void {
    const length = bytes.length;
    this.#word(length);
    let position = 0;
    for (; position + 4 <= length; position += 4) {
      this.#word(
        (bytes[position] ?? 0) |
          ((bytes[position + 1] ?? 0) << 8) |
          ((bytes[position + 2] ?? 0) << 16) |
          ((bytes[position + 3] ?? 0) << 24),
      );
    }
    for (; position < length; position += 1) this.#word(bytes[position] ?? 0);
  }
}
