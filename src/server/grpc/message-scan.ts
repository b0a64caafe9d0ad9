// A look at the bytes of a message before they are decoded: how many fields they make. One pass, no
// allocation. An empty field is two bytes long, and hundreds as an object: a message within the limit of
// bytes could hold millions of them and stop the node for seconds.
//
// Owns: that bound. Does not own: syntax; what passes here may still be refused by the decoder.
// Source: the protocol buffers encoding, public specification.

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

export interface FieldLimits {
  readonly fieldsMax: number;
  /** Fields that are messages themselves, with fields to count. Maps count by their entries. */
  readonly messages: ReadonlySet<number>;
}

/** Whether there are more fields than allowed, those of the named messages included. */
export function hasTooManyFields(bytes: Uint8Array, limits: FieldLimits): boolean {
  return countFields(bytes, limits, { start: 0, end: bytes.length }) > limits.fieldsMax;
}

function countFields(
  bytes: Uint8Array,
  { fieldsMax, messages }: FieldLimits,
  { start, end }: { readonly start: number; readonly end: number },
): number {
  let count = 0;
  let at = start;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < end; scale *= 0x80) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < end && count <= fieldsMax) {
    const key = varint();
    count += 1;
    switch (key % 8) {
      case VARINT:
        varint();
        break;
      case FIXED64:
        at += 8;
        break;
      case FIXED32:
        at += 4;
        break;
      case LENGTH_DELIMITED: {
        const length = varint();
        if (messages.has(Math.floor(key / 8))) {
          const within = { start: at, end: Math.min(end, at + length) };
          count += countFields(bytes, { fieldsMax, messages: NONE }, within);
        }
        at += length;
        break;
      }
      default:
        // Groups, which nobody sends: their fields count like those around them.
        break;
    }
  }
  return count;
}

const NONE: ReadonlySet<number> = new Set();
