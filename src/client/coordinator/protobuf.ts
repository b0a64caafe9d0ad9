// The few parts of the protobuf encoding that dtm's messages use: text, bytes, whole numbers, flags,
// messages, and maps of text. Pure.
//
// Source: the protocol buffers encoding, public specification. Unknown fields are skipped.

import { UsageError } from '../errors.ts';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

/** Fields with their default value are left out, as proto3 says; those of repeated fields are not. */
export class ProtoWriter {
  readonly #parts: Uint8Array[] = [];

  /** A repeated or message field: written even when it is empty. */
  bytes(field: number, value: Uint8Array): this {
    const head = [...varint(field * 8 + LENGTH_DELIMITED), ...varint(value.length)];
    this.#parts.push(Uint8Array.from(head), value);
    return this;
  }

  text(field: number, value: string | undefined): this {
    if (value === undefined || value === '') return this;
    return this.bytes(field, Buffer.from(value));
  }

  /** A whole number that is not negative: the options of dtm are durations and counts. */
  count(field: number, value: number | undefined): this {
    if (value === undefined || value === 0) return this;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new UsageError(`${value} is no whole number from 0 on`);
    }
    this.#parts.push(Uint8Array.from([...varint(field * 8 + VARINT), ...varint(value)]));
    return this;
  }

  flag(field: number, value: boolean | undefined): this {
    return this.count(field, value === true ? 1 : 0);
  }

  textMap(field: number, entries: Readonly<Record<string, string>> | undefined): this {
    for (const [key, value] of Object.entries(entries ?? {})) {
      this.bytes(field, new ProtoWriter().text(1, key).text(2, value).finish());
    }
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

export class ProtoSyntaxError extends Error {
  override readonly name = 'ProtoSyntaxError';
}

/** The length-delimited fields of a message, in order; all others are skipped. */
export function readFields(message: Uint8Array): { field: number; value: Uint8Array }[] {
  const fields: { field: number; value: Uint8Array }[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = message[at];
      if (byte === undefined) throw new ProtoSyntaxError('a number is cut off');
      at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const key = readVarint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case VARINT:
        readVarint();
        break;
      case FIXED64:
        at += 8;
        break;
      case FIXED32:
        at += 4;
        break;
      case LENGTH_DELIMITED: {
        const length = readVarint();
        if (at + length > message.length) throw new ProtoSyntaxError(`field ${field} is cut off`);
        fields.push({ field, value: message.subarray(at, at + length) });
        at += length;
        break;
      }
      default:
        throw new ProtoSyntaxError(`field ${field} is of an unknown kind`);
    }
  }
  return fields;
}
