import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameParser, makeFrame } from '../../../../src/server/peer/frames.ts';

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 13 }), fc.uint8Array({ maxLength: 50 }))),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
        (frames, cuts) => {
          const stream = Buffer.concat(frames.map(([type, bytes]) => makeFrame(type, bytes)));
          const got: [number, number[]][] = [];
          const parser = new FrameParser(1000, (type, payload) => got.push([type, [...payload]]));
          let at = 0;
          for (let i = 0; at < stream.length; i++) {
            const end = at + (cuts[i % cuts.length] ?? 1);
            parser.push(Buffer.from(stream.subarray(at, end)));
            at = end;
          }
          expect(got).toEqual(frames.map(([type, bytes]) => [type, [...bytes]]));
        },
      ),
      { numRuns: 300, verbose: true },
    );
  });

  it('of too great a length are refused at their header', () => {
    const parser = new FrameParser(10, () => undefined);
    parser.push(Buffer.from([0, 0, 0]));
    expect(() => parser.push(Buffer.from([11, 5]))).toThrow(
      expect.objectContaining({ code: 'frameTooLarge' }),
    );
  });

  it('without a type are malformed', () => {
    const parser = new FrameParser(10, () => undefined);
    expect(() => parser.push(Buffer.from([0, 0, 0, 0, 9]))).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });

  it('are not handed out after the parser was closed by one of them', () => {
    const got: number[] = [];
    const parser: FrameParser = new FrameParser(10, (type) => {
      got.push(type);
      parser.close();
    });
    parser.push(Buffer.concat([makeFrame(1), makeFrame(2)]));
    parser.push(makeFrame(3));
    expect(got).toEqual([1]);
  });
});
