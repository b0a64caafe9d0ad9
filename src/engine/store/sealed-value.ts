// Values as they lie on disk: the bytes, then a CRC-32 over the key and the bytes.
//
// LevelDB's own checksums are not verified when it compacts, so a flipped bit can be copied into a
// table with a good checksum. Ours is bound to the key: a value that surfaces under another key is
// damage too (docs/architecture.md §Storage).

import { crc32 } from 'node:zlib';

const CHECKSUM_BYTES = 4;

export function seal(key: Uint8Array, value: Uint8Array): Uint8Array {
  const sealed = Buffer.allocUnsafe(value.length + CHECKSUM_BYTES);
  sealed.set(value, 0);
  sealed.writeUInt32LE(crc32(value, crc32(key)), value.length);
  return sealed;
}

/** The value without its checksum (a view), or undefined when it is damaged. */
export function unseal(key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  const length = sealed.length - CHECKSUM_BYTES;
  if (length < 0) return undefined;
  const value = sealed.subarray(0, length);
  const stored = new DataView(sealed.buffer, sealed.byteOffset + length).getUint32(0, true);
  return stored === crc32(value, crc32(key)) ? value : undefined;
}

/** The value without looking at its checksum: what the bug switch `skipValueChecksum` does. */
export function unsealUnchecked(sealed: Uint8Array): Uint8Array {
  return sealed.subarray(0, Math.max(0, sealed.length - CHECKSUM_BYTES));
}
