import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CodecError,
  decodeEntry,
  decodeSnapshotMeta,
  type Entry,
  encodeEntry,
  encodeSnapshotMeta,
} from '../../../../src/raft/index.ts';
import { plain } from '../../../helpers/plain.ts';
import { anyConfiguration, anyEntry, anyUint } from '../../../helpers/raft-arbitraries.ts';

const parameters = { numRuns: 200, verbose: true } as const;

describe('the entry codec', () => {
  it('gives back every entry that it wrote', () => {
    fc.assert(
      fc.property(anyEntry(), (entry) => {
        const bytes = new Uint8Array(encodeEntry(entry));
        expect(plain(decodeEntry(bytes))).toEqual(plain(entry));
      }),
      parameters,
    );
  });

  it('encodes an entry once', () => {
    const entry: Entry = { kind: 'noop', index: 1, term: 1, timeMs: 5 };
    expect(encodeEntry(entry)).toBe(encodeEntry(entry));
  });

  it('keeps the bytes that it decoded, so that they need no second encoding', () => {
    const bytes = new Uint8Array(encodeEntry({ kind: 'noop', index: 1, term: 1, timeMs: 5 }));
    expect(encodeEntry(decodeEntry(bytes))).toBe(bytes);
  });

  it('refuses every shortened entry, and one with bytes behind it', () => {
    fc.assert(
      fc.property(anyEntry(), fc.nat(), (entry, cut) => {
        const bytes = encodeEntry(entry);
        expect(() => decodeEntry(bytes.subarray(0, cut % bytes.length))).toThrow(CodecError);
        expect(() => decodeEntry(new Uint8Array([...bytes, 0]))).toThrow(CodecError);
      }),
      parameters,
    );
  });

  it('refuses an unknown version and an unknown kind by name', () => {
    const bytes = new Uint8Array(encodeEntry({ kind: 'noop', index: 1, term: 1, timeMs: 5 }));
    const version = bytes.slice();
    version[0] = 9;
    expect(() => decodeEntry(version)).toThrow(expect.objectContaining({ code: 'unknownVersion' }));
    const kind = bytes.slice();
    kind[1] = 9;
    expect(() => decodeEntry(kind)).toThrow(expect.objectContaining({ code: 'unknownKind' }));
  });

  it('does not allocate for a count that the bytes cannot hold', () => {
    const entry: Entry = {
      kind: 'commands',
      index: 1,
      term: 1,
      timeMs: 5,
      commands: [new Uint8Array(3)],
    };
    const bytes = new Uint8Array(encodeEntry(entry));
    new DataView(bytes.buffer).setUint32(26, 0xffff_ffff);
    expect(() => decodeEntry(bytes)).toThrow(expect.objectContaining({ code: 'truncated' }));
  });

  it('refuses to write what is not a safe integer', () => {
    expect(() => encodeEntry({ kind: 'noop', index: 1.5, term: 1, timeMs: 5 })).toThrow(CodecError);
    expect(() => encodeEntry({ kind: 'noop', index: 2 ** 53, term: 1, timeMs: 5 })).toThrow(
      CodecError,
    );
  });
});

describe('the snapshot metadata codec', () => {
  it('gives back what it wrote', () => {
    fc.assert(
      fc.property(anyUint(), anyUint(), anyUint(), anyConfiguration(), (index, term, timeMs, c) => {
        const meta = { index, term, timeMs, configuration: c };
        expect(decodeSnapshotMeta(encodeSnapshotMeta(meta))).toEqual(meta);
      }),
      parameters,
    );
  });
});
