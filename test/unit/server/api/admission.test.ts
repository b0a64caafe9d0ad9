// How much may be in flight: new work is refused at the bound, progress has a tenth more room (P8).

import { describe, expect, it } from 'vitest';
import { Admission } from '../../../../src/server/api/index.ts';

function admission(): Admission {
  return new Admission({ inflightRequestsMax: 10, inflightBytesMax: 1000 });
}

describe('admission', () => {
  it('P8: requests: progress is taken where new work is refused, and is bounded too', () => {
    const door = admission();
    for (let count = 0; count < 10; count += 1) expect(door.enter('admission')).toBe(true);
    expect([door.isCrowded, door.enter('admission')]).toEqual([false, false]);
    expect([door.enter('progress'), door.isCrowded]).toEqual([true, true]);
    expect(door.enter('progress')).toBe(false);
    door.leave();
    expect([door.isCrowded, door.enter('admission'), door.requests]).toEqual([false, false, 10]);
  });

  it('P8: bytes: likewise', () => {
    const door = admission();
    expect(door.takeBytes(1000, 'admission')).toBe(true);
    expect([door.isCrowded, door.takeBytes(1, 'admission')]).toEqual([false, false]);
    expect([door.takeBytes(100, 'progress'), door.isCrowded]).toEqual([true, true]);
    expect(door.takeBytes(1, 'progress')).toBe(false);
    door.giveBytes(600);
    expect([door.isCrowded, door.takeBytes(500, 'admission'), door.bytes]).toEqual([
      false,
      true,
      1000,
    ]);
  });
});
