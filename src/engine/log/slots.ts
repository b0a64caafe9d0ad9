// The two-slot file: the few facts that must survive damage to the log itself.
//
// Owns: HardState, boot id, the first and the active segment, the generation; each write goes to the
// older slot, checksummed and numbered, and is synced before it is reported.
//
// Invariants
//   Term and vote never go backwards (raft paper §5.1, §5.4; thesis §3.8).
//   Segments below `firstSegment` are garbage; one at or below `activeSegment` has a header that was
//   durable, so a missing or unreadable one is damage and never a torn creation.
//   Both slots bad: what this node voted for cannot be known, so it is refused.

import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import type { BootId, HardState } from '../../raft/index.ts';
import { LogError } from './errors.ts';
import { asBuffer, FORMAT_VERSION, readUint, SECTOR_BYTES, writeUint } from './layout.ts';
import type { FileHandle } from './ports.ts';

export interface SlotFields {
  readonly bootId: BootId;
  readonly hardState: HardState;
  readonly firstSegment: number;
  readonly activeSegment: number;
  readonly generation: number;
}

const MAGIC = 0x4153534c;
/** Far enough apart that one bad page of a disk does not take both. */
const SLOT_DISTANCE_BYTES = 8192;

/** The newer of two hard states: a higher term, or the same term with a vote. */
export function newerHardState(a: HardState, b: HardState): HardState {
  if (a.term !== b.term) return a.term > b.term ? a : b;
  return a.vote === undefined ? b : a;
}

function encodeSlot(sequence: number, fields: SlotFields, seed: number): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.writeUInt32BE(MAGIC, 4);
  bytes.writeUInt16BE(FORMAT_VERSION, 8);
  const numbers = [
    sequence,
    fields.bootId,
    fields.hardState.term,
    fields.hardState.vote ?? 0,
    fields.firstSegment,
    fields.activeSegment,
    fields.generation,
  ];
  for (const [position, value] of numbers.entries()) writeUint(bytes, value, 16 + 8 * position);
  bytes.writeUInt32BE(crc32(bytes.subarray(4), seed), 0);
  return bytes;
}

interface Slot {
  readonly sequence: number;
  readonly fields: SlotFields;
}

function decodeSlot(bytes: Buffer, seed: number): Slot | undefined {
  if (bytes.length < SECTOR_BYTES || bytes.readUInt32BE(4) !== MAGIC) return undefined;
  if (crc32(bytes.subarray(4), seed) !== bytes.readUInt32BE(0)) return undefined;
  const format = bytes.readUInt16BE(8);
  if (format !== FORMAT_VERSION) throw new LogError('UNKNOWN_FORMAT', `slots of format ${format}`);
  const number = (position: number): number => readUint(bytes, 16 + 8 * position);
  const vote = number(3);
  return {
    sequence: number(0),
    fields: {
      bootId: number(1),
      hardState: { term: number(2), vote: vote === 0 ? undefined : vote },
      firstSegment: number(4),
      activeSegment: number(5),
      generation: number(6),
    },
  };
}

export class SlotFile {
  readonly #handle: FileHandle;
  readonly #seed: number;
  #current: Slot;
  #writing: Promise<void> = Promise.resolve();
  /** One slot could not be read: the facts may be one write old. */
  readonly damaged: boolean;

  private constructor(handle: FileHandle, seed: number, current: Slot, damaged: boolean) {
    this.#handle = handle;
    this.#seed = seed;
    this.#current = current;
    this.damaged = damaged;
  }

  static async format(handle: FileHandle, seed: number, fields: SlotFields): Promise<void> {
    const slots = new SlotFile(handle, seed, { sequence: 0, fields }, false);
    await slots.writeBoth({});
  }

  /** @throws {IDENTITY_LOST} when no slot is whole; {UNKNOWN_FORMAT}. */
  static async open(handle: FileHandle, seed: number): Promise<SlotFile> {
    const slots: Slot[] = [];
    for (const offset of [0, SLOT_DISTANCE_BYTES]) {
      const slot = decodeSlot(asBuffer(await handle.readAt(offset, SECTOR_BYTES)), seed);
      if (slot !== undefined) slots.push(slot);
    }
    const newest = slots.sort((a, b) => b.sequence - a.sequence)[0];
    if (newest === undefined) {
      throw new LogError(
        'IDENTITY_LOST',
        `both slots in ${handle.path} are damaged: votes unknown`,
      );
    }
    return new SlotFile(handle, seed, newest, slots.length < 2);
  }

  get fields(): SlotFields {
    return this.#current.fields;
  }

  /** Resolves when the changed facts are on stable storage. Calls are carried out in order. */
  write(changes: Partial<SlotFields>): Promise<void> {
    const write = this.#writing.then(() => this.#writeOne(changes));
    this.#writing = write;
    return write;
  }

  /** As `write`, into both slots: leaves no older fact behind. */
  async writeBoth(changes: Partial<SlotFields>): Promise<void> {
    await this.write(changes);
    await this.write({});
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #writeOne(changes: Partial<SlotFields>): Promise<void> {
    const next = {
      sequence: this.#current.sequence + 1,
      fields: { ...this.#current.fields, ...changes },
    };
    const offset = next.sequence % 2 === 0 ? 0 : SLOT_DISTANCE_BYTES;
    await this.#handle.writeAt(offset, encodeSlot(next.sequence, next.fields, this.#seed));
    await this.#handle.datasync();
    this.#current = next;
  }
}
