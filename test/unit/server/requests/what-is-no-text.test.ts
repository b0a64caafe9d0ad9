import { describe, expect, it } from 'vitest';
import { InvalidRequestError } from '../../../../src/server/requests/errors.ts';
import { BodyReader, readText } from '../../../../src/server/requests/json-body.ts';
import { shownValue } from '../../../../src/server/requests/shown-value.ts';
import { checkBranchId, checkGid } from '../../../../src/server/requests/validation.ts';

const reader = new BodyReader(['gid'], { depthMax: 10, valuesMax: 10 });

describe('ids that are no text', () => {
  it('half of a pair is refused: two different gids would be stored as one', () => {
    for (const half of ['\\ud800', '\\udc00', '\\ud801\\ud801']) {
      const gid = readText(reader.read(`{"gid":"order-${half}"}`), 'gid');
      expect(() => checkGid(gid)).toThrow('gid must be valid Unicode, got "order-\\ufffd');
      expect(() => checkBranchId(gid)).toThrow(InvalidRequestError);
    }
  });

  it('a whole pair is kept', () => {
    const gid = readText(reader.read('{"gid":"order-\\ud83d\\ude00"}'), 'gid');
    expect(checkGid(gid)).toBe('order-😀');
  });

  it('bytes of protobuf or a query that are no UTF-8 are refused likewise', () => {
    expect(() => checkGid(Buffer.from([0x61, 0xff]).toString())).toThrow('valid Unicode');
  });
});

describe('values in messages', () => {
  it('a number out of range is called one', () => {
    const { value } = JSON.parse('{"value":1e400}') as { readonly value: unknown };
    expect(shownValue(value)).toBe('a number out of range');
    expect(shownValue(null)).toBe('null');
    expect(shownValue(1e300)).toBe('1e+300');
  });
});
