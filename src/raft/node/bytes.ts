// Bounds-checked reading and writing of the binary formats of consensus.
//
// Owns: primitive fields (u8, u16, u32, safe integers, doubles, counted bytes) and `CodecError`.
// Does not own: any format; entry-codec.ts, message-codec.ts and meta-codec.ts say which fields follow
// which.
//
// Invariants: a length is checked against what remains before anything is allocated or sliced, so
// that a damaged count cannot ask for memory; byte fields are views of the input, not copies.

import { Buffer } from 'node:buffer';

export type CodecErrorCode = 'truncated' | 'malformed' | 'unknownVersion' | 'unknownKind';

/** Bytes that are not what their format promises. Nothing was done because of them. */
export class CodecError extends Error {
  readonly code: CodecErrorCode;
  readonly outcome = 'none';

  constructor(code: CodecErrorCode, message: string) {
    super(message);
    this.name = 'CodecError';
    this.code = code;
  }
}

const HIGH_MAX = 0x1f_ffff;
const TWO_TO_32 = 0x1_0000_0000;

/** Big-endian fields into a buffer whose exact size was computed beforehand. */
export class ByteWriter {
  readonly #bytes: Buffer;
  #offset: number;

  /** Leaves `headroom` bytes free before the first field. */
  constructor(sizeBytes: number, headroom = 0) {
    this.#bytes = Buffer.allocUnsafe(headroom + sizeBytes);
    this.#offset = headroom;
  }

  u8(value: number): void {
    this.#offset = this.#bytes.writeUInt8(value, this.#offset);
  }

  u16(value: number): void {
    this.#offset = this.#bytes.writeUInt16BE(value, this.#offset);
  }

  u32(value: number): void {
    this.#offset = this.#bytes.writeUInt32BE(value, this.#offset);
  }

  /** A non-negative safe integer, in eight bytes. */
  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new CodecError('malformed', `not a non-negative safe integer: ${value}`);
    }
    const high = Math.floor(value / TWO_TO_32);
    this.u32(high);
    this.u32(value - high * TWO_TO_32);
  }

  f64(value: number): void {
    this.#offset = this.#bytes.writeDoubleBE(value, this.#offset);
  }

  /** Without a length. */
  raw(value: Uint8Array): void {
    this.#bytes.set(value, this.#offset);
    this.#offset += value.length;
  }

  /** Preceded by its length in four bytes. */
  counted(value: Uint8Array): void {
    this.u32(value.length);
    this.raw(value);
  }

  /** The whole buffer, headroom included. */
  finish(): Uint8Array {
    if (this.#offset !== this.#bytes.length) {
      throw new CodecError(
        'malformed',
        `wrote ${this.#offset} of ${this.#bytes.length} planned bytes`,
      );
    }
    return this.#bytes;
  }
}

/** Reads what `ByteWriter` wrote. Every method throws `CodecError('truncated')` past the end. */
export class ByteReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  uint(): number {
    const at = this.#take(8);
    const high = this.#bytes.readUInt32BE(at);
    if (high > HIGH_MAX) throw new CodecError('malformed', 'an integer above 2^53');
    return high * TWO_TO_32 + this.#bytes.readUInt32BE(at + 4);
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** A view of `length` bytes. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  counted(): Uint8Array {
    return this.raw(this.u32());
  }

  /** A number of items, each of at least `itemBytesMin` bytes, that the rest can really hold. */
  count(itemBytesMin: number): number {
    const count = this.u32();
    if (count * itemBytesMin > this.remaining) {
      throw new CodecError('truncated', `${count} items do not fit in ${this.remaining} bytes`);
    }
    return count;
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new CodecError('malformed', `not a boolean: ${value}`);
    return value === 1;
  }

  /** Nothing may follow. */
  end(): void {
    if (this.remaining !== 0) {
      throw new CodecError('malformed', `${this.remaining} bytes follow the last field`);
    }
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw new CodecError('truncated', `${length} bytes wanted, ${this.remaining} left`);
    }
    const at = this.#offset;
    this.#offset += length;
    return at;
  }
}
