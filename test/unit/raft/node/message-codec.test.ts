import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  CodecError,
  decodeMessage,
  encodeMessage,
  type Message,
} from '../../../../src/raft/index.ts';
import { plain } from '../../../helpers/plain.ts';
import { anyMessage } from '../../../helpers/raft-arbitraries.ts';

const parameters = { numRuns: 500, verbose: true } as const;

const append: Message = {
  kind: 'appendEntries',
  from: 1,
  to: 2,
  term: 3,
  fromBoot: 4,
  prevLogIndex: 9,
  prevLogTerm: 2,
  commitIndex: 8,
  commitTerm: 2,
  entries: [
    { kind: 'noop', index: 10, term: 3, timeMs: 100 },
    { kind: 'noop', index: 12, term: 3, timeMs: 101 },
  ],
};

describe('the message codec', () => {
  it('gives back every message that it wrote, wherever it lies in a frame', () => {
    fc.assert(
      fc.property(anyMessage(), fc.nat({ max: 16 }), (message, headroom) => {
        const bytes = encodeMessage(message, headroom).slice(headroom);
        expect(plain(decodeMessage(bytes))).toEqual(plain(message));
      }),
      parameters,
    );
  });

  it('refuses every shortened message, and one with bytes behind it', () => {
    fc.assert(
      fc.property(anyMessage(), fc.nat(), (message, cut) => {
        const bytes = encodeMessage(message);
        expect(() => decodeMessage(bytes.subarray(0, cut % bytes.length))).toThrow(CodecError);
        expect(() => decodeMessage(new Uint8Array([...bytes, 0]))).toThrow(CodecError);
      }),
      parameters,
    );
  });

  it('throws nothing but its own error on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (noise) => {
        for (const kind of [1, 5, 6, 11]) {
          const bytes = new Uint8Array([1, kind, ...noise]);
          try {
            decodeMessage(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(CodecError);
          }
        }
      }),
      parameters,
    );
  });

  it('refuses an append with a gap between its entries (C17)', () => {
    const bytes = encodeMessage(append);
    expect(() => decodeMessage(bytes)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it('refuses an unknown version and an unknown kind by name', () => {
    const bytes = new Uint8Array(
      encodeMessage({ kind: 'timeoutNow', from: 1, to: 2, term: 3, fromBoot: 4 }),
    );
    const version = bytes.slice();
    version[0] = 2;
    expect(() => decodeMessage(version)).toThrow(
      expect.objectContaining({ code: 'unknownVersion' }),
    );
    const kind = bytes.slice();
    kind[1] = 99;
    expect(() => decodeMessage(kind)).toThrow(expect.objectContaining({ code: 'unknownKind' }));
  });
});
