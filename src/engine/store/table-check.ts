// Checks a LevelDB table file against the checksums of its own blocks.
//
// Needed because LevelDB does not look at them when it reads or compacts, and because our own
// checksums cover values, not absence: one bit flipped in an entry's type byte turns a value into
// a deletion, one in the filter hides a key from every lookup, and nothing is left to verify.
// The scrub calls this; the layout is LevelDB's:
//
//   data blocks · filter block · metaindex block · index block · footer (48 bytes)
//   block  = contents · type u8 · masked CRC-32C of contents and type u32le
//   footer = metaindex handle · index handle (varints: offset, size) · padding · magic u64le
//
// Only uncompressed index blocks are read, which is what level-kv.ts makes LevelDB write.

const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;
/** LevelDB stores checksums rotated and offset, so that a CRC of CRCs does not cancel out. */
const MASK_DELTA = 0xa282ead8;
/** Bytes checked per turn of the event loop: about half a millisecond. */
const BYTES_PER_TURN = 128 * 1024;

const CASTAGNOLI = new Int32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (let position = 0; position < bytes.length; position += 1) {
    crc = (CASTAGNOLI[(crc ^ (bytes[position] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return (crc ^ -1) >>> 0;
}

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

/**
 * Undefined: every block is whole, or there is no footer: LevelDB is still writing the file, or its
 * footer is damaged, which LevelDB itself refuses. Otherwise what is wrong.
 */
export async function checkTable(
  table: Buffer,
  nextTurn: () => Promise<void>,
): Promise<string | undefined> {
  const footerAt = table.length - FOOTER_BYTES;
  if (footerAt < 0 || table.readBigUInt64LE(table.length - 8) !== MAGIC) return undefined;
  const footer = new VarintReader(table.subarray(footerAt, table.length - 8));
  const metaindex = footer.handle();
  const index = footer.handle();
  if (metaindex === undefined || index === undefined) return 'an unreadable footer';
  for (const [name, handle] of [
    ['metaindex', metaindex],
    ['index', index],
  ] as const) {
    if (!isWhole(table, handle)) return `a damaged ${name} block`;
    if (table[handle.offset + handle.size] !== 0) return `a compressed ${name} block`;
  }
  let expectedOffset = 0;
  let bytesThisTurn = 0;
  for (const handle of [...blockHandles(table, index), ...blockHandles(table, metaindex)]) {
    // The blocks follow each other from the start of the file; the metaindex names the filter's.
    if (handle?.offset !== expectedOffset || !isWhole(table, handle)) {
      return `a damaged block at ${expectedOffset}`;
    }
    expectedOffset += handle.size + TRAILER_BYTES;
    bytesThisTurn += handle.size;
    if (bytesThisTurn < BYTES_PER_TURN) continue;
    bytesThisTurn = 0;
    await nextTurn();
  }
  return expectedOffset === metaindex.offset ? undefined : `a missing block at ${expectedOffset}`;
}

function isWhole(table: Buffer, { offset, size }: BlockHandle): boolean {
  const end = offset + size + 1;
  if (end + 4 > table.length) return false;
  const masked = table.readUInt32LE(end);
  const rotated = (masked - MASK_DELTA) >>> 0;
  const stored = ((rotated >>> 17) | (rotated << 15)) >>> 0;
  return crc32c(table.subarray(offset, end)) === stored;
}

/** The handles that an index block holds, in order; undefined where it cannot be read. */
function* blockHandles(
  table: Buffer,
  { offset, size }: BlockHandle,
): Generator<BlockHandle | undefined, void> {
  const block = table.subarray(offset, offset + size);
  if (block.length < 4) return;
  const restarts = block.readUInt32LE(block.length - 4);
  const entriesEnd = block.length - 4 - 4 * restarts;
  const reader = new VarintReader(block.subarray(0, Math.max(0, entriesEnd)));
  while (!reader.isAtEnd) {
    const shared = reader.number();
    const unshared = reader.number();
    const valueLength = reader.number();
    if (shared === undefined || unshared === undefined || valueLength === undefined) {
      yield undefined;
      return;
    }
    reader.skip(unshared);
    yield reader.handle();
  }
}

class VarintReader {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#position >= this.#bytes.length;
  }

  skip(count: number): void {
    this.#position += count;
  }

  number(): number | undefined {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 42; factor *= 128) {
      const byte = this.#bytes[this.#position];
      if (byte === undefined) return undefined;
      this.#position += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  handle(): BlockHandle | undefined {
    const offset = this.number();
    const size = this.number();
    return offset === undefined || size === undefined ? undefined : { offset, size };
  }
}
